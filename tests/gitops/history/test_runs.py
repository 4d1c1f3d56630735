import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.errors import GitopsError
from gitops.history import mlflow, runs_page
from gitops.history.load_runs import fetch_experiments, load_runs
from gitops.history.runs import Run, chosen, named, ordered, step
from gitops.model.cost import Cost, StageCost
from tests.support.figures import measured
from tests.support.lab import Lab

EXPERIMENT = "c0" + "de" * 19
TRAIN = StageCost(
    seconds=90.5, cpu_seconds=170, peak_bytes=2 * 10**9, read_bytes=10**8, written_bytes=10**7, gpu_seconds=90
)
EVALUATE = StageCost(seconds=9.5, cpu_seconds=10, peak_bytes=10**9, read_bytes=10**6, written_bytes=10**5)


def training(
    lab: Lab, name: str, accuracy: float, *, archived: bool = True, rate: str = "0.1", of: str = ""
) -> str:
    """Leave a training run in git, as its steps do: a commit for each stage, and the tag of the archive.

    `of` is another run whose cost the last commit has.
    """
    parameters = f"profile: full\ntrain:\n  learning_rate: {rate}\n".encode()
    trained = lab.commit({"params.yaml": parameters}, message=f"train: run for run/{name} in 90.5 s")
    files = measured(name, accuracy)
    message = f"evaluate: run for run/{name} in 9.5 s"
    spent = Cost(run=f"run/{of or name}", stages={"train": TRAIN, "evaluate": EVALUATE})
    commit = lab.commit(files, on=trained, message=f"{message}\n\n{spent.trailer}\n")
    lab.origin.git("update-ref", f"refs/heads/run/{name}", commit)
    if archived:
        made = lab.origin.tag(commit, f"archive/{name}", f"Run {name}: mean accuracy {accuracy}")
        lab.origin.git("update-ref", f"refs/tags/archive/{name}", made)
    return commit


@pytest.fixture
def past(lab: Lab) -> Lab:
    """Two trainings, one that goes on, one experiment that was pushed, and one of this checkout."""
    training(lab, "first", 0.9)
    training(lab, "second", 0.92, rate="0.2")
    training(lab, "third", 0.5, archived=False)
    pushed = lab.commit(measured("x", 0.91), message="dvc: commit experiment c0de")
    lab.origin.git("update-ref", f"refs/exps/{EXPERIMENT[:2]}/{EXPERIMENT[2:]}/wide-net", pushed)
    lab.clone.fetch("origin")
    lab.clone.git("update-ref", f"refs/exps/{EXPERIMENT[:2]}/{EXPERIMENT[2:]}/of-mine", lab.tip)
    lab.clone.git("update-ref", "refs/exps/exec/EXEC_HEAD", lab.tip)
    return lab


def found(lab: Lab) -> dict[str, Run]:
    lab.clone.fetch("origin")
    fetch_experiments(lab.clone, "origin")
    return {run.name: run for run in load_runs(lab.clone, "origin", lab.tip)}


def test_every_training_and_experiment_is_found(past: Lab) -> None:
    runs = found(past)
    assert {name: run.kind for name, run in runs.items()} == {
        "first": "training",
        "second": "training",
        "third": "unfinished",
        "wide-net": "experiment",
        "of-mine": "experiment",
    }
    second = runs["second"]
    assert (second.seconds, second.duration) == ({"train": 90.5, "evaluate": 9.5}, 100)
    assert second.parameters["train.learning_rate"] == "0.2"
    assert second.metrics.means["mean_accuracy"].low == pytest.approx(0.918)
    assert runs["of-mine"].duration is None
    assert not runs["of-mine"].metrics


