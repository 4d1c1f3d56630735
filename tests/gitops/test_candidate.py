import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.candidate import candidate_branch, propose, slug
from gitops.errors import CandidateError
from gitops.repository import Repository
from gitops.workspace import Origin

RUN = "manual__2026-11-23T00:45:00.123456+00:00"
METRICS = {"mean_accuracy": 0.9412, "majority_accuracy": 0.8, "samples": 500}


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


def test_a_retry_proposes_the_same_commit(origin: Repository, tmp_path: Path) -> None:
    branch = propose_run(origin, tmp_path / "spaces")
    assert branch is not None
    first = origin.resolve(branch)
    assert propose_run(origin, tmp_path / "spaces") == branch
    assert origin.resolve(branch) == first


def test_nothing_new_is_not_proposed(origin: Repository, tmp_path: Path) -> None:
    assert propose_run(origin, tmp_path / "spaces", result="main") is None
    assert origin.git("branch", "--list", "candidate/*") == ""


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
