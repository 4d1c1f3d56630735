"""The archive on a real pipeline, with a plot that git does not have."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops.errors import CandidateError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.training.archive import archive, tag_of
from tests.support.figures import model_files

RUN = "manual__2026-11-23T00:45:00.123456+00:00"
PIPELINE = """\
stages:
  evaluate:
    cmd:
      - mkdir -p metrics plots
      - cp figures metrics/evaluation.json
      - echo jpeg > plots/a.jpg
    outs:
      - metrics/evaluation.json: {cache: false}
      - plots/a.jpg
"""


@pytest.fixture
def origin(tmp_path: Path, dvc_remote: Path, made_once: Callable[..., None]) -> Repository:
    """A bare origin whose `main` holds results; one of the plots is on the DVC remote alone."""
    made_once(make)
    return Repository(tmp_path / "origin.git")


def make(folder: Path) -> None:
    checkout = folder / "checkout"
    checkout.mkdir()
    (checkout / "dvc.yaml").write_text(PIPELINE)
    (checkout / "params.yaml").write_text("profile: full\n")
    (checkout / "figures").write_bytes(model_files("a")["metrics/evaluation.json"])
    repository = Repository(checkout)
    repository.git("init", "--quiet", "--initial-branch=main")
    for command in (["init"], ["repro"], ["push"]):
        subprocess.run(["dvc", *command, "--quiet"], cwd=checkout, check=True, timeout=60)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message=Results", env=repository.identity())
    Repository.clone(str(checkout), folder / "origin.git", "--bare")


def keep(origin: Repository, commit: str, tmp_path: Path, run_id: str = RUN, kept: int = 9) -> Path:
    place = Origin(str(origin.path))
    return archive(place, commit, run_id=run_id, runs=tmp_path / "runs", home=tmp_path / "spaces", kept=kept)


def test_a_run_is_found_by_its_id(origin: Repository, tmp_path: Path) -> None:
    commit = origin.resolve("main")
    folder = keep(origin, commit, tmp_path)
    assert folder == tmp_path / "runs" / RUN
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"commit", "dvc.lock", "params.yaml", "metrics/evaluation.json", "plots/a.jpg"}
    assert (folder / "plots/a.jpg").read_text() == "jpeg\n"
    assert (folder / "commit").read_text() == f"{commit}\n"
    assert not (folder / "plots/a.jpg").is_symlink(), "a copy does not go with DVC's cache"

    [tag] = origin.tags("archive")
    assert tag.name == tag_of(RUN) == "archive/manual__2026-11-23T004500-123456Z"
    assert (tag.commit, tag.message) == (commit, f"Run {RUN}: mean accuracy 0.9000")


def test_archiving_again_changes_nothing_and_a_cleared_run_replaces_its_own(
    origin: Repository, tmp_path: Path
) -> None:
    commit = origin.resolve("main")
    keep(origin, commit, tmp_path)
    [before] = origin.tags("archive")
    keep(origin, commit, tmp_path)
    assert origin.tags("archive") == [before]

    again = origin.commit_files(commit, {"metrics/evaluation.json": b'{"mean_accuracy": 0.8}'}, "Again")
    origin.git("update-ref", "refs/heads/run/again", again)
    folder = keep(origin, again, tmp_path)
    assert (folder / "metrics/evaluation.json").read_text() == '{"mean_accuracy": 0.8}'
    assert [tag.commit for tag in origin.tags("archive")] == [again]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [RUN]


def test_the_newest_copies_stay_and_all_tags(origin: Repository, tmp_path: Path) -> None:
    for run_id in ("one", "two", "three"):
        keep(origin, origin.resolve("main"), tmp_path, run_id, kept=2)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"two", "three"}
    assert {tag.name for tag in origin.tags("archive")} == {
        "archive/one",
        "archive/two",
        "archive/three",
    }


@pytest.mark.parametrize("run_id", ["..", "a/b", ""])
def test_a_run_id_stays_in_its_folder(origin: Repository, tmp_path: Path, run_id: str) -> None:
    with pytest.raises(CandidateError, match="cannot name a folder"):
        keep(origin, origin.resolve("main"), tmp_path, run_id)


def test_the_copy_is_readable_by_its_owner_alone(
    origin: Repository, tmp_path: Path, isolated_home: Path
) -> None:
    # DVC makes the files of its cache read-only, for everybody, and links them
    with (isolated_home / "dvc/config").open("a") as config:
        config.write("[cache]\ntype = hardlink\n")
    before = os.umask(0o077)
    try:
        folder = keep(origin, origin.resolve("main"), tmp_path)
    finally:
        os.umask(before)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"a.jpg", "evaluation.json"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_a_link_of_a_commit_brings_no_file_of_the_machine(origin: Repository, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret: correct horse")  # pragma: allowlist secret
    clone = Repository.clone(str(origin.path), tmp_path / "clone")
    (clone.path / "plots/leak.jpg").symlink_to(secret)
    (clone.path / "plots/folder").symlink_to(tmp_path)
    (clone.path / "metrics/none.json").symlink_to("nowhere")
    (clone.path / "params.yaml").unlink()
    (clone.path / "params.yaml").symlink_to(secret)
    clone.git("add", "--force", "plots/leak.jpg", "plots/folder", "metrics/none.json", "params.yaml")
    clone.git("commit", "--quiet", "--message=Links", env=clone.identity())
    clone.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    folder = keep(origin, origin.resolve("main"), tmp_path)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert found == {"commit", "dvc.lock", "metrics/evaluation.json", "plots/a.jpg"}
