"""Verification with a real origin and a real DVC remote; the release's own code is a small stand-in."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitops import disk, isolation
from gitops.errors import StepError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.model.evaluation import Evaluation
from gitops.release.keys import PrivateKey, path_of
from gitops.release.verdicts import VERIFIED, Verdicts
from gitops.training import verification
from gitops.training.verification import TOLERANCE, judge, pending, publish, verify
from tests.gitops.training.test_reverification import answers

ROOT = Path(__file__).parents[3]
RELEASE = "a" * 40
ENVIRONMENTS = ("dev", "staging", "prod")
Releases = Callable[[Evaluation, str], tuple[Origin, str]]
# What `python -m face_attributes evaluate` of the release says: the figures that the model file itself holds.
EVALUATE = """\
import os, shutil, sys, time
from pathlib import Path

model, holdout, out = (sys.argv[sys.argv.index(f"--{name}") + 1] for name in ("model", "holdout", "out"))
if "broken" in Path(model).read_text():
    raise SystemExit(f"{model}: not a model that this ONNX Runtime can read")
if "slow" in Path(model).read_text():
    time.sleep(300)
if "killed" in Path(model).read_text():
    os.kill(os.getpid(), 9)
assert Path(holdout).read_text() == "images"
shutil.copyfile(model, out)
"""


def figures(**changed: Any) -> Evaluation:
    plain = {
        "profile": "full",
        "mean_accuracy": 0.93,
        "majority_accuracy": 0.8,
        "model_sha256": "0" * 64,
        "samples": 1000,
        "per_attribute": {},
    }
    return Evaluation.model_validate(plain | changed)


def test_the_same_figures_verify() -> None:
    verdict = judge(RELEASE, "staging", figures(), figures(mean_accuracy=0.93 - TOLERANCE))
    assert verdict.verdict == "verified"
    assert verdict.tag == f"verified/staging/{RELEASE[:12]}"
    assert verdict.measured_accuracy == pytest.approx(0.928)


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        ({"mean_accuracy": 0.92}, "mean accuracy is 0.0100 off"),
        ({"mean_accuracy": 0.94}, "mean accuracy is 0.0100 off"),
        (
            {"model_sha256": "1" * 64},
            "the model is 111111111111, metrics/",
        ),
        ({"samples": 999}, "the hold-out has 999 images"),
    ],
)
def test_any_difference_rejects(measured: dict[str, Any], reason: str) -> None:
    verdict = judge(RELEASE, "prod", figures(), figures(**measured))
    assert verdict.verdict == "rejected"
    assert reason in verdict.reason


@pytest.fixture
def release_of(
    tmp_path: Path, dvc_remote: Path, made_once: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Releases:
    """Return a function that makes an origin with a release: its model on a DVC remote, its claim in git."""

    def release(claim: Evaluation, model: str) -> tuple[Origin, str]:
        made_once(make, claim.model_dump_json(), model)
        monkeypatch.setenv("VISAGE_VERIFIER_KEY", str(tmp_path / "key"))
        bare = Repository(tmp_path / "origin.git")
        return Origin(str(bare.path)), bare.resolve("main")

    return release


def make(folder: Path, claim: str, model: str) -> None:
    checkout = folder / "checkout"
    for name in ("src/face_attributes", "models", "data", "metrics"):
        (checkout / name).mkdir(parents=True)
    (checkout / "src/face_attributes/__init__.py").touch()
    (checkout / "src/face_attributes/__main__.py").write_text(EVALUATE)
    (checkout / "models/model.onnx").write_text(model)
    (checkout / "data/holdout.parquet").write_text("images")
    (checkout / "metrics/evaluation.json").write_text(claim)
    for environment in ENVIRONMENTS:
        path = checkout / path_of(environment)
        path.parent.mkdir(parents=True)
        path.write_bytes(PrivateKey.create(folder / "key").line(environment))
    repository = Repository(checkout)
    repository.git("init", "--quiet", "--initial-branch=main")
    for command in (
        ["init", "-q"],
        ["add", "-q", "models/model.onnx", "data/holdout.parquet"],
        ["push", "-q"],
    ):
        subprocess.run(["dvc", *command], cwd=checkout, check=True, timeout=60)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message=Release", env=repository.identity())
    Repository.clone(str(checkout), folder / "origin.git", "--bare")


def test_a_release_is_verified_once(tmp_path: Path, dvc_remote: Path, release_of: Releases) -> None:
    origin, release = release_of(figures(), figures(mean_accuracy=0.9301).model_dump_json())
    mirror = tmp_path / "mirror.git"
    assert pending(origin, release, "staging", mirror=mirror) is None

    verdict = verify(origin, release, "staging", home=tmp_path / "spaces")
    assert (verdict.verdict, verdict.measured_accuracy, verdict.samples) == (VERIFIED, 0.9301, 1000)
    publish(origin, verdict, mirror=mirror)
    publish(origin, verdict, mirror=mirror)

    assert pending(origin, release, "staging", mirror=mirror) == "already verified in staging"
    assert pending(origin, release, "prod", mirror=mirror) is None
    [tag] = Repository(Path(origin.url)).tags()
    assert (tag.name, tag.commit) == (f"verified/staging/{release[:12]}", release)
    assert json.loads(tag.message[tag.message.index("{") :])["samples"] == 1000


def test_an_equal_release_needs_no_new_verdict(
    tmp_path: Path, dvc_remote: Path, release_of: Releases
) -> None:
    origin, release = release_of(figures(), figures().model_dump_json())
    publish(origin, verify(origin, release, "dev", home=tmp_path / "spaces"), mirror=tmp_path / "mirror.git")
    bare = Repository(Path(origin.url))
    later = bare.commit_files(release, {"environments/prod/release.yaml": b"commit: null\n"}, "Promote")
    bare.git("update-ref", "refs/heads/main", later)
    assert pending(origin, later, "dev", mirror=tmp_path / "mirror.git") == "already verified in dev"


def test_a_model_that_cannot_be_scored_is_rejected(
    tmp_path: Path, dvc_remote: Path, release_of: Releases
) -> None:
    origin, release = release_of(figures(), "broken")
    verdict = verify(origin, release, "prod", home=tmp_path / "spaces")
    assert verdict.verdict == "rejected"
    assert "not a model that this ONNX Runtime can read" in verdict.reason
    publish(origin, verdict, mirror=tmp_path / "mirror.git")
    mirror = Repository(tmp_path / "mirror.git")
    mirror.fetch(origin.url)
    assert Verdicts.of_environment(mirror, origin.url, "prod").rejected("prod", release)


# What the evaluation of a release says about single images, with --details
DETAILS = """
details = Path(sys.argv[sys.argv.index("--details") + 1])
(details / "decisions.json").write_text({decisions!r})
(details / "latency.json").write_text('{{"p50_ms": {milliseconds}}}')
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("milliseconds", "changed", "reason"),
    [
        (2, 0, ""),
        (200, 0, "latency of one image: 200.00 ms (20 ms at most)"),
        (2, 10, "changed decisions: 10 of 2000: Smiling 10 (0.2% at most)"),
    ],
    ids=["as before", "slow", "another runtime"],
)
def test_a_right_accuracy_is_not_enough(
    tmp_path: Path,
    dvc_remote: Path,
    release_of: Releases,
    milliseconds: float,
    changed: int,
    reason: str,
) -> None:
    origin, release = release_of(figures(), figures().model_dump_json())
    bare = Repository(Path(origin.url))
    recorded, given = (
        answers([True] * number + [False] * (1000 - number), [False] * 1000).model_dump_json()
        for number in (0, changed)
    )
    code = EVALUATE + DETAILS.format(decisions=given, milliseconds=milliseconds)
    files: dict[str, bytes | None] = {
        "src/face_attributes/__main__.py": code.encode(),
        # The real one, as a release has it
        "src/face_attributes/cli.py": (ROOT / "src/face_attributes/cli.py").read_bytes(),
        "metrics/decisions.json": recorded.encode(),
    }
    release = bare.commit_files(release, files, "Details")
    bare.git("update-ref", "refs/heads/main", release)
    verdict = verify(origin, release, "prod", home=tmp_path / "spaces")
    assert (verdict.measured_accuracy, verdict.reason) == (0.93, reason)
    assert verdict.verdict == ("rejected" if reason else "verified")


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with too little room, as the system states it."""
    monkeypatch.setattr(disk, "LEAST", 2**62)


def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that leads to a python that does not start."""
    folder = Path(os.environ["HOME"]) / "bin"
    folder.mkdir()
    (folder / "python").write_text("#!/bin/sh\necho no library >&2\nexit 127\n")
    (folder / "python").chmod(0o755)
    known = isolation.variables

    def variables(*extra: Any, home: Path) -> dict[str, str]:
        found = known(*extra, home=home)
        return found | {"PATH": f"{folder}{os.pathsep}{found['PATH']}"}

    monkeypatch.setattr(isolation, "variables", variables)
    # In namespaces of its own a command does not see that folder.
    monkeypatch.setattr(isolation, "namespaces", lambda: False)


