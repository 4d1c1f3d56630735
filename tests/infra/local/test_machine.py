import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from infra.local import machine
from infra.local.errors import EngineError
from infra.local.layout import Layout

Usage = namedtuple("Usage", "total used free")


def test_what_was_found_is_told(layout: Layout) -> None:
    head = Repository(layout.checkout).resolve("HEAD")
    assert f"Python {sys.version.split()[0]}, git " in machine.check(layout.checkout)
    assert f"commit {head[:12]}" in machine.check(layout.checkout)


def test_another_python_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    with pytest.raises(EngineError, match=r"^Python 3\.12: Visage needs Python 3\.11"):
        machine.check(layout.checkout)


def test_a_missing_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"^git: not installed"):
        machine.git_version()


def test_an_old_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\necho git version 2.17.1\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(EngineError, match=r"^git version 2\.17\.1: too old; install git 2\.38 or newer"):
        machine.git_version()


def test_a_folder_that_is_no_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="run this in a clone of the repository, not in an unpacked"):
        machine.check(tmp_path)


def test_a_folder_of_another_repository_is_named(layout: Layout) -> None:
    with pytest.raises(EngineError, match="Visage needs a repository of its own"):
        machine.check(layout.checkout / "environments")


def test_a_repository_without_a_commit_is_named(tmp_path: Path) -> None:
    Repository(tmp_path).git("init", "--quiet", ".")
    with pytest.raises(EngineError, match="no commit yet; a release is a commit"):
        machine.check(tmp_path)


def test_too_little_room_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 2 * 1024**3))
    with pytest.raises(EngineError, match=r"2\.0 GiB free, 3 GiB needed"):
        machine.check(layout.checkout)


def test_files_that_are_not_committed_are_counted(layout: Layout) -> None:
    assert machine.uncommitted(layout.checkout) == 0
    (layout.checkout / "new").write_text("")
    (layout.checkout / "params.yaml").write_text("")
    (layout.state).mkdir()
    (layout.state / "ignored").write_text("")
    assert machine.uncommitted(layout.checkout) == 2
