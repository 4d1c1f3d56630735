"""The scripts for a server: a failure begins with the action, and ends with the next command."""

import os
from pathlib import Path

import pytest

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        (
            ["scripts/backup.sh"],
            [
                "Cannot back up an environment: no name is no environment; there are dev prod staging",
                "Next: scripts/backup.sh dev",
            ],
        ),
        (
            ["scripts/backup.sh", "dev"],
            [
                "Cannot back up dev: docker is not on PATH; "
                "https://docs.docker.com/engine/install/ installs it",
                "Next: docker info",
            ],
        ),
        (
            ["scripts/restore.sh", "dev", "nowhere"],
            ["Cannot restore dev: nowhere is no backup: it has no SHA256SUMS", "Next: ls backups"],
        ),
        (
            ["scripts/up.sh", "qa"],
            [
                "Cannot start qa: qa is no environment; there are dev prod staging",
                "Next: scripts/up.sh dev",
            ],
        ),
        (
            ["scripts/init_airflow.sh", "dev", "prod"],
            [
                "Cannot make this machine ready for dev: prod is a second environment; name one",
                "Next: scripts/init_airflow.sh dev",
            ],
        ),
    ],
    ids=lambda part: " ".join(part) if isinstance(part[0], str) and part[0].startswith("scripts") else "",
)
def test_a_failure_ends_with_the_next_command(command: list[str], lines: list[str], tmp_path: Path) -> None:
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    done = captured(command, cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)})
    assert (done.returncode, done.stderr.splitlines()) == (1, lines)
