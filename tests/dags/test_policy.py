"""What holds for every DAG of the house, and what the guide promises of each."""

import ast
import graphlib
import inspect
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitops import tasks
from tests.dags.conftest import ACTIVE, ROOT
from tests.support.command import captured

HEAVY = {
    "cv2",
    "dvc",
    "evidently",
    "face_attributes",
    "hyperopt",
    "onnxruntime",
    "pandas",
    "sklearn",
    "torch",
}

# The DAGs of the guide; a test of the guide compares its tables with their tasks.
DAGS = {
    "ml_pipeline_face_attributes",
    "model_monitoring_and_retraining",
    "retention",
    "score_faces",
    "score_shadow",
    "verify_release",
}

# The parameters that choose code, and what decides whether they may: `gitops.training.source.source`.
DECIDED = {("ml_pipeline_face_attributes", "ref")}

# Loads one DAG file in a fresh interpreter that has what a DAG processor has loaded before it comes to one.
# Says how long that took, what it loaded, and what else it did: to load a module is to open its file.
LOAD = '''
import json, os, sys, time

import airflow.dag_processing.dagbag
import airflow.sdk

sys.path.insert(0, os.path.dirname(sys.argv[1]))
ours = (os.path.dirname(sys.argv[1]), os.path.abspath(sys.argv[2]))
did, watching = [], True
FAMILIES = ("socket", "subprocess", "sqlite3", "urllib", "http", "shutil", "tempfile")
EVENTS = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename")

def libraries_own():
    """Whether a library is being loaded, and does this for itself."""
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(ours):
        if frame.f_code.co_name == "<module>" and "site-packages" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False

def watch(event, arguments):
    if event == "open":
        path = str(arguments[0])
        told = not path.endswith((".py", ".pyc", ".so")) and not path.isdigit()
        # The training pipeline has a task for each trial of its release
        told = told and (path, arguments[1]) != (params, "r")
    else:
        told = event.partition(".")[0] in FAMILIES or event in EVENTS
    if watching and told and not libraries_own():
        did.append(f"{event} {arguments}")

def clock():
    """Seconds, those not counted in which others had the cores; a system that does not tell counts them."""
    now = time.perf_counter()
    if not os.path.exists("/proc/self/schedstat"):
        return now
    with open("/proc/self/schedstat") as file:
        return now - int(file.read().split()[1]) / 1e9

params = os.path.join(os.path.dirname(os.path.dirname(sys.argv[1])), "params.yaml")
name = os.path.basename(sys.argv[1]).removesuffix(".py")
began = clock()
sys.addaudithook(watch)
__import__(name)
watching = False
seconds = clock() - began
modules = sorted({module.partition(".")[0] for module in sys.modules})
print("\\n" + json.dumps({"seconds": seconds, "modules": modules, "did": did}))
'''
MOST_SECONDS = 0.3
FILES = sorted(path.name for path in (ROOT / "dags").glob("*.py"))


