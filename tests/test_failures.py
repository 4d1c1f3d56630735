"""Each command line fails in one form: the action and the reason, then a command that can be pasted."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from face_attributes.cli import app as model_app
from face_attributes.common.failures import ACTIONS as MODEL_ACTIONS
from infra.local.cli import app as engine_app
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("words", "first", "following", "status"),
    [
        ("face_attributes scor x", "run face_attributes: No such command 'scor'. Did you mean", "--help", 2),
        ("face_attributes score", "score the photographs: Missing argument 'FOLDER'", "score --help", 2),
        (
            "face_attributes score /none --model m --out o",
            "score the photographs: /none: no such folder",
            "score --help",
            1,
        ),
        ("face_attributes profile big", "apply the profile: unknown profile", "profile small", 1),
        ("serving --port many", "start the service: Invalid value for '--port'", "serving --help", 2),
        ("infra.local up --minutes 0", "start the environments: Invalid value", "local up --help", 2),
        ("infra.local airflow qa dags list", "run a command of Airflow: qa: no such env", "make status", 1),
        ("infra.dag_smoke_test --environment qa", "run the DAGs: qa: no such environment", "--help", 1),
        ("infra.new_dag", "create the DAG: Missing argument 'NAME'", "infra.new_dag --help", 2),
        (
            "infra.new_environment qa --after nope",
            "create the environment: environments/qa/environment.yaml: after: nope: no such",
            "make new-environment NAME=qa AFTER=dev",
            1,
        ),
    ],
)
def test_a_failure_has_one_form(words: str, first: str, following: str, status: int) -> None:
    done = captured([sys.executable, "-m", *words.split()], cwd=ROOT)
    assert (done.returncode, done.stdout) == (status, "")
    line, last = done.stderr.splitlines()
    assert line.lower().startswith(f"cannot {first}".lower())
    assert last.startswith("Next: ")
    assert last.endswith(following)


@pytest.mark.parametrize(
    ("target", "first", "following"),
    [
        ("upp", "make upp: no such target", "make help"),
        ("lock-uv", "update uv: no version is named", "make lock-uv UV=0.13.9"),
    ],
)
def test_make_fails_in_this_form_too(target: str, first: str, following: str) -> None:
    done: subprocess.CompletedProcess[str] = captured(["make", target], cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [f"Cannot {first}", f"Next: {following}"]


def test_every_command_has_an_action() -> None:
    for app, actions in (
        (model_app, MODEL_ACTIONS),
        (engine_app, typer.main.get_command(engine_app).actions),  # type: ignore[attr-defined]
    ):
        assert {*typer.main.get_command(app).commands} | {""} == {*actions}  # type: ignore[attr-defined]
