"""Releases that are broken in ways that no accuracy shows, on one real Airflow.

The tests build on one another: each leaves the environment with its first release.
"""

from collections.abc import Iterator

import pytest

from gitops.release.keys import PrivateKey
from gitops.release.verdicts import Verdict, record
from tests.faults.airflow import Environment, environment
from tests.support.lab import Lab
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ALWAYS_FAILS = """\
from datetime import datetime, timedelta

from airflow.sdk import dag, task


@task(retries=2, retry_delay=timedelta(seconds=1))
def fail() -> None:
    raise RuntimeError("always")


@dag(schedule="@once", start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def always_fails() -> None:
    fail()


always_fails()
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with environment(tmp_path_factory.mktemp("dev"), HEALTH_MINUTES="30") as made:
        key = PrivateKey.load(made.instance.paths.verifier_key)
        good = made.origin.resolve("main")
        record(made.origin, str(made.origin.path), Lab.verdict("dev", good), key)
        yield made


def rejection(dev: Environment) -> Verdict:
    """Wait for the rejection of main."""
    name = f"rejected/dev/{dev.origin.resolve('main')[:12]}"
    wait_for(lambda: dev.origin.tags(name), seconds=400)
    return Verdict.read(dev.origin.tags(name)[0])


def test_a_release_whose_dag_does_not_import_never_runs(dev: Environment) -> None:
    good = dev.airflow.running()
    broken = "from airflow.sdk import dag\nimport no_such_library\n"
    bad = dev.origin.commit_files("main", {"dags/odd.py": broken.encode()}, "Break")
    dev.origin.git("update-ref", "refs/heads/main", bad)
    verdict = rejection(dev)
    assert "No module named 'no_such_library'" in verdict.reason
    assert dev.airflow.running() == good
    assert dev.airflow.import_errors() == {}


def test_a_release_whose_dag_always_fails_is_taken_back(dev: Environment) -> None:
    good = dev.airflow.running()
    files = {"dags/odd.py": None, "dags/always.py": ALWAYS_FAILS.encode()}
    bad = dev.origin.commit_files("main", files, "Fail")
    dev.move_main(bad)
    verdict = rejection(dev)
    assert "failed attempts of tasks: always_fails.fail 3 of 3 (0 of 0 before)" in verdict.reason
    dev.await_release(good)
    assert len(dev.origin.tags("rejected/dev")) == 2
