"""The image that Docker Compose runs in an environment: the one that its release file names."""

import subprocess
from pathlib import Path

import pytest
import yaml

from gitops.git.repository import Repository

ROOT = Path(__file__).resolve().parents[3]
NAME = f"sha256:{'a' * 64}"
# As Docker Compose would be called
SHOW = """
set -euo pipefail
action="show the image"
source scripts/lib/compose.sh
compose_command=(sh -c 'echo "${VISAGE_IMAGE:-built here} ${VISAGE_RUNTIME:-unnamed} $VISAGE_ENVIRONMENT"')
compose prod up
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A checkout on a server, whose release file names no runtime."""
    library = tmp_path / "scripts/lib/compose.sh"
    library.parent.mkdir(parents=True)
    library.write_bytes((ROOT / "scripts/lib/compose.sh").read_bytes())
    declare(tmp_path, "")
    (tmp_path / ".env").write_text("")
    return tmp_path


def declare(server: Path, runtime: str) -> None:
    file = server / "environments/prod/release.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"commit: {'1' * 40}\n{runtime}")


def shown(server: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", SHOW], cwd=server, capture_output=True, text=True, check=False, timeout=30
    )


def test_the_image_has_the_digest_of_the_release_file(server: Path) -> None:
    (server / ".env").write_text("VISAGE_IMAGE=registry.example:5000/team/visage-airflow:1.2.0\n")
    assert shown(server).stdout == "registry.example:5000/team/visage-airflow:1.2.0 unnamed prod\n"
    declare(server, f"runtime: {NAME}\n")
    named = f"registry.example:5000/team/visage-airflow@{NAME} {NAME} prod\n"
    assert shown(server).stdout == named
    (server / ".env").write_text(
        f"VISAGE_IMAGE=registry.example:5000/team/visage-airflow@sha256:{'b' * 64}\n"
    )
    assert shown(server).stdout == named


def test_an_image_that_is_built_here_keeps_its_own_name(server: Path) -> None:
    declare(server, f"runtime: lock:{'c' * 64}\n")
    assert shown(server).stdout == "built here unnamed prod\n"


def test_a_digest_without_a_repository_is_refused(server: Path) -> None:
    declare(server, f"runtime: {NAME}\n")
    refused = shown(server)
    assert (refused.returncode, refused.stdout) == (1, "")
    problem = f"environments/prod/release.yaml names the image {NAME}, and .env does not name its repository"
    following = "echo VISAGE_IMAGE=REGISTRY/NAME >> .env"
    assert refused.stderr == f"Cannot show the image: {problem}\nNext: {following}\n"


def test_main_of_the_shared_repository_counts(server: Path) -> None:
    origin = Repository(server / ".compose/origin.git")
    origin.path.mkdir(parents=True)
    origin.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
    content = f"commit: {'2' * 40}\nruntime: {NAME}\n".encode()
    commit = origin.commit_files(None, {"environments/prod/release.yaml": content}, "Start")
    origin.git("update-ref", "refs/heads/main", commit)
    own = 'AIRFLOW_CONN_GIT_DEFAULT={"conn_type": "git", "host": "git://git/origin.git"}\n'
    (server / ".env").write_text(f"VISAGE_IMAGE=visage-airflow\n{own}")
    assert shown(server).stdout == f"visage-airflow@{NAME} {NAME} prod\n"
    other = own.replace("git://git/origin.git", "https://git.example/visage.git")
    (server / ".env").write_text(f"VISAGE_IMAGE=visage-airflow\n{other}")
    assert shown(server).stdout == "visage-airflow unnamed prod\n"


def test_the_services_take_the_name_and_leave_that_of_the_image() -> None:
    services = yaml.safe_load((ROOT / "infra/compose/services.yml").read_text())
    environment = services["x-airflow"]["environment"]
    assert environment["VISAGE_RUNTIME"] is None, "an empty value would hide the name that the image has"
