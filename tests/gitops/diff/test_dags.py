import tracemalloc
from pathlib import Path

import psutil
import pytest

from gitops import isolation
from gitops.diff import dags
from gitops.diff.dags import Dag, DagChange, Dags, Task, changes, compare, load
from gitops.errors import DagsError
from gitops.git.repository import Repository
from tests.support.lab import Lab
from tests.support.waiting import alive, wait_for

OLD = b"""from datetime import timedelta
from airflow.sdk import DAG, Param, task

print("DAG files print")
with DAG("daily", schedule="@daily", params={"size": Param(1)}):
    @task
    def first(): ...
    @task
    def second(): ...
    first() >> second()

with DAG("gone", schedule=None):
    pass
"""
NEW = b"""from datetime import timedelta
from airflow.sdk import DAG, Param, task
from helper import EVERY

with DAG("daily", schedule=EVERY, params={"size": Param(2)}):
    @task(retries=3)
    def second(): ...
    @task
    def third(): ...
    third() >> second()

with DAG("new", schedule=None):
    pass
"""


def test_what_changes_between_two_commits(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    old = lab.commit({"dags/pipeline.py": OLD})
    new = lab.commit(
        {
            "dags/pipeline.py": NEW,
            "dags/helper.py": b"from datetime import timedelta\n\nEVERY = timedelta(hours=1)\n",
            "dags/broken.py": b"import os  # airflow DAG\nraise ValueError(os.environ.get('SECRET_TOKEN'))\n",
        },
        on=old,
    )
    assert changes(lab.origin, old, new) == [
        DagChange(
            "daily",
            "changed",
            (
                "schedule: @daily -> 1:00:00",
                "param size: 1 -> 2",
                "task first: removed",
                "task second: retries 0 -> 3",
                "task second: now after third",
                "task third: added",
            ),
        ),
        DagChange("gone", "removed"),
        DagChange("new", "added", ("schedule: None", "tasks: none")),
        DagChange("broken.py", "broken", ("ValueError: None",)),
    ]


def test_nothing_is_loaded_where_no_dag_file_differs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Dags:
        raise AssertionError("loaded")

    monkeypatch.setattr(dags, "load", refuse)
    assert changes(lab.origin, lab.tip, lab.commit({"README.md": b"news\n"})) == []


def test_code_alone() -> None:
    one = Dags(dags={"a": dag(), "b": dag(file="b.py")})
    assert compare(one, one) == []
    assert [change.dag for change in compare(one, one, {"dags/b.py"})] == ["b"]


def test_dependencies_of_added_tasks_are_told() -> None:
    task = Task(operator="X", upstream=("one",), trigger_rule="all_success", retries=0)
    old, new = dag(), dag(tasks={"one": task.model_copy(update={"upstream": ()}), "two": task})
    (change,) = compare(Dags(dags={"a": old}), Dags(dags={"a": new}))
    assert change.details == ("task one: added", "task two: added", "task two: after one")


def test_files_that_take_too_long(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dags, "_TIMEOUT", 0.05)
    with pytest.raises(DagsError, match="a DAG file does work that belongs into a task"):
        load(lab.origin, lab.tip)


def test_an_interpreter_that_ends(lab: Lab) -> None:
    commit = lab.commit({"dags/example.py": b"# airflow DAG\nimport os\nos._exit(3)\n"})
    with pytest.raises(DagsError, match="dags/: cannot be loaded: status 3"):
        load(lab.origin, commit)


def test_dag_files_read_the_parameters_of_their_commit(lab: Lab) -> None:
    code = b"""from pathlib import Path
from airflow.sdk import DAG

dag = DAG(Path(__file__).parents[1].joinpath("params.yaml").read_text().strip())
"""
    commit = lab.commit({"dags/a.py": code, "params.yaml": b"first\n"})
    assert "first" in load(lab.origin, commit).dags


def test_a_path_that_leads_elsewhere(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Repository, "files", lambda *_: ["dags/../../x.py"])
    with pytest.raises(DagsError, match=r"dags/\.\./\.\./x\.py: no path that git itself would write"):
        load(lab.origin, lab.tip)


def dag(*, file: str = "a.py", tasks: dict[str, Task] | None = None) -> Dag:
    return Dag(file=file, schedule="None", params={}, tasks=tasks or {})


@pytest.mark.long
def test_dag_files_that_print_without_end_take_no_memory(lab: Lab) -> None:
    code = b"# airflow dag\nimport sys\nfor _ in range(60):\n    sys.stdout.write('x' * 1_000_000)\n"
    lab.land({"dags/loud.py": code})
    tracemalloc.start()
    try:
        found = load(lab.origin, lab.tip)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.errors == {}
    assert peak < 30_000_000, peak


@pytest.mark.long
def test_no_process_that_a_dag_file_started_outlives_the_load(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no namespaces, whose end would be that of each process in them."""
    monkeypatch.setattr(isolation, "namespaces", lambda: False)
    monkeypatch.setattr(dags, "_TIMEOUT", 30)
    note = tmp_path / "child"
    lines = ("# airflow dag", "import os, time", "if not (child := os.fork()):", "    time.sleep(600)")
    lab.land({"dags/forks.py": "\n".join([*lines, f"open({str(note)!r}, 'w').write(str(child))\n"]).encode()})
    load(lab.origin, lab.tip)
    process = int(note.read_text())
    wait_for(lambda: not psutil.pid_exists(process) or not alive(psutil.Process(process)), seconds=10)
