import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.standard.sensors.filesystem import FileSensor

from gitops.git.repository import Repository
from visage_dags import readiness

FILES = dict.fromkeys(readiness.FILES, b"") | {"params.yaml": b"data: {source: synthetic}\n"}


class Place:
    """An origin with every file that a run needs, a DVC remote in a folder, and a data folder."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.origin = Repository(folder / "origin.git")
        self.origin.path.mkdir()
        self.origin.git("init", "--quiet", "--bare", "--initial-branch=main")
        dvc = {f".dvc/{file.name}": file.read_bytes() for file in (folder / "checkout/.dvc").glob("config")}
        self.commit(FILES | dvc)
        self.remote, self.home = folder / "remote", folder / "home"
        self.remote.mkdir()
        self.config = home / "dvc" / "config"
        self.config.parent.mkdir()
        self.config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {self.remote}\n")

    def commit(self, files: dict[str, bytes | None]) -> str:
        parent = "main" if self.origin.has("main") else None
        commit = self.origin.commit_files(parent, files, "Change")
        self.origin.git("update-ref", "refs/heads/main", commit)
        return commit

    def survey(self, ref: str = "main") -> readiness.Readiness:
        return readiness.survey(ref, self.home)


def begin(folder: Path) -> None:
    (folder / "checkout").mkdir()
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=folder / "checkout", check=True, timeout=120)


@pytest.fixture
def place(
    tmp_path: Path,
    isolated_home: Path,
    made_once: Callable[..., None],
    connect: Callable[[str], None],
) -> Place:
    made_once(begin)
    made = Place(tmp_path, isolated_home)
    connect(str(made.origin.path))
    return made


def test_nothing_is_missing(place: Place) -> None:
    assert place.survey() == readiness.Readiness(place.origin.resolve("main"), "synthetic", ())


def test_everything_that_is_missing_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.commit({"dvc.yaml": None, "params.small.yaml": None, "params.yaml": b"data: {source: celeba}\n"})
    place.remote.rmdir()
    monkeypatch.setattr(readiness, "FREE_BYTES", 2**60)
    found = place.survey()
    assert "dvc.yaml: not in this commit" in str(found)
    assert "params.small.yaml: not in this commit" in str(found)
    assert "GiB free, 1073741824 GiB needed" in str(found)
    assert f"DVC remote: {place.remote}: no such folder" in str(found)
    assert "CELEBA_DIR: not set" in str(found)
    assert len(found.lacks) == len(str(found).splitlines()) - 1 == 5
    assert not found.transient


def test_commands_that_are_missing_are_named(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git: not on PATH" in str(place.survey())
    assert "dvc: not on PATH" not in str(place.survey()), "it is beside this interpreter"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "dvc: not on PATH" in str(place.survey())


def test_a_remote_that_does_not_answer_may_answer_later(place: Place, connect: Callable[[str], None]) -> None:
    place.remote.rmdir()
    assert place.survey().transient
    # Nobody listens at port 9, which is reserved for throwing away what it gets
    connect("http://127.0.0.1:9/origin.git")
    unreachable = place.survey()
    assert unreachable.transient
    assert "origin: git ls-remote:" in str(unreachable)


def test_a_branch_that_is_not_there_does_not_come_by_waiting(place: Place) -> None:
    found = place.survey("no-such")
    assert not found.transient
    assert "no-such: no such branch" in str(found)


@pytest.mark.parametrize("params", [b"data: {source: films}\n", b"data: 3\n", b"[", b"{}\n"])
def test_a_source_that_cannot_be_told_is_a_lack(place: Place, params: bytes) -> None:
    place.commit({"params.yaml": params})
    assert "params.yaml: data.source: " in str(place.survey())
    assert not place.survey().transient


def test_a_data_folder_that_cannot_be_made_is_a_lack(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place.home = tmp_path / "file" / "home"
    assert "VISAGE_HOME must be a writable folder" in str(place.survey())


def found(pattern: str) -> bool:
    """Whether the sensor of the pipeline finds it."""
    return FileSensor(task_id="check_raw_data", filepath=pattern, recursive=True).poke({})


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FS_DEFAULT", '{"conn_type": "fs"}')


@pytest.mark.usefixtures("connection")
def test_drawn_faces_need_no_waiting(tmp_path: Path) -> None:
    release = tmp_path / "release[1]"
    release.mkdir()
    (release / "params.yaml").touch()
    assert found(readiness.raw_data_pattern("synthetic", release))


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("nested", [".", "Anno"])
def test_photographs_are_waited_for_wherever_their_list_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: str
) -> None:
    folder = tmp_path / "photographs [all]"
    (folder / nested).mkdir(parents=True)
    monkeypatch.setenv("CELEBA_DIR", str(folder))
    pattern = readiness.raw_data_pattern("celeba", tmp_path)
    assert not found(pattern)
    (folder / nested / "list_attr_celeba.txt").touch()
    assert found(pattern)
