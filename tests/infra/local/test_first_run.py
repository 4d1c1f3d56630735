import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gitops.airflow import training_runs
from gitops.dvc import parameters
from gitops.git.repository import Repository
from gitops.release.keys import PrivateKey, path_of
from gitops.release.verdicts import Verdict, record
from infra.local import credentials_file, first_run, waiting
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.first_run import FirstRun
from infra.local.instance import Instance
from infra.local.layout import Layout
from infra.local.process import UP, marks
from infra.local.screen import Screen
from infra.local.variables import Address
from tests.support.checkout import ROOT, commit
from tests.support.environments import ENVIRONMENTS
from tests.support.fake_pipeline import FakePipeline, task

# Stands for the model's command line: notes how it was called, and refuses a folder of other faces.
DRAW = """
import sys
from pathlib import Path
folder = Path(sys.argv[2])
if (folder / "other").exists():
    raise SystemExit("holds other faces")
(folder / "img_align_celeba").mkdir(parents=True)
(folder / "img_align_celeba/000001.jpg").write_text(" ".join(sys.argv[1:]))
"""


START_REST = "start ('staging', 'prod')"


class Lab:
    """A checkout with its origin, an Airflow that is a fake, and `gitops` commands that are noted."""

    def __init__(self, layout: Layout, fake: FakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = layout
        self.fake = fake
        self.output = io.StringIO()
        package = layout.checkout / "src/face_attributes"
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(DRAW)
        (package / "__init__.py").write_text("")
        self.engine = Engine(layout, {})
        # In the checkout's own commit, which main then is.
        self.keys = {name: PrivateKey.create(layout.paths_of(name).verifier_key) for name in ENVIRONMENTS}
        for name, key in self.keys.items():
            (layout.checkout / path_of(name)).write_bytes(key.line(name))
        commit(layout.checkout, "Draw")
        self.engine.origin.prepare()
        self.engine.origin.enrol(ENVIRONMENTS)
        self.engine.origin.register()
        port = int(fake.access.url.rpartition(":")[2])
        credentials_file.write(
            layout.access,
            {name: Address("127.0.0.1", port) for name in ENVIRONMENTS},
            dict.fromkeys(ENVIRONMENTS, "airflow"),
        )
        self.first_run = FirstRun(self.engine, Screen(Console(file=self.output, width=200)))
        self.commands: list[str] = []
        self.after: dict[str, Callable[[], None]] = {}
        monkeypatch.setattr(self.first_run, "_gitops", self._gitops)
        monkeypatch.setattr(self.engine, "launch", lambda names, _: self.commands.append(f"launch {names}"))
        monkeypatch.setattr(self.engine, "start", lambda names, _: self.commands.append(f"start {names}"))

    def _gitops(self, arguments: list[str], step: object) -> None:
        line = " ".join(arguments)
        self.commands.append(line)
        self.after.get(line, lambda: None)()

    def push(self, branch: str, files: dict[str, str], *, force: bool = False) -> str:
        """Commit files in the checkout and push them to a branch of origin."""
        for name, content in files.items():
            (self.layout.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (self.layout.checkout / name).write_text(content)
        head = commit(self.layout.checkout, branch)
        Repository(self.layout.checkout).push("visage", {f"refs/heads/{branch}": head})
        return head

    def declare(self, environment: str, release: str) -> str:
        return self.push("main", {f"environments/{environment}/release.yaml": f"commit: {release}\n"})

    def judge(self, environment: str, release: str, reason: str = "") -> None:
        verdict = Verdict(
            verdict="rejected" if reason else "verified",
            environment=environment,
            release=release,
            claimed_accuracy=0.9,
            measured_accuracy=0.9,
            onnxruntime="1.0",
            samples=10,
            at=datetime.now(UTC),
            reason=reason,
        )
        record(Repository(self.layout.checkout), "visage", verdict, self.keys[environment])

    def trained(self) -> str:
        """Give main a model."""
        return self.push("main", {"metrics/evaluation.json": "{}"})

    def main(self) -> str:
        return self.engine.origin.repository.resolve("main")

    def scored(self) -> None:
        path = self.layout.paths_of("prod").data / "scores/date=2026-01-01/earlier.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"id": ["1"]}), path)


@pytest.fixture
def lab(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(training_runs, "PAUSE", 0.01)
    monkeypatch.setattr(training_runs, "SCHEDULE_DELAY", 0)
    monkeypatch.setattr(first_run, "PAUSE", 0.01)
    fake = FakePipeline()
    monkeypatch.setattr(Instance, "require", lambda _: None)
    yield Lab(layout, fake, monkeypatch)
    fake.close()


def test_the_first_run_takes_a_candidate_to_prod(lab: Lab) -> None:
    base = lab.main()
    branch = "candidate/manual__0Z"
    lab.fake.tasks = [task("collect", "success", seconds=1)]

    def propose() -> None:
        lab.push(branch, {"metrics/evaluation.json": "{}"})

    def merge() -> None:
        tip = lab.engine.origin.repository.resolve(branch)
        Repository(lab.layout.checkout).push("visage", {"refs/heads/main": tip})
        lab.judge("dev", tip)

    def promote(environment: str) -> Callable[[], None]:
        def act() -> None:
            release = lab.engine.origin.repository.resolve(branch)
            lab.declare(environment, release)
            lab.judge(environment, release)

        return act

    lab.fake.at_end = propose
    lab.after = {
        f"merge {branch}": merge,
        "merge promote/staging": promote("staging"),
        "merge promote/prod": promote("prod"),
    }
    lab.scored()
    lab.first_run.run(seconds=60)
    assert lab.commands == [
        f"merge {branch}",
        START_REST,
        "promote staging --push",
        "merge promote/staging",
        "promote prod --push",
        "merge promote/prod",
    ]
    drawn = lab.layout.paths_of("dev").data / "raw"
    assert (drawn / "img_align_celeba/000001.jpg").read_text() == f"draw {drawn} --count 10 --seed 1"
    assert lab.main() != base
    lab.commands.clear()
    lab.first_run.run(seconds=60)
    assert lab.commands == [START_REST], "what has been done is left out"


@pytest.mark.parametrize("state", ["success", "running"])
def test_the_others_start_beside_the_tasks_after_the_network(lab: Lab, state: str) -> None:
    lab.fake.tasks = [task(first_run.NETWORK, state, seconds=1)]
    lab.fake.at_end = lambda: lab.push("candidate/new", {"metrics/evaluation.json": "{}"})
    lab.first_run._train(60)
    assert ("launch ('staging', 'prod')" in lab.commands) == (state == "success")


def test_a_candidate_that_waits_is_merged_without_another_run(lab: Lab) -> None:
    lab.push("candidate/one", {"metrics/evaluation.json": "{}"})
    lab.first_run._train(60)
    assert lab.commands == ["merge candidate/one"]
    assert lab.fake.runs == {}


def test_a_candidate_of_an_earlier_main_does_not_count(lab: Lab) -> None:
    lab.push("candidate/old", {"metrics/evaluation.json": "{}"})
    Repository(lab.layout.checkout).git("reset", "--quiet", "--hard", "HEAD~1")
    lab.push("main", {"params.yaml": "data: {source: synthetic, synthetic: {count: 11, seed: 1}}\n"})
    lab.fake.at_end = lambda: lab.push("candidate/new", {"metrics/evaluation.json": "{}"})
    lab.first_run._train(60)
    assert lab.commands == ["merge candidate/new"]
    assert len(lab.fake.runs) == 1


def test_a_run_that_proposes_nothing_is_told(lab: Lab) -> None:
    with pytest.raises(EngineError, match=r"manual__0\+00:00 proposed no candidate; see the log of its task"):
        lab.first_run._train(60)


def test_a_promotion_waits_for_devs_verdict(lab: Lab) -> None:
    lab.fake.dag = "verify_release"
    release = lab.trained()

    def verified() -> None:
        assert lab.commands == []
        lab.judge("dev", release)

    def merge() -> None:
        lab.declare("staging", release)
        lab.judge("staging", release)

    lab.fake.at_first_look = verified
    lab.after = {"merge promote/staging": merge}
    lab.first_run._promote("staging")
    assert lab.commands == ["promote staging --push", "merge promote/staging"]
    assert "Wait for dev to run and verify it" in lab.output.getvalue()


def test_a_release_that_waits_for_its_verdict_is_not_promoted_again(lab: Lab) -> None:
    release = lab.trained()
    lab.declare("staging", release)
    lab.judge("staging", release)
    lab.first_run._promote("staging")
    assert lab.commands == []


def test_the_verdict_is_waited_for(lab: Lab) -> None:
    lab.fake.dag = "verify_release"
    release = lab.trained()
    lab.declare("staging", release)
    lab.fake.at_first_look = lambda: lab.judge("staging", release)
    lab.first_run._promote("staging")
    assert "verified in staging: mean accuracy 0.9000 measured" in lab.output.getvalue()


def test_a_rejected_release_ends_the_run_with_the_reason(lab: Lab) -> None:
    release = lab.trained()
    lab.declare("staging", release)
    lab.judge("staging", release, "accuracy fell to 0.5")
    with pytest.raises(EngineError, match=r"staging rejected the release: .*accuracy fell to 0\.5"):
        lab.first_run.run(seconds=60)
    assert lab.commands == [START_REST]


def test_a_verification_that_fails_is_told_with_its_log(lab: Lab) -> None:
    lab.fake.dag = "verify_release"
    release = lab.trained()
    lab.declare("staging", release)
    lab.fake.tasks = [task("score_holdout", "failed", attempt=3, seconds=1)]
    lab.fake.at_first_look = lambda: lab.fake.runs.update({"scheduled__1": ["failed"]})
    with pytest.raises(EngineError, match=r"^staging: verify_release: scheduled__1 failed in score_holdout"):
        lab.first_run._promote("staging")


def test_new_faces_arrive_in_prod_at_once_and_are_waited_for(lab: Lab) -> None:
    release = lab.trained()
    lab.declare("prod", release)
    data = lab.layout.paths_of("prod").data

    def score() -> None:
        target = data / "scores/date=2026-01-01/first-faces.parquet"
        target.parent.mkdir(parents=True)
        pq.write_table(pa.table({"id": ["1", "2"]}), target)

    lab.fake.dag = "score_faces"
    lab.fake.at_first_look = score
    lab.first_run._score()
    batch = data / "incoming/first-faces"
    assert (batch / "000001.jpg").read_text().endswith("--count 64 --seed 20")
    assert [path.name for path in batch.parent.iterdir()] == ["first-faces"]
    assert "✓ Score new faces in prod  2 images: " in lab.output.getvalue()


def test_faces_of_other_parameters_are_drawn_anew(lab: Lab) -> None:
    raw = lab.layout.paths_of("dev").data / "raw"
    raw.mkdir(parents=True)
    (raw / "other").write_text("")
    with lab.first_run._screen.step("Raw images") as step:
        lab.first_run._draw_raw_images(step)
    assert (raw / "img_align_celeba/000001.jpg").exists()
    assert not (raw / "other").exists()


def test_faces_are_drawn_by_the_code_of_main(lab: Lab) -> None:
    code = DRAW + "import drawn_faces\n(folder / 'by').write_text(drawn_faces.NAME)\n"
    lab.push(
        "main",
        {"src/drawn_faces/__init__.py": "NAME = 'that of main'", "src/face_attributes/__main__.py": code},
    )
    with lab.first_run._screen.step("Raw images") as step:
        lab.first_run._draw_raw_images(step)
    assert (lab.layout.paths_of("dev").data / "raw/by").read_text() == "that of main"


def drawing(folder: Path) -> list[psutil.Process]:
    """Return the processes that draw into a folder."""
    running = psutil.process_iter(["cmdline"])
    return [process for process in running if str(folder) in (process.info["cmdline"] or ())]


def test_faces_are_drawn_beside_the_start_and_no_longer(lab: Lab) -> None:
    drawn = lab.layout.paths_of("dev").data / "raw/img_align_celeba"
    endless = DRAW + "import time\nwhile True: time.sleep(0.1)\n"
    lab.push("main", {"src/face_attributes/__main__.py": endless})
    with lab.first_run.drawing():
        assert waiting.wait_until((drawn / "000001.jpg").exists, seconds=60, pause=0.05)
        [process] = drawing(drawn.parent)
        assert process.nice() > os.nice(0)
    assert not drawing(drawn.parent)


def test_the_drawing_of_a_killed_make_up_ends_before_another_begins(lab: Lab) -> None:
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, **marks(lab.layout.state, UP)},
    )
    try:
        lab.trained()
        with lab.first_run.drawing():
            assert left.wait(timeout=10) == -signal.SIGTERM
    finally:
        left.kill()
        left.wait()


def test_no_faces_are_drawn_early_for_a_main_with_a_model(lab: Lab) -> None:
    lab.trained()
    with lab.first_run.drawing():
        assert not drawing(lab.layout.paths_of("dev").data / "raw")


@pytest.mark.parametrize("params", ["data: [", "data: synthetic", "", "data: {source: synthetic}"])
def test_parameters_that_are_not_valid_are_one_line(lab: Lab, params: str) -> None:
    lab.push("main", {"params.yaml": params})
    problem = r"params\.yaml: not valid in .* see \.venv/bin/gitops check"
    with pytest.raises(EngineError, match=problem), lab.first_run.drawing():
        pass


def test_photographs_are_not_drawn_but_looked_for(lab: Lab, tmp_path: Path) -> None:
    lab.push("main", {"params.yaml": "data: {source: celeba}\n"})
    with lab.first_run._screen.step("Raw images") as step:
        with pytest.raises(EngineError, match="CELEBA_DIR: not set"):
            lab.first_run._draw_raw_images(step)
        lab.engine.shell["CELEBA_DIR"] = str(tmp_path)
        del lab.engine.user_config
        with pytest.raises(EngineError, match=r"has no list_attr_celeba\.txt"):
            lab.first_run._draw_raw_images(step)
        (tmp_path / "list_attr_celeba.txt").write_text("")
        lab.first_run._draw_raw_images(step)
        assert step.result == str(tmp_path)


def test_faces_are_drawn_with_the_values_for_their_source(lab: Lab) -> None:
    params = """
data:
  source: synthetic
  synthetic: {count: {synthetic: 11, celeba: 5}, seed: 1, marginals: {Smiling: {synthetic: 0.9, celeba: 0.5}}}
"""
    schema = (ROOT / parameters.SCHEMA).read_text(encoding="utf-8")
    tip = lab.push("main", {"params.yaml": params, parameters.SCHEMA: schema})
    synthetic = lab.first_run._data(tip)["synthetic"]
    assert synthetic == {"count": 11, "seed": 1, "marginals": {"Smiling": 0.9}}


def test_the_knobs_of_the_parameters_become_options() -> None:
    synthetic = {
        "count": 5,
        "held_out": 1,
        "seed": 2,
        "light": 0.5,
        "marginals": {"Smiling": 0.9, "Male": 0.1},
    }
    assert first_run._drawing_options(synthetic) == [
        *("--count", "5", "--held-out", "1", "--seed", "2", "--light", "0.5"),
        *("--marginal", "Smiling=0.9", "--marginal", "Male=0.1"),
    ]
