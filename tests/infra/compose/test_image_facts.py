import hashlib
import subprocess
from pathlib import Path

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[3]


def facts(**variables: str) -> subprocess.CompletedProcess[str]:
    return captured([ROOT / "scripts/image_facts.sh"], env={"PATH": "/usr/bin:/bin", **variables})


def test_an_image_is_called_by_its_owner_and_the_version_of_its_tag() -> None:
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    assert facts(OWNER="Some-One", TAG="v1.20.3").stdout.splitlines() == [
        "image=ghcr.io/some-one/visage-airflow",
        "version=1.20.3",
        f"lock={lock}",
    ]


def test_a_tag_that_is_no_version_is_refused() -> None:
    found = facts(OWNER="me", TAG="v1.2")
    assert found.returncode == 1
    assert found.stderr == "image_facts.sh: v1.2: not v<major>.<minor>.<patch>\n"
    assert found.stdout == ""
