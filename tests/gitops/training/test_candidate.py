import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import CandidateError, GateError, SettingsError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.model.cost import Cost, StageCost
from gitops.release import settings
from gitops.training.candidate import candidate_branch, judge, propose, slug
from tests.support.figures import model_files
from tests.support.lab import Lab

RUN = "manual__2026-11-23T00:45:00.123456+00:00"
METRICS = {
    "profile": "full",
    "model_sha256": "b" * 64,
    "mean_accuracy": 0.9412,
    "majority_accuracy": 0.8,
    "samples": 500,
}


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """A bare origin: `main` has parameters, `run` two further commits with a lock and metrics."""
    path = tmp_path / "origin.git"
    path.mkdir()
    repository = Repository(path)
    repository.git("init", "--quiet", "--bare", "--initial-branch=main")
    main = repository.commit_files(None, {"params.yaml": b"profile: full\n"}, "Start")
    trained = repository.commit_files(main, {"dvc.lock": b"schema: '2.0'\n"}, "train")
    evaluated = repository.commit_files(
        trained, {"metrics/evaluation.json": json.dumps(METRICS).encode()}, "evaluate"
    )
    repository.git("update-ref", "refs/heads/main", main)
    repository.git("update-ref", "refs/heads/run/x", evaluated)
    return repository


def propose_run(origin: Repository, home: Path, result: str = "run/x") -> str | None:
    base, commit = origin.resolve("main"), origin.resolve(result)
    return propose(Origin(str(origin.path)), base, commit, run_id=RUN, home=home)


def test_is_one_commit_on_top_of_what_was_trained_from(origin: Repository, tmp_path: Path) -> None:
    branch = propose_run(origin, tmp_path / "spaces")
    assert branch == "candidate/manual__2026-11-23T004500-123456Z"
    assert origin.resolve(f"{branch}~1") == origin.resolve("main")
    assert origin.git("rev-parse", f"{branch}^{{tree}}") == origin.git("rev-parse", "run/x^{tree}")
    message = origin.git("show", "--no-patch", "--format=%B", branch)
    assert message.startswith("Candidate: mean accuracy 0.9412\n")
    assert RUN in message


def test_says_what_it_is_worth_on_what_drifted(origin: Repository, tmp_path: Path) -> None:
    mean = {"accuracy": 0.941, "incumbent": 0.862, "difference": 0.079, "low": 0.065, "high": 0.092}
    figures = {
        "format": 2,
        "model_sha256": "a" * 64,
        "samples": 160,
        "batches": ["prod-2026-01-07"],
        "mean_accuracy": mean,
        "per_attribute": {"Smiling": mean},
    }
    files = {
        "metrics/evaluation.json": json.dumps(METRICS | {"model_sha256": "a" * 64}).encode(),
        "metrics/drifted.json": json.dumps(figures).encode(),
    }
    origin.git("update-ref", "refs/heads/run/y", origin.commit_files("run/x", files, "compare"))
    branch = propose_run(origin, tmp_path / "spaces", result="run/y")
    message = origin.git("show", "--no-patch", "--format=%B", str(branch))
    assert message.splitlines()[-1].startswith("On 160 held-out images of prod-2026-01-07: 0.9410, where the")


def test_it_has_the_cost_of_its_run_alone(origin: Repository, tmp_path: Path) -> None:
    stage = StageCost(seconds=9, cpu_seconds=8, peak_bytes=7, read_bytes=6, written_bytes=5)
    for number, run in enumerate((f"run/{slug(RUN)}", "run/other")):
        spent = Cost(run=run, stages={"train": stage})
        files = {"metrics/evaluation.json": json.dumps(METRICS | {"samples": 600 + number}).encode()}
        result = origin.commit_files("run/x", files, f"evaluate\n\n{spent.trailer}\n")
        origin.git("update-ref", "refs/heads/run/y", result)
        branch = propose_run(origin, tmp_path / "spaces", result="run/y")
        assert branch is not None
        assert Cost.of(origin.commit_info(branch).cost) == (None if number else spent)
        assert origin.git("show", "--no-patch", "--format=%(trailers:only)", branch).strip() == (
            "" if number else spent.trailer
        )
        origin.git("update-ref", "-d", f"refs/heads/{branch}")


def test_a_retry_proposes_the_same_commit(origin: Repository, tmp_path: Path) -> None:
    branch = propose_run(origin, tmp_path / "spaces")
    assert branch is not None
    first = origin.resolve(branch)
    assert propose_run(origin, tmp_path / "spaces") == branch
    assert origin.resolve(branch) == first


def test_nothing_new_is_not_proposed(origin: Repository, tmp_path: Path) -> None:
    assert propose_run(origin, tmp_path / "spaces", result="main") is None
    assert origin.git("branch", "--list", "candidate/*") == ""


LOCK = """\
stages:
  evaluate:
    outs:
    - {path: metrics/performance.json, md5: %s}
    - {path: models/model.onnx, md5: %s}
"""


def measured(origin: Repository, on: str, times: str, model: str = "a") -> str:
    """A commit with results that say how long they took."""
    files = {
        "dvc.lock": (LOCK % (times, model)).encode(),
        "metrics/performance.json": times.encode(),
        "metrics/evaluation.json": json.dumps(METRICS).encode(),
    }
    return origin.commit_files(on, files, "evaluate")