def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation may take two seconds; the download before it may take as long as ever."""
    given = verification.call

    def call(command: Sequence[str], folder: Path, timeout: timedelta) -> None:
        given(command, folder, timedelta(seconds=2) if "evaluate" in command else timeout)

    monkeypatch.setattr(verification, "call", call)


@pytest.mark.parametrize(
    ("model", "make_ill", "reason"),
    [
        ("broken", full_disk, "no verdict on .*: disk: .* free, "),
        ("killed", lambda _: None, "no verdict on .*: the system killed the evaluation"),
        ("slow", little_time, "no verdict on .*: the evaluation took too long here: .*longer than 0:00:02"),
        ("broken", no_program, "no verdict on .*: no program starts here: .*no library"),
    ],
    ids=["disk", "killed", "time", "program"],
)
def test_an_ill_environment_gives_no_verdict(
    tmp_path: Path,
    dvc_remote: Path,
    release_of: Releases,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    make_ill: Callable[[pytest.MonkeyPatch], None],
    reason: str,
) -> None:
    origin, release = release_of(figures(), model)
    make_ill(monkeypatch)
    with pytest.raises(StepError, match=reason):
        verify(origin, release, "prod", home=tmp_path / "spaces")


def test_a_model_that_cannot_be_fetched_is_no_verdict(
    tmp_path: Path, dvc_remote: Path, release_of: Releases
) -> None:
    origin, release = release_of(figures(), figures().model_dump_json())
    dvc_remote.rename(tmp_path / "gone")
    with pytest.raises(StepError, match="dvc pull"):
        verify(origin, release, "prod", home=tmp_path / "spaces")


def test_a_release_without_a_model_has_nothing_to_verify(
    tmp_path: Path, dvc_remote: Path, release_of: Releases
) -> None:
    origin, release = release_of(figures(), figures().model_dump_json())
    bare = Repository(Path(origin.url))
    early = bare.commit_files(release, {"metrics/evaluation.json": None}, "No model")
    bare.git("update-ref", "refs/heads/main", early)
    assert pending(origin, early, "dev", mirror=tmp_path / "mirror.git") == "this release has no model yet"
