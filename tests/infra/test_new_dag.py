"""`make new-dag`: names, files, and in a copy of this checkout what every commit has to pass."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import new_dag
from infra.dag_smoke_test.sandbox import Sandbox, sandbox
from infra.local import files
from infra.new_dag import NewDagError
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[2]
# No name that a page of the documentation has its reader take.
NAME = "dag_of_a_test"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(ROOT, tmp_path_factory.mktemp("new-dag")) as made:
        assert make(made, NAME).returncode == 0
        yield made


def make(copy: Sandbox, name: str) -> "subprocess.CompletedProcess[str]":
    return run(copy, "infra.new_dag", "--", name)


def run(copy: Sandbox, *arguments: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    return captured(
        [sys.executable, "-m", *arguments],
        cwd=copy.layout.checkout,
        env=own | {"PYTHONPATH": str(copy.layout.checkout / "src")},
        timeout=seconds,
    )


def changed(copy: Sandbox) -> list[str]:
    done = captured(
        ["git", "status", "--porcelain", "--untracked-files=all"], cwd=copy.layout.checkout, check=True
    )
    return done.stdout.splitlines()


MADE = [f"?? dags/{NAME}_dag.py", f"?? docs/runbooks/{NAME}.md", f"?? tests/dags/test_{NAME}_dag.py"]


@pytest.mark.long
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
    done = make(copy, name)
    assert (done.returncode, done.stdout) == (1, "")
    line, following = done.stderr.splitlines()
    assert line.startswith(f"Cannot create the DAG: {name}") or name == "Not-Good"
    assert following == "Next: make new-dag NAME=count_faces"
    assert changed(copy) == MADE


def test_make_hands_the_name_on_as_it_is() -> None:
    done = captured(["make", "--silent", "new-dag", "NAME=it's $$(touch x); y"], cwd=ROOT)
    assert done.returncode != 0
    assert done.stderr.startswith(
        'Cannot create the DAG: "it\'s $(touch x); y": a name has lower-case letters'
    )


@pytest.mark.parametrize("name", ["a", "dag_of_a_test", "a" * 60])
def test_the_linter_has_nothing_to_say_of_them(name: str, tmp_path: Path) -> None:
    new_dag.write(tmp_path, name)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    # What sorts imports knows our own modules by their files.
    for module in (
        "dags/visage_dags/dag_defaults.py",
        "infra/dag_smoke_test/sandbox.py",
        "src/gitops/tasks.py",
    ):
        (tmp_path / module).parent.mkdir(parents=True)
        (tmp_path / module).touch()
    for command in (["check"], ["check", "--select", "AIR", "--preview"], ["format", "--check"]):
        done = captured([sys.executable, "-m", "ruff", *command, "dags", "tests"], cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_replaced(tmp_path: Path) -> None:
    made = new_dag.render("faces")
    _, test, _ = made
    (tmp_path / test).parent.mkdir(parents=True)
    (tmp_path / test).write_text("mine")
    with pytest.raises(
        NewDagError, match=r"tests/dags/test_faces_dag\.py: already exists; nothing was written"
    ):
        new_dag.write(tmp_path, "faces")
    assert [path.name for path in tmp_path.rglob("*.py")] == ["test_faces_dag.py"]
    assert (tmp_path / test).read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_half_of_it_is_taken_back(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = files.write, []

    def fails_at_the_second(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise error
        write(path, text)

    monkeypatch.setattr(files, "write", fails_at_the_second)
    with pytest.raises((NewDagError, KeyboardInterrupt)) as caught:
        new_dag.write(tmp_path, "faces")
    if isinstance(error, OSError):
        assert str(caught.value).endswith("No space left on device; nothing was written")
    assert len(calls) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def said(text: str, dags: Path = ROOT / "dags") -> str:
    with pytest.raises(NewDagError) as caught:
        new_dag.check(text, dags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text", ["dag_of_a_test", "a", "a" * 60, "faces2", "weekly_report"])
def test_a_name_is_taken_as_it_is(text: str) -> None:
    new_dag.check(text, ROOT / "dags")


@pytest.mark.parametrize(
    "text", ["Count", "2faces", "_faces", "count-faces", "count faces", "../evil", "é", "x'y", "a\nb", "a;b"]
)
def test_a_name_of_another_form_is_refused(text: str) -> None:
    assert "lower-case letters, digits and _" in said(text)


@pytest.mark.parametrize("text", ["class", "sum", "dag", "task", "default_dag_args", "read_release", "json"])
def test_a_name_that_the_file_would_fall_over_is_refused(text: str) -> None:
    assert said(text) == f"{text}: Python or the file of the DAG uses that name; choose another"


def test_the_others_say_what_is_wrong() -> None:
    assert said("") == "name the DAG: make new-dag NAME=count_faces"
    assert said("a" * 61).endswith("61 letters, 60 are allowed")
    assert "leave out _dag" in said("faces_dag")


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("model_monitoring_and_retraining", "monitoring_dag.py"),
        ("ml_pipeline_face_attributes", "ml_pipeline_dag.py"),
    ],
)
def test_an_id_that_there_is_is_refused_whatever_its_file_is_called(text: str, file: str) -> None:
    assert said(text) == f"{text}: {file} already has a DAG of that name"


def test_a_dag_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken_dag.py").write_text("x = 1\ndef (\n")
    assert said("faces", tmp_path) == f"{tmp_path / 'broken_dag.py'}: line 2: not valid Python; fix it first"
