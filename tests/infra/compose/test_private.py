"""Other users of a server read nothing of what Docker Compose keeps on it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gitops.git.repository import Repository

ROOT = Path(__file__).resolve().parents[3]
# Answers as an engine does that has whatever it is asked for.
DOCKER = """#!/bin/sh
[ "$*" != "compose version --short" ] || echo 2.40.3
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A checkout on a server, with what the scripts need of it."""
    checkout = tmp_path / "checkout"
    for name in ("scripts", ".env.example", "requirements.lock", "environments", "infra/git"):
        source, target = ROOT / name, checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    repository = Repository(checkout)
    repository.git("init", "--quiet", "--initial-branch=main", ".")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "-m", "First", env=repository.identity())
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    return checkout


def initialise(checkout: Path) -> None:
    path = f"{checkout.parent / 'programs'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["scripts/init_airflow.sh"], cwd=checkout, env=os.environ | {"PATH": path}, check=True, timeout=60
    )


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder.parent)): path.stat().st_mode & 0o777
        for path in (folder, *folder.rglob("*"))
    }


def test_what_the_environments_share_is_closed_to_other_users(server: Path) -> None:
    initialise(server)
    found = modes(server / ".compose")
    assert {".compose/origin.git/HEAD", ".compose/store/visage", ".compose/dvc-config/config"} <= set(found)
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o007} == {}
    assert found[".compose"] == 0o700


def test_a_folder_of_an_earlier_version_is_closed(server: Path) -> None:
    (server / ".compose/store/visage").mkdir(parents=True)
    (server / ".compose").chmod(0o755)
    initialise(server)
    assert (server / ".compose").stat().st_mode & 0o777 == 0o700


def test_the_address_of_the_repository_in_an_earlier_version_is_replaced(server: Path) -> None:
    initialise(server)
    env = server / ".env"
    now = env.read_text()
    assert '"host": "git://git/origin.git"' in now
    env.write_text(now.replace("git://git/origin.git", "/opt/visage/origin.git"))
    initialise(server)
    assert sorted(env.read_text().splitlines()) == sorted(now.splitlines())


def test_a_process_of_a_container_writes_for_its_own_user(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "infra/airflow/Dockerfile").read_text(), re.MULTILINE)
    init, end, *rest = json.loads(line)
    assert (init, end) == ("tini", "--")
    command = ["sh", "-c", 'mkdir "$1" && echo a face > "$1/photo.jpg"', "sh", "made here"]
    subprocess.run([*rest, *command], cwd=tmp_path, check=True, timeout=30)
    assert modes(tmp_path / "made here") == {"made here": 0o700, "made here/photo.jpg": 0o600}
