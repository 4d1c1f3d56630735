"""The Python of the guide works: its DAGs load and keep to the policy of the house, its tasks can be made."""

import importlib
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.dags import test_policy
from tests.docs.pages import ROOT, Block, Page
from tests.support import dagbag
from tests.support.command import captured

GUIDE = Page(Path("docs/airflow-guide.md"))
PAGES = [GUIDE, Page(Path("docs/write-a-dag.md")), Page(Path("docs/airflow-settings.md"))]
BLOCKS = [block for page in PAGES for block in page.blocks if block.language == "python"]
DAGS = [block for block in BLOCKS if block.mark.startswith("dag:")]
TASKS = [block for block in BLOCKS if block.mark == "tasks"]
OF_EVERY_DAG = (
    test_policy.test_parsing_imports_nothing_heavy,
    test_policy.test_people_are_told_of_a_run_that_is_late_or_failed,
    test_policy.test_every_dag_says_what_it_is_and_runs_once_at_a_time,
    test_policy.test_every_task_has_an_owner_retries_and_a_timeout,
)
AROUND = """
from datetime import timedelta
from airflow.sdk import dag


@dag(dag_id="example", schedule=None)
def example():
{body}

example()
"""


def name_of(block: Block) -> str:
    return block.mark.removeprefix("dag:").strip()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's DAGs beside the helpers of the house."""
    folder = tmp_path_factory.mktemp("house") / "dags"
    folder.mkdir()
    shutil.copytree(ROOT / "dags/visage_dags", folder / "visage_dags")
    shutil.copy(ROOT / "dags/.airflowignore", folder)
    for block in DAGS:
        (folder / name_of(block)).write_text(block.text)
    return folder


def test_the_dags_load_and_keep_to_the_policy(house: Path, tmp_path: Path) -> None:
    [parsed] = dagbag.load(house, home=tmp_path)
    assert parsed["errors"] == {}
    assert len(parsed["dags"]) == len(DAGS) > 0
    for check in OF_EVERY_DAG:
        check(parsed)


@pytest.mark.parametrize("block", DAGS, ids=name_of)
def test_a_dag_is_light_and_does_nothing_when_it_is_loaded(block: Block, house: Path, tmp_path: Path) -> None:
    loaded = test_policy.load(house / name_of(block), tmp_path)
    assert not test_policy.HEAVY & set(loaded["modules"])
    assert loaded["did"] == []


@pytest.mark.parametrize("block", DAGS, ids=name_of)
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_a_dag_is_as_the_linters_want_it(block: Block, command: list[str]) -> None:
    name = f"dags/{name_of(block)}"
    subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"],
        cwd=ROOT,
        input=block.text,
        text=True,
        timeout=60,
        check=True,
    )


def test_the_tasks_can_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    for block in TASKS:
        around = AROUND.replace("example", f"line_{block.line}")
        (folder / f"line_{block.line}.py").write_text(around.format(body=textwrap.indent(block.text, "    ")))
    [loaded] = dagbag.load(folder, home=tmp_path)
    assert loaded["errors"] == {}
    assert set(loaded["dags"]) == {f"line_{block.line}" for block in TASKS}
    assert all(dag["tasks"] for dag in loaded["dags"].values())
    assert len(TASKS) > 5


def test_the_tables_of_the_guide_are_the_dags_that_there_are(tmp_path: Path) -> None:
    dags = dagbag.load(ROOT / "dags", home=tmp_path)[0]["dags"]
    told = {row[0]: row[1] for row in GUIDE.tables["The DAGs"] if row[0]}
    assert set(told) == test_policy.DAGS
    words = {word for section in GUIDE.sections for word in section}
    for dag_id, schedule in told.items():
        assert schedule in ("", dags[dag_id]["schedule"]), dag_id
        tasks = list(dags[dag_id]["tasks"])
        assert set(tasks) <= words, dag_id
        listed = [row[0] for row in GUIDE.tables.get(dag_id, []) if row[0]]
        assert listed in ([], tasks), f"{dag_id}: in this order"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_nothing_of_it_is_gone_from_airflow(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "dags" / "example_dag.py"
    path.parent.mkdir()
    path.write_text(block.text)
    subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "AIR", "--preview", "--isolated", str(path)],
        timeout=60,
        check=True,
    )
    compile(block.text, str(block), "exec")


def test_what_airflow_does_not_take_is_found(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/old.py").write_text(
        "from airflow.sdk import DAG\n\nDAG('old', schedule_interval='@daily')\n"
    )
    assert "schedule_interval" in str(dagbag.load(tmp_path / "dags", home=tmp_path)[0]["errors"])


IMPORTS = [row for row in Page(Path("docs/airflow-2-commands.md")).rows if row[0].startswith("from airflow")]


@pytest.mark.parametrize("now", [row[1] for row in IMPORTS])
def test_what_one_imports_now_is_there(now: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    module, _, names = now.removeprefix("from ").partition(" import ")
    for name in names.split(", "):
        assert hasattr(importlib.import_module(module), name)


def test_what_one_imported_before_is_what_has_moved() -> None:
    lines = [line for then, *_ in IMPORTS for line in (then, f"print({then.rpartition(' ')[2]})")]
    options = ["--select", "AIR", "--preview", "--isolated", "--output-format", "json"]
    said = captured(
        [sys.executable, "-m", "ruff", "check", *options, "--stdin-filename", "dags/then_dag.py", "-"],
        input="\n".join(lines),
    ).stdout
    flagged = {found["location"]["row"] // 2 - 1 for found in json.loads(said)}
    moved = {number for number, (then, now, *_) in enumerate(IMPORTS) if then != now}
    # Ruff does not know of this one; Airflow itself says that it moved.
    unknown = {number for number, row in enumerate(IMPORTS) if "TriggerRule" in row[0]}
    assert flagged == moved - unknown
