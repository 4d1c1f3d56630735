"""`make new-dag` in a copy of this checkout: what it makes passes the policy, and runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.dag_smoke_test.sandbox import Sandbox, sandbox

ROOT = Path(__file__).resolve().parents[3]
# No name that a page of the documentation has its reader take.
NAME = "dag_of_a_test"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(ROOT, tmp_path_factory.mktemp("scaffold")) as made:
        assert scaffold(made, NAME).returncode == 0
        yield made


def scaffold(copy: Sandbox, name: str) -> "subprocess.CompletedProcess[str]":
    return run(copy, "infra.scaffold", "--", name)


def run(copy: Sandbox, *arguments: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=copy.layout.checkout,
        env={name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def changed(copy: Sandbox) -> list[str]:
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=copy.layout.checkout,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


MADE = [f"?? dags/{NAME}_dag.py", f"?? docs/runbooks/{NAME}.md", f"?? tests/dags/test_{NAME}_dag.py"]


@pytest.mark.timeout(400)
def test_it_passes_what_every_commit_has_to(copy: Sandbox) -> None:
    assert changed(copy) == MADE
    policy, own = "tests/dags/test_policy.py", f"tests/dags/test_{NAME}_dag.py"
    quick = f"not long and not found_out and (not alone or {NAME})"
    done = examine(copy, "-m", "not long", "-k", quick, policy, own)
    assert done.returncode == 0, done.stdout[-5000:]
    for test in (f"test_a_dag_file_has_a_test_of_its_own[{NAME}_dag.py]", "follow_one_another"):
        assert f"{test} PASSED" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_it_runs_as_airflow_dags_test_runs_it(copy: Sandbox) -> None:
    done = examine(copy, "-m", "long", f"tests/dags/test_{NAME}_dag.py", seconds=800)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "test_a_run_leaves_its_report_and_a_second_run_the_same PASSED" in done.stdout


def examine(copy: Sandbox, *options: str, seconds: float = 350) -> "subprocess.CompletedProcess[str]":
    """Run tests of the copy; a folder of their own keeps them from tidying up those of this run."""
    folder = f"--basetemp={copy.logs.parent / 'tmp'}"
    return run(copy, "pytest", "-p", "no:cacheprovider", "--verbose", folder, *options, seconds=seconds)


@pytest.mark.parametrize("name", ["", NAME, "score_faces", "Not-Good"])
def test_a_refusal_is_one_line_and_leaves_nothing(copy: Sandbox, name: str) -> None:
    done = scaffold(copy, name)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"new-dag: {name}") or name == "Not-Good"
    assert changed(copy) == MADE


def test_make_hands_the_name_on_as_it_is() -> None:
    done = subprocess.run(
        ["make", "--silent", "new-dag", "NAME=it's $$(touch x); y"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith('new-dag: "it\'s $(touch x); y": a name has small letters')