def test_the_cost_of_each_stage_is_summed_and_that_of_another_run_is_not(past: Lab) -> None:
    training(past, "again", 0.9, of="first")
    runs = found(past)
    spent = runs["first"].cost
    assert spent is not None
    assert spent.stages == {"train": TRAIN, "evaluate": EVALUATE}
    assert spent.total.model_dump() == {
        "seconds": 100,
        "cpu_seconds": 180,
        "peak_bytes": 2 * 10**9,
        "read_bytes": 101 * 10**6,
        "written_bytes": 10**7 + 10**5,
        "gpu_seconds": 90,
    }
    assert {name for name, run in runs.items() if run.cost} == {"first", "second", "third"}
    assert {run.name for run in chosen([*runs.values()], ["cpu_seconds>=180"])} == {
        "first",
        "second",
        "third",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[" * 100_000,
        '{"run": "run/x", "stages": {"train": {"seconds": -1}}}',
        '{"run": "run/x", "stages": {"train": {"seconds": 1e99}}}',
        '{"run": "run/x", "stages": {"<b>": {}}}',
        '{"run": "run/x", "stages": {}, "more": "' + "x" * 20_000 + '"}',
        '{"format": 2, "run": "run/x", "stages": {}}',
    ],
)
def test_a_cost_that_nobody_measured_is_none(text: str) -> None:
    assert Cost.of(text) is None
    assert Cost.of('{"run": "run/x", "stages": {}}') == Cost(run="run/x")


def test_a_tag_on_no_commit_of_a_run_is_shown_without_durations(past: Lab) -> None:
    past.origin.git("tag", "archive/odd", past.tip)
    blob = past.origin.git("hash-object", "-w", "--stdin", input="x")
    past.origin.git("update-ref", "refs/tags/archive/blob", blob)
    runs = found(past)
    assert runs["odd"].duration is None
    assert "blob" not in runs


def test_runs_are_sorted_chosen_and_named(past: Lab) -> None:
    runs = [*found(past).values()]
    assert [run.name for run in ordered(runs, "mean_accuracy")][:3] == ["second", "wide-net", "first"]
    assert [run.name for run in ordered(runs, "mean_accuracy")][-1] == "of-mine"
    assert {run.name for run in chosen(runs, ["mean_accuracy>=0.9", "kind=training"])} == {"first", "second"}
    assert [run.name for run in chosen(runs, ["train.learning_rate = 0.2"])] == ["second"]
    assert {run.name for run in chosen(runs, ["duration<=100"])} == {"first", "second", "third"}
    assert chosen(runs, ["kind!=training", "mean_accuracy>0.95"]) == []
    for conditions, problem in (
        (["what>1"], "what: no run has such a value"),
        (["nothing"], "not a condition"),
    ):
        with pytest.raises(GitopsError, match=problem):
            chosen(runs, conditions)
    with pytest.raises(GitopsError, match="no run has such a value"):
        ordered(runs, "beauty")
    assert named(runs, "first").name == "first"
    assert named(runs, runs[0].commit[:8]) == runs[0]
    with pytest.raises(GitopsError, match="no such runs"):
        named(runs, "fourth")


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        ("train: run for run/a-b.c in 90.5 s", ("train", 90.5)),
        ("train: run for run/a", ("train", None)),
        ("train: run for candidate/a in 3 s", None),
        ("Merge train: run for run/a in 3 s", None),
        ("train: run for run/a in -1 s", None),
    ],
)
def test_the_seconds_are_in_the_subject_of_a_step(
    subject: str, meant: tuple[str, float | None] | None
) -> None:
    assert step(subject) == meant


