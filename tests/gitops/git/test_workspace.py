import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gitops.errors import GitError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, resolve, workspace


@pytest.fixture
def bare(tmp_path: Path) -> Repository:
    """A bare origin whose `main` has two commits of one file."""
    path = tmp_path / "origin.git"
    path.mkdir()
    repository = Repository(path)
    repository.git("init", "--quiet", "--bare", "--initial-branch=main")
    first = repository.commit_files(None, {"file.txt": b"one\n"}, "One")
    second = repository.commit_files(first, {"file.txt": b"two\n"}, "Two")
    repository.git("update-ref", "refs/heads/main", second)
    return repository


def left_in(home: Path) -> list[str]:
    return [entry.name for entry in home.iterdir() if entry.name != ".sweep"]


def test_checks_out_any_commit_and_leaves_nothing(bare: Repository, tmp_path: Path) -> None:
    first = bare.resolve("main~1")
    with workspace(Origin(str(bare.path)), first, tmp_path / "spaces") as space:
        assert (space.path / "file.txt").read_text() == "one\n"
        assert space.repository.resolve("HEAD") == first
    assert left_in(tmp_path / "spaces") == []


def test_is_removed_when_the_work_fails(bare: Repository, tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        workspace(Origin(str(bare.path)), bare.resolve("main"), tmp_path / "s"),
    ):
        raise ZeroDivisionError
    assert left_in(tmp_path / "s") == []


def test_unknown_commit_is_an_error_and_leaves_nothing(bare: Repository, tmp_path: Path) -> None:
    with pytest.raises(GitError), workspace(Origin(str(bare.path)), "0" * 40, tmp_path / "s"):
        pass
    assert left_in(tmp_path / "s") == []


@pytest.mark.parametrize(
    "commit", ["--upload-pack=touch {};git-upload-pack", "refs/heads/main", "main", "../../a", "", "0" * 39]
)
def test_only_a_full_commit_id_reaches_git(bare: Repository, tmp_path: Path, commit: str) -> None:
    touched = tmp_path / "touched"
    with (
        pytest.raises(GitError, match="not a full commit id"),
        workspace(Origin(str(bare.path)), commit.format(touched), tmp_path / "s"),
    ):
        pass
    with pytest.raises(GitError, match="not a full commit id"):
        bare.fetch_commit(str(bare.path), commit.format(touched))
    assert not touched.exists()


def test_no_name_of_a_commit_is_an_option(bare: Repository, tmp_path: Path) -> None:
    written = tmp_path / "written"
    for ask in (
        lambda name: bare.changed(name, "main"),
        lambda name: bare.changed("main", name),
        lambda name: bare.is_ancestor(name, "main"),
        lambda name: bare.merge_base("main", name),
        bare.files,
        bare.entries,
        bare.has,
    ):
        with pytest.raises(GitError, match="not the name of a commit"):
            ask(f"--output={written}")
    assert not written.exists()


def test_credentials_are_there_for_the_fetch_alone(bare: Repository, tmp_path: Path) -> None:
    inside: list[bool] = []

    @contextmanager
    def session():
        os.environ["SECRET_FOR_GIT"] = "x"
        inside.append(True)
        try:
            yield
        finally:
            del os.environ["SECRET_FOR_GIT"]

    with workspace(Origin(str(bare.path), session), bare.resolve("main"), tmp_path / "s"):
        assert inside == [True]
        assert "SECRET_FOR_GIT" not in os.environ


WORKER = """
import signal, subprocess, sys
from pathlib import Path
from gitops.workspace import Origin, workspace
url, commit, home = sys.argv[1:]
with workspace(Origin(url), commit, Path(home)) as space:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    orphan = subprocess.Popen(command, cwd=space.path, start_new_session=True, stdout=subprocess.DEVNULL)
    print(space.path, orphan.pid, flush=True)
    signal.pause()
"""


def test_the_next_workspace_clears_up_after_a_killed_one(bare: Repository, tmp_path: Path) -> None:
    home, commit = tmp_path / "spaces", bare.resolve("main")
    command = [sys.executable, "-c", WORKER, str(bare.path), commit, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        path, orphan = worker.stdout.readline().split()

        with workspace(Origin(str(bare.path)), commit, home):
            assert Path(path).is_dir(), "a workspace whose process lives is left alone"
        worker.kill()

    with workspace(Origin(str(bare.path)), commit, home):
        assert not Path(path).exists()
    assert left_in(home) == []
    assert_ends(int(orphan))


def test_a_full_disk_at_the_start_leaves_nothing(
    bare: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    home = tmp_path / "spaces"
    os.makedirs(home)  # noqa: PTH103, the other way to make a folder fails here
    with pytest.raises(OSError, match="No space left"), workspace(Origin(str(bare.path)), "0" * 40, home):
        pass
    assert left_in(home) == []


def assert_ends(pid: int) -> None:
    if psutil.pid_exists(pid):
        _, alive = psutil.wait_procs([psutil.Process(pid)], timeout=120)
        assert not alive, f"process {pid} still works in a workspace that is gone"


def test_resolves_branches_and_full_ids(bare: Repository, tmp_path: Path) -> None:
    origin = Origin(str(bare.path))
    assert resolve(origin, "main", tmp_path) == bare.resolve("main")
    assert resolve(origin, bare.resolve("main~1"), tmp_path, mirror=tmp_path / "x") == bare.resolve("main~1")
    with pytest.raises(GitError, match="no-such: no such branch"):
        resolve(origin, "no-such", tmp_path)
