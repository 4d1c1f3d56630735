"""The repository of Docker Compose behind its service, whose command runs here on the loopback."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gitops.git.repository import Repository
from infra.local import port
from tests.support.command import captured
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
SERVICE = yaml.safe_load((ROOT / "infra/compose/services.yml").read_text())["services"]["git"]


@dataclass(frozen=True)
class Served:
    """The repository, its address, and the file that names the processes at the address of the client."""

    origin: Repository
    url: str
    names: Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    origin = Repository(tmp_path / "visage" / "origin.git")
    origin.path.mkdir(parents=True)
    origin.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
    origin.git("update-ref", "refs/heads/main", origin.commit_files(None, {"README.md": b""}, "Start"))
    (origin.path / "hooks").mkdir(exist_ok=True)
    (origin.path / "hooks/update").write_bytes((ROOT / "infra/git/update").read_bytes())
    (origin.path / "hooks/update").chmod(0o755)
    programs, names = tmp_path / "programs", tmp_path / "names"
    programs.mkdir()
    names.write_text("")
    # The names that the engine of Docker gives to containers
    (programs / "getent").write_text(
        f'#!/bin/sh\ngrep -qx "$2" {names} && echo "127.0.0.1       STREAM $2"\n'
    )
    (programs / "getent").chmod(0o755)
    number = port.unused()
    places = {"/opt/visage": str(origin.path.parent), "/opt/engine-git/access": f"{ROOT}/infra/git/access"}
    command = SERVICE["command"]
    for there, here in places.items():
        command = [word.replace(there, here) for word in command]
    daemon = subprocess.Popen(
        [*command[:2], "--listen=127.0.0.1", f"--port={number}", *command[2:]],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"git://127.0.0.1:{number}/origin.git"
    try:
        wait_for(lambda: captured(["git", "ls-remote", url], timeout=30).returncode == 0, seconds=30)
        yield Served(origin, url, names)
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def push(served: Served, commit: str, name: str, folder: Path) -> str:
    """Push a commit as a process of a container; return git's complaint."""
    clone = folder / "clone"
    captured(["git", "clone", "--quiet", served.origin.path, clone], check=True, timeout=30)
    return captured(
        ["git", "push", "--force", served.url, f"{commit}:{name}"], cwd=clone, timeout=30
    ).stderr.rpartition("error: ")[0]


def test_only_what_publishes_results_may_push(served: Served, tmp_path: Path) -> None:
    start = served.origin.resolve("main")
    made = served.origin.commit_files(start, {"new": b""}, "Change")
    served.origin.git("update-ref", "refs/heads/made", made)
    for number, (name, allowed) in enumerate(
        [("airflow-webserver", False), ("serving", False), ("airflow-worker", True)]
    ):
        served.names.write_text(f"{name}\n")
        folder = tmp_path / str(number)
        folder.mkdir()
        branch = f"refs/heads/candidate/{number}"
        complaint = push(served, made, branch, folder)
        assert served.origin.has(branch) is allowed, complaint


def test_a_push_through_the_service_rewrites_no_main(served: Served, tmp_path: Path) -> None:
    served.names.write_text("airflow-scheduler\n")
    start = served.origin.resolve("main")
    other = served.origin.commit_files(None, {"other": b""}, "Start again")
    served.origin.git("update-ref", "refs/heads/other", other)
    push(served, other, "refs/heads/main", tmp_path)
    assert served.origin.resolve("main") == start