def load(path: Path, home: Path) -> dict[str, Any]:
    """Load a DAG file as `LOAD` does."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = captured(
        [sys.executable, "-c", LOAD, str(path), str(ROOT / "src")],
        env=variables | {"AIRFLOW_HOME": str(home)},
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_dags_load(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) >= DAGS


@pytest.mark.parametrize("name", FILES)
def test_a_dag_file_has_a_test_of_its_own(name: str) -> None:
    assert (ROOT / "tests/dags" / f"test_{name}").is_file()


def test_parsing_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert not HEAVY & set(parsed["modules"])


@pytest.mark.parametrize("name", FILES)
def test_a_dag_file_alone_is_light_quick_and_does_nothing(name: str, tmp_path: Path) -> None:
    # Files come from the disk at first, so the quickest of a few counts.
    for _ in range(5):
        loaded = load(ROOT / "dags" / name, tmp_path)
        assert not HEAVY & set(loaded["modules"])
        assert loaded["did"] == []
        if loaded["seconds"] <= MOST_SECONDS:
            break
    assert loaded["seconds"] <= MOST_SECONDS


def test_a_file_that_does_something_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "busy_dag.py"
    path.write_text(
        "import socket, subprocess, sys, time, sqlite3, torch_like\n"
        "open(__file__ + '.txt', 'w').close()\n"
        "subprocess.run([sys.executable, '-c', ''])\n"
        "socket.socket().close()\n"
        f"time.sleep({MOST_SECONDS})\n"
    )
    (tmp_path / "torch_like.py").write_text("")
    loaded = load(path, tmp_path)
    assert "torch_like" in loaded["modules"]
    assert loaded["seconds"] > MOST_SECONDS
    did = " ".join(loaded["did"])
    for event in ("busy_dag.py.txt", "subprocess.Popen", "socket.__new__"):
        assert event in did


def test_ruff_finds_nothing_that_airflow_removed_or_advises_against() -> None:
    subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "AIR", "--preview", "--isolated", "dags"],
        cwd=ROOT,
        timeout=60,
        check=True,
    )


def test_ruff_finds_a_dag_in_the_manner_of_airflow_2(tmp_path: Path) -> None:
    (tmp_path / "nightly.py").write_text(
        "from airflow import DAG\n"
        "from airflow.operators.bash_operator import BashOperator\n"
        "from airflow.utils.dates import days_ago\n"
        'with DAG("nightly", start_date=days_ago(1), schedule_interval="@daily") as dag:\n'
        '    BashOperator(task_id="ls", bash_command="ls")\n'
    )
    options = ["--select", "AIR", "--preview", "--isolated", "--output-format", "concise"]
    command = [sys.executable, "-m", "ruff", "check", *options, "nightly.py"]
    done = captured(command, cwd=tmp_path)
    assert done.returncode == 1
    for removed in ("bash_operator", "days_ago", "schedule_interval"):
        assert removed in done.stdout


def test_every_dag_has_its_tasks_and_no_cycle(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        upstream = {name: task["upstream"] for name, task in dag["tasks"].items()}
        assert upstream, dag_id
        assert set(graphlib.TopologicalSorter(upstream).static_order()) == set(upstream), dag_id


def test_every_pool_is_declared_and_has_its_tasks(parsed: dict[str, Any]) -> None:
    declared = json.loads((ROOT / "infra/pools.json").read_text())
    tasks = {
        f"{id_}.{name}": task for id_, dag in parsed["dags"].items() for name, task in dag["tasks"].items()
    }
    for name, task in tasks.items():
        assert task["pool"] in {*declared, "default_pool"}, f"{name}: declare its pool in infra/pools.json"
    assert tasks["ml_pipeline_face_attributes.model_training.train"]["pool"] == "training"
    assert tasks["score_faces.score_batch"]["pool"] == "scoring"
    assert tasks["verify_release.score_holdout"]["pool"] == "verification"
    # What a shadow does waits for its own tasks alone, and no task of the release waits for it.
    shadow = {name for name, task in tasks.items() if task["pool"] == "shadow"}
    assert shadow == {"score_shadow.score_batches", "score_shadow.report"}
    assert {name: pool["slots"] for name, pool in declared.items()} == dict.fromkeys(declared, 1)


def test_people_are_told_of_a_run_that_is_late_or_failed(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        assert dag["told"], dag_id
        [due] = dag["due"]
        longest = max(task["timeout"] for task in dag["tasks"].values())
        assert 0 < due <= timedelta(days=1).total_seconds(), dag_id
        assert due >= longest / 2, f"{dag_id}: its slowest task alone may take longer"


def test_every_dag_has_a_runbook_that_speaks_of_each_of_its_tasks(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        page = ROOT / "docs" / "runbooks" / f"{dag_id}.md"
        assert page.is_file(), f"{page}: what to do when {dag_id} fails or is late; notices link to it"
        said = page.read_text("utf-8")
        for part in ("## Meaning", "## Diagnosis", "## Mitigation", "**Late**"):
            assert part in said, f"{page}: {part}"
        for task in dag["tasks"]:
            assert f"`{task.rpartition('.')[2]}" in said, f"{page}: {task}"


def test_every_dag_says_what_it_is_and_runs_once_at_a_time(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        assert dag["doc"].strip().startswith("# "), dag_id
        assert dag["description"], dag_id
        assert "visage" in dag["tags"], dag_id
        assert dag["catchup"] is False, dag_id
        assert dag["max_active_runs"] == 1, dag_id


def test_every_task_has_an_owner_retries_and_a_timeout(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"].values():
        for name, task in dag["tasks"].items():
            assert task["owner"] == "mlops-team", name
            assert task["retries"] >= 1, name
            assert task["backoff"] > 1, f"{name}: the wait must grow from retry to retry"
            assert task["told"], f"{name}: people must be told when it fails"
            assert 0 < task["timeout"] <= timedelta(hours=6).total_seconds(), name


def test_the_settings_say_which_dags_start_by_themselves(parsed: dict[str, Any]) -> None:
    assert {dag_id for dag_id, dag in parsed["dags"].items() if not dag["paused"]} == ACTIVE


def test_no_parameter_chooses_code(parsed: dict[str, Any]) -> None:
    """A ref, a path, a URL or a command given to a run would run with the rights of its environment."""
    for dag_id, dag in parsed["dags"].items():
        for name, schema in dag["params"].items():
            if (dag_id, name) in DECIDED:
                continue
            words = schema.get("enum")
            assert words, f"{dag_id}: {name}: allow a few words alone (enum), or nobody knows what it may be"
            assert all(str(word).isalpha() and word not in {"main", "dev"} for word in words), (
                f"{dag_id}: {name}"
            )
        for name, task in dag["tasks"].items():
            assert set(task["conf"] or {}) <= {"profile"}, f"{dag_id}.{name}: starts a run that chooses code"


# What a function of the facade takes that could name code, and why no run chooses it.
CODE = {
    "branch_commit.branch": "a task may look at any branch; what it runs passes `commit`",
    "call.command": "written in the DAG, which is the release's",
    "call.folder": "the checkout of the release, which the DAG lies in",
    "changed_files.commit": "read, not run",
    "checkout_release.checkout": "read, not run",
    "find_commit.ref": "looked up; what a task runs of it passes `commit`",
    "inspect.commit": "admitted as a commit to run, though it is read alone",
    "release.checkout": "read, not run",
    "run_command.command": "written in the DAG, which is the release's",
    "run_command.commit": "admitted: outside of `training: true` it has the code of the release",
    "run_for_result.command": "written in the DAG, which is the release's",
    "run_for_result.commit": "admitted: outside of `training: true` it has the code of the release",
    "run_stage.commit": "admitted: outside of `training: true` it has the code of the release",
    "run_stage_given.commit": "admitted: outside of `training: true` it has the code of the release",
    "runbook.checkout": "read, not run",
    "training_ref.ref": "decided: outside of `training: true` it is the release",
}
NAMES_CODE = re.compile(r"ref|branch|commit|checkout|command|folder|url|path|repository|remote|script|code")


def test_whatever_of_the_facade_can_name_code_is_known_here() -> None:
    """A new argument of such a name, or a parameter of a DAG that leads to one, needs a decision here."""
    found = {
        f"{name}.{argument}"
        for name in tasks.__all__
        if inspect.isfunction(function := getattr(tasks, name))
        for argument in inspect.signature(function).parameters
        if NAMES_CODE.fullmatch(argument)
    }
    # A commit that is judged, kept or handed on is checked out by the one function that admits it.
    found -= {f"{name}.commit" for name in ("archive", "judge", "propose", "pull_data", "push_data")}
    assert found == CODE.keys()


class Undeclared(ast.NodeVisitor):
    """Finds where a DAG file reads of a run what nobody declared and checks: `found`, a line each.

    What somebody gives to a run reaches a task as `params["name"]` alone, for the schema of `params` says
    what it may be. A parameter that chooses code goes straight to the function that decides.
    """

    def __init__(self, declared: set[str]) -> None:
        self.declared = declared
        self.found: list[str] = []
        self._given: set[str] = set()

    def _tell(self, node: ast.expr) -> None:
        self.found.append(f"line {node.lineno}: {ast.unparse(node)}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before = self._given
        names = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
        self._given = before | names & {"params", "dag_run"}
        self.generic_visit(node)
        self._given = before

    def visit_Call(self, node: ast.Call) -> None:
        first, *_ = [*node.args, node]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and self._key(first):
            self._tell(node)
        decides = ast.unparse(node.func) == "tasks.training_ref"
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if not (decides and self._parameter(argument) in {name for _, name in DECIDED}):
                self.visit(argument)
        self.visit(node.func)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in {"conf", "params"}:
            self._tell(node)
        elif not (isinstance(node.value, ast.Name) and node.value.id == "dag_run"):
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = self._parameter(node)
        if name is None:
            if self._key(node.slice):
                self._tell(node)
            self.generic_visit(node)
        elif name not in self.declared or name in {name for _, name in DECIDED}:
            self._tell(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._given:
            self._tell(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        text = node.value if isinstance(node.value, str) else ""
        for template in re.findall(r"\{[{%].*?[%}]\}", text, re.DOTALL):
            known = re.fullmatch(r"\{\{ params\.(\w+) \}\}", template)
            if known and known[1] in self.declared - {name for _, name in DECIDED}:
                continue
            if re.search(r"\b(conf|params|dag_run)\b", template):
                self._tell(node)

    def _parameter(self, node: ast.expr) -> str | None:
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
            return None
        given = isinstance(node.value, ast.Name) and node.value.id == "params" and "params" in self._given
        return str(node.slice.value) if given else None

    @staticmethod
    def _key(node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) and node.value in {"conf", "params", "dag_run"}


@pytest.mark.parametrize("path", sorted((ROOT / "dags").rglob("*.py")), ids=lambda path: path.name)
def test_what_a_run_is_given_is_read_as_declared_parameters_alone(path: Path, parsed: dict[str, Any]) -> None:
    reader = Undeclared({name for dag in parsed["dags"].values() for name in dag["params"]})
    reader.visit(ast.parse(path.read_text("utf-8")))
    assert reader.found == [], "declare a parameter with an enum, and read it as params[...]"


@pytest.mark.parametrize(
    "line",
    [
        "x = dag_run.conf['code']",
        "x = getattr(dag_run, 'conf')",
        "x = context['params']['ref']",
        "x = context.get('dag_run')",
        "x = ti.get_dagrun().conf",
        "x = params['undeclared']",
        "x = params['ref']",
        "x = params.get('profile')",
        "run(**params)",
        "run(tasks.training_ref(params))",
        "run(ref=params['ref'])",
        "run('{{ dag_run.conf.code }}')",
        "run('{{ params.ref }}')",
        "run('{% set a = params %}{{ a.ref }}')",
    ],
)
def test_a_way_round_the_declared_parameters_is_found(line: str) -> None:
    reader = Undeclared({"ref", "profile"})
    reader.visit(ast.parse(f"def task(params, dag_run, ti, **context):\n    {line}"))
    assert len(reader.found) >= 1
    fine = "def task(params, dag_run):\n    tasks.training_ref(ref=params['ref'])\n    f(params['profile'])"
    reader = Undeclared({"ref", "profile"})
    reader.visit(ast.parse(f"{fine}\n    g(dag_run.run_after, '{{{{ params.profile }}}}')"))
    assert reader.found == []


def test_monitoring_is_the_guides(parsed: dict[str, Any]) -> None:
    monitoring = parsed["dags"]["model_monitoring_and_retraining"]
    assert monitoring["schedule"] == "@weekly"
    assert {name: task["upstream"] for name, task in monitoring["tasks"].items()} == {
        "check_data_drift": [],
        "check_performance": [],
        "decide": ["check_data_drift", "check_performance"],
        "trigger_retraining": ["decide"],
        "skip_retraining": ["decide"],
        "log_monitoring_results": [
            "check_data_drift",
            "check_performance",
            "decide",
            "skip_retraining",
            "trigger_retraining",
        ],
        "send_notification": ["log_monitoring_results"],
    }