@pytest.fixture
def run(past: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(past.clone.path)
    return lambda *args: CliRunner().invoke(app, ["runs", *args])


def test_the_command(past: Lab, run: Callable[..., Result], tmp_path: Path) -> None:
    past.land(measured("first", 0.9), message="Candidate of first")
    past.land({"README.md": b"x"})
    past.land(measured("second", 0.92), message="Candidate of second")
    shown = run("--where", "mean_accuracy>0.6", "--sort", "mean_accuracy")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert "second (training): accuracy 0.9200 (0.9180 to 0.9220)" in lines[0]
    assert lines[0].endswith("1.7 min, 3.0 min of processors")
    assert lines[-1] == (
        "Together: 6 min of processors, 3 min of GPUs, 2,000 MB of memory, 202 MB read, 20.20 MB written"
    )
    plain = json.loads(run("--json").stdout)
    assert {row["name"] for row in plain["runs"]} >= {"first", "wide-net"}
    accuracy = plain["trends"][0]
    assert (accuracy["title"], [point["value"] for point in accuracy["points"]]) == (
        "mean accuracy",
        [0.9, 0.92],
    )
    assert {trend["title"] for trend in plain["trends"]} >= {"size, bytes", "batch 1, median, ms"}
    compared = run("--compare", "first..second")
    assert "0.9000" in compared.stdout
    assert "0.9200" in compared.stdout
    alone = run("--compare", "first")
    assert alone.exit_code == 1
    assert "\nNext: " in alone.stderr
    assert run("--compare", "first..fourth").exit_code == 1
    page = tmp_path / "runs.html"
    assert run("--html", str(page)).exit_code == 0
    text = page.read_text()
    assert "<script" not in text
    # Five trends, and three curves of each of the four runs with results
    assert text.count("<polyline") == 5 + 3 * 4
    assert "Those with a measured cost took 9 min of processors, 270 s" not in text
    assert "Those with a measured cost took 9 min of processors, 4 min of GPUs, 2,000 MB of memory" in text
    assert "dvc plots diff" in text
    assert "http" not in text


def test_a_trend_of_equal_values_is_drawn() -> None:
    from gitops.history.trends import Point, Trend

    at = datetime(2026, 1, 1, tzinfo=UTC)
    points = tuple(Point("a" * 40, at + timedelta(days=day), 0.5) for day in range(3))
    drawing = runs_page.draw(Trend("accuracy", "{:.2f}", points))
    assert len({mark.y for mark in drawing.points}) == 1
    assert drawing.band == ""


def test_an_export_for_mlflow_goes_to_a_new_folder(
    past: Lab, run: Callable[..., Result], tmp_path: Path
) -> None:
    assert run("--mlflow", str(tmp_path / "store")).exit_code == 0
    again = run("--mlflow", str(tmp_path / "store"))
    assert again.exit_code == 1
    assert "is not empty" in again.stderr
    hostile = Run(
        "../../up", "experiment", "a" * 40, datetime.now(UTC), parameters={"../../../out": "1", "..": "2"}
    )
    mlflow.export([hostile], tmp_path / "inner" / "store")
    assert sorted(path.name for path in tmp_path.rglob("out")) == ["out"]
    assert [path.parent.name for path in tmp_path.rglob("out")] == ["params"]


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a/b"),
        ("a/b", "a"),
        ("a?", "a!", "a/b"),
        ("x" * 300, "x" * 301),
        ("a/" * 3000,),
        ("", "..", "/", "a/../b"),
    ],
)
def test_no_name_of_a_parameter_stops_an_export_for_mlflow(tmp_path: Path, names: tuple[str, ...]) -> None:
    parameters = {name: f"value {number}" for number, name in enumerate(names)}
    run = Run("x", "experiment", "a" * 40, datetime.now(UTC), parameters=parameters)
    mlflow.export([run], tmp_path / "store")
    [folder] = (tmp_path / "store").rglob("params")
    written = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(parameters.values())


def test_names_of_branches_and_experiments_are_no_commands_of_a_terminal(
    past: Lab, run: Callable[..., Result]
) -> None:
    training(past, "\u202e\x9b31mone", 0.9, archived=False)
    past.origin.git("update-ref", f"refs/exps/c0/{'df' * 19}/\u202e\x9b31mtwo", past.tip)
    shown = run().stdout.split("\n")
    assert all(line.isprintable() for line in shown)
    assert {name for name in ("??31mone (", "??31mtwo (") if any(name in line for line in shown)} == {
        "??31mone (",
        "??31mtwo (",
    }


READ = """
import sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
[experiment] = [one for one in client.search_experiments() if one.name == "visage"]
for run in client.search_runs([experiment.experiment_id], order_by=["metrics.mean_accuracy DESC"]):
    history = client.get_metric_history(run.info.run_id, "train_loss")
    print(run.info.run_name, run.data.metrics["mean_accuracy"], run.data.params["train.learning_rate"],
          len(history), run.info.end_time - run.info.start_time, run.data.tags["mlflow.source.git.commit"])
"""


@pytest.mark.long
def test_mlflow_reads_the_export(past: Lab, run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("--mlflow", str(tmp_path / "store"), "--where", "kind=training").exit_code == 0
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None
    environment = tmp_path / "mlflow"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
        [uv, "pip", "install", "--quiet", "--python", str(environment), "mlflow-skinny==3.17.2"],
    ):
        subprocess.run(command, check=True, timeout=600)
    done = subprocess.run(
        [str(environment / "bin/python"), "-c", READ, (tmp_path / "store").as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = found(past)
    assert done.stdout.splitlines() == [
        f"second 0.92 0.2 24 100000 {runs['second'].commit}",
        f"first 0.9 0.1 24 100000 {runs['first'].commit}",
    ]