def test_what_main_has_by_now_is_not_proposed(
    origin: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = origin.resolve("main")
    result, other = measured(origin, base, "1.1"), measured(origin, base, "1.1", model="b")
    origin.git("update-ref", "refs/heads/run/mine", result)
    origin.git("update-ref", "refs/heads/run/other", other)
    # Meanwhile the candidate of another run was merged, which took longer; and then main went on
    merged = origin.commit_files(measured(origin, base, "2.2"), {"README.md": b"more"}, "Go on")
    origin.git("update-ref", "refs/heads/main", merged)

    place, home = Origin(str(origin.path)), tmp_path / "spaces"
    with caplog.at_level("INFO"):
        assert propose(place, base, result, run_id=RUN, home=home) is None
    assert f"The results equal those of main ({merged}): nothing to propose." in caplog.text
    assert propose(place, base, other, run_id=RUN, home=home) == candidate_branch(RUN)


def test_a_conflict_with_main_is_foretold_and_the_candidate_proposed(
    origin: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = origin.resolve("main")
    moved = origin.commit_files(base, {"notes.txt": b"harmless"}, "Move")
    origin.git("update-ref", "refs/heads/main", moved)
    result, home = origin.resolve("run/x"), tmp_path / "spaces"
    place = Origin(str(origin.path))
    assert propose(place, base, result, run_id="first", home=home)
    assert "conflicts with main" not in caplog.text
    other = origin.commit_files(moved, {"dvc.lock": b"schema: '2.0'\nstages: {}\n"}, "Another model")
    origin.git("update-ref", "refs/heads/main", other)
    assert propose(place, base, result, run_id="second", home=home) == "candidate/second"
    assert f"conflicts with main: {other[:12]} has another dvc.lock than {base[:12]}" in caplog.text
    assert "gitops train candidate/second --wait --on-main" in caplog.text
    assert origin.has("refs/heads/candidate/second")


def test_results_are_held_against_the_gates_of_the_environment(lab: Lab, tmp_path: Path) -> None:
    incumbent = lab.train("first", 0.95)
    better, worse = lab.branch("run/b", model_files("b", 0.96)), lab.branch("run/w", model_files("w", 0.83))

    def failed(commit: str) -> list[str]:
        rows = judge(
            *(Origin(str(lab.origin.path)), commit, incumbent, "dev"),
            home=tmp_path / "spaces",
            cache=tmp_path / "cache",
        )
        return [row.gate for row in rows if not row.ok]

    assert failed(better) == []
    assert failed(worse) == ["mean accuracy", "no worse than the incumbent"]
    # What dev verified before is the second measure
    lab.verify("dev", incumbent)
    lab.train("second", 0.9)
    incumbent = lab.tip
    assert failed(lab.branch("run/c", model_files("c", 0.9))) == ["no worse than the best release"]


def test_a_release_that_owners_named_is_another_measure(lab: Lab, tmp_path: Path) -> None:
    named = lab.train("named", 0.95, verified=False)
    incumbent = lab.train("weaker", 0.9, verified=False)
    commit = lab.branch("run/c", model_files("c", 0.9))
    path = settings.path_of("dev")
    content = lab.origin.read(lab.tip, path)
    assert content is not None

    def failed(anchor: str) -> list[str]:
        lab.land({path: content.replace(b"ANCHOR_RELEASE=\n", f"ANCHOR_RELEASE={anchor}\n".encode())})
        rows = judge(
            *(Origin(str(lab.origin.path)), commit, incumbent, "dev"),
            home=tmp_path / "spaces",
            cache=tmp_path / "cache",
        )
        return [row.gate for row in rows if not row.ok]

    assert failed("") == []
    assert failed(named) == ["no worse than the named release"]
    with pytest.raises(SettingsError, match="ANCHOR_RELEASE: aaaaaaaaaaaa is no commit of this repository"):
        failed("a" * 40)


def test_a_run_without_figures_cannot_be_judged(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"metrics/evaluation.json: missing"):
        judge(
            *(Origin(str(lab.origin.path)), lab.tip, lab.tip, "dev"),
            home=tmp_path / "spaces",
            cache=tmp_path / "cache",
        )


def test_a_small_run_is_refused(origin: Repository, tmp_path: Path) -> None:
    small = origin.commit_files(origin.resolve("run/x"), {"params.yaml": b"profile: small\n"}, "Small")
    origin.git("update-ref", "refs/heads/run/small", small)
    with pytest.raises(CandidateError, match="profile small is never proposed"):
        propose_run(origin, tmp_path / "spaces", result="run/small")
    assert origin.git("branch", "--list", "candidate/*") == ""


def test_what_somebody_else_put_there_is_not_overwritten(origin: Repository, tmp_path: Path) -> None:
    branch = candidate_branch(RUN)
    origin.git("update-ref", f"refs/heads/{branch}", origin.resolve("main"))
    with pytest.raises(CandidateError, match="already holds"):
        propose_run(origin, tmp_path / "spaces")
    assert origin.resolve(branch) == origin.resolve("main")


def test_a_run_without_an_evaluation_is_refused(origin: Repository, tmp_path: Path) -> None:
    origin.git("update-ref", "refs/heads/run/early", origin.resolve("run/x~1"))
    with pytest.raises(CandidateError, match=r"metrics/evaluation.json: missing"):
        propose_run(origin, tmp_path / "spaces", result="run/early")


@given(st.text(min_size=1))
def test_a_slug_is_always_fit_for_a_branch(run_id: str) -> None:
    assert set(slug(run_id)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
