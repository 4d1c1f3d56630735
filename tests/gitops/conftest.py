"""A lab, a DVC remote and a stand-in for GitHub for one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.forge_server import serve
from tests.support.lab import Lab


@pytest.fixture(scope="session")
def labs() -> list[Path]:
    """The lab that all others are copies of, once it is made."""
    return []


@pytest.fixture
def lab(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, labs: list[Path]) -> Lab:
    if not labs:
        folder = tmp_path_factory.mktemp("labs") / "lab"
        Lab(folder)
        labs.append(folder)
    return Lab(tmp_path / "lab", labs[0])


@pytest.fixture
def dvc_remote(tmp_path: Path, isolated_home: Path) -> Path:
    """A DVC remote in a folder, which the environment names and the repository does not."""
    folder = tmp_path / "dvc-remote"
    folder.mkdir()
    config = isolated_home / "dvc" / "config"
    config.parent.mkdir()
    config.write_text(
        f"[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = {folder}\n"
    )
    return folder


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    """A stand-in for GitHub, with a repository that has one commit."""
    made = Forge(tmp_path / "github")
    made.repository.path.mkdir(parents=True)
    made.repository.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
    made.repository.git("config", "http.receivepack", "true")
    first = made.repository.commit_files(None, {"a": b"a"}, "Start")
    made.repository.git("update-ref", "refs/heads/main", first)
    with serve(made):
        yield made
