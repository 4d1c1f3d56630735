import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from gitops.release.keys import PrivateKey
from gitops.release.signatures import Trust
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[3]
# Says what it was asked to do, and what is in a file that it is given.
AIRFLOW = """\
#!/bin/sh
echo "$1 $2" >> "$SAID"
[ "$1" != pools ] || cat "$3" > "$SAID.pools"
exit "${STATUS:-0}"
"""


class Engine:
    """The folder of the image that prepare.py lies in, with an `airflow` that does nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("airflow/prepare.py", "pools.json"):
            shutil.copy(ROOT / "infra" / name, folder)
        self.said = folder / "said"
        (folder / "airflow").write_text(AIRFLOW)
        (folder / "airflow").chmod(0o755)

    def prepare(self, part: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.folder), os.defpath])
        return captured(
            [sys.executable, str(self.folder / "prepare.py"), part],
            env={"PATH": path, "SAID": str(self.said), **variables},
        )

    @property
    def slots(self) -> dict[str, int]:
        """Of each pool that was imported."""
        return {
            name: pool["slots"] for name, pool in json.loads(Path(f"{self.said}.pools").read_text()).items()
        }


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def test_the_database_gets_its_tables_and_then_the_pools(engine: Engine) -> None:
    assert engine.prepare("database").returncode == 0
    assert engine.said.read_text().splitlines() == ["db migrate", "pools import"]
    assert engine.slots == {"training": 1, "scoring": 1, "verification": 1, "shadow": 1}


def test_as_many_batches_are_scored_at_a_time_as_the_engine_says(engine: Engine) -> None:
    assert engine.prepare("database", SCORING_SLOTS="3").returncode == 0
    assert engine.slots == {"training": 1, "scoring": 3, "verification": 1, "shadow": 1}


@pytest.mark.parametrize("slots", ["0", "-1", "many", "", "1.5"])
def test_a_number_of_batches_that_is_none_is_refused_before_anything_is_done(
    engine: Engine, slots: str
) -> None:
    done = engine.prepare("database", SCORING_SLOTS=slots)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"prepare.py database: SCORING_SLOTS: {slots}: not a number of batches; set it to 1 or more\n"
    )
    assert not engine.said.exists()


def test_a_failure_of_airflow_is_told_in_one_line(engine: Engine) -> None:
    done = engine.prepare("database", STATUS="3")
    assert done.returncode == 1
    assert done.stderr == "prepare.py database: airflow db migrate: exit status 3\n"
    assert engine.said.read_text().splitlines() == ["db migrate"]


def test_secrets_are_made_up_once_and_are_their_owners(engine: Engine) -> None:
    private = engine.folder / "private"
    private.mkdir()
    given = {
        "VISAGE_PRIVATE": str(private),
        "DEFAULT_PASSWORD": "",
        "DVC_REMOTE_URL": "s3://bucket",
        "DVC_CACHE": str(engine.folder / "cache"),
    }
    assert engine.prepare("secrets", **given).returncode == 0
    before = {path.name: path.read_text() for path in private.iterdir() if path.is_file()}
    assert before.keys() == {"fernet_key", "api_secret_key", "jwt_secret", "passwords.json", "serving_tokens"}
    assert all((private / name).stat().st_mode & 0o077 == 0 for name in before)
    assert "url = s3://bucket\n" in (private / "dvc/config").read_text()
    assert engine.prepare("secrets", **given).returncode == 0
    assert {path.name: path.read_text() for path in private.iterdir() if path.is_file()} == before
    known = given | {"DEFAULT_PASSWORD": "known"}  # pragma: allowlist secret
    assert engine.prepare("secrets", **known).returncode == 0
    assert json.loads((private / "passwords.json").read_text()) == {"airflow": "known"}


def test_what_is_not_said_is_named(engine: Engine) -> None:
    done = engine.prepare("secrets", DEFAULT_PASSWORD="")
    assert done.returncode == 1
    assert done.stderr == "prepare.py secrets: VISAGE_PRIVATE, DVC_REMOTE_URL, DVC_CACHE: not set\n"


def test_the_key_of_an_environment_is_made_once_and_listed_on_main(engine: Engine, tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin.git")
    origin.path.mkdir()
    origin.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
    origin.git("update-ref", "refs/heads/main", origin.commit_files(None, {"README.md": b""}, "Start"))
    connection = json.dumps({"conn_type": "git", "host": str(origin.path)})
    roots = {}
    for environment in ("dev", "prod", "dev"):
        private = tmp_path / f"private-{environment}"
        private.mkdir(exist_ok=True)
        done = engine.prepare(
            "verifier",
            VISAGE_PRIVATE=str(private),
            VISAGE_ENVIRONMENT=environment,
            AIRFLOW_CONN_GIT_DEFAULT=connection,
        )
        assert done.returncode == 0, done.stderr
        assert (private / "verifier_key").stat().st_mode & 0o077 == 0
        roots[environment] = (private / "trust_root").read_text().strip()
    assert [info.subject for info in origin.log("main")] == [
        "List the keys of prod",
        "List the keys of dev",
        "Start",
    ]
    assert set(roots.values()) == {origin.resolve("main~1")}
    lists = Trust(origin, origin.resolve("main"), ("dev", "prod"), roots["prod"]).lists
    for environment in roots:
        public = PrivateKey.load(tmp_path / f"private-{environment}" / "verifier_key").public
        keys = lists.keys(environment)
        assert keys is not None
        assert keys.keys == {public}


def test_for_a_forge_the_line_to_list_is_printed(engine: Engine, tmp_path: Path) -> None:
    given = {"VISAGE_PRIVATE": str(tmp_path), "VISAGE_ENVIRONMENT": "prod"}
    connection = json.dumps({"conn_type": "git", "host": "https://git.invalid/OWNER/visage.git"})
    done = engine.prepare("verifier", **given, AIRFLOW_CONN_GIT_DEFAULT=connection)
    assert done.returncode == 0, done.stderr
    line = PrivateKey.load(tmp_path / "verifier_key").line("prod").decode()
    assert done.stdout == f"prod: environments/prod/verifiers on main has to have this line:\n{line}"
    assert (tmp_path / "trust_root").read_text().strip() == ""
    wrong = engine.prepare("verifier", **given, AIRFLOW_CONN_GIT_DEFAULT="{}")
    assert (wrong.returncode, wrong.stderr) == (1, "prepare.py verifier: 'host'\n")


def test_every_user_of_the_settings_gets_a_password_that_no_log_has(engine: Engine) -> None:
    private = engine.folder / "private"
    private.mkdir()
    given = {
        "VISAGE_PRIVATE": str(private),
        "DEFAULT_PASSWORD": "",
        "DVC_REMOTE_URL": "s3://bucket",
        "DVC_CACHE": str(engine.folder / "cache"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "airflow:admin, anna:viewer,omar:User",
    }
    done = engine.prepare("secrets", **given)
    passwords = json.loads((private / "passwords.json").read_text())
    assert passwords.keys() == {"airflow", "anna", "omar"}
    assert len(set(passwords.values())) == 3
    assert not any(password in done.stdout + done.stderr for password in passwords.values())
    refused = engine.prepare("secrets", **given | {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "eve:owner"})
    assert refused.returncode == 1
    assert "eve: no role; write eve:ROLE, with one of viewer, user, op, admin" in refused.stderr
    assert json.loads((private / "passwords.json").read_text()) == passwords
