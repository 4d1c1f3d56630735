"""The contract between a release and the runtime: its names and signatures, and who uses them."""

import ast
import inspect
import sys
from pathlib import Path

import yaml

from gitops import runtime, tasks
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[2]
DAGS = sorted((ROOT / "dags").rglob("*.py"))

# To add a name, raise CONTRACT and add a block. Never change or remove a line: released DAGs call it.
CONTRACTS = {
    1: """
CommandError(message: str, *, command: str | None = None) -> None
ParseError(message: str, *, line: int | None = None) -> None
RuleError(*args)
archive(*, commit: str, run_id: str) -> str
branch_commit(*, branch: str) -> str
call(*, command: Sequence[str], folder: str, minutes: float) -> None
changed_files(*, base: str, commit: str) -> list[str]
checkout_release(*, checkout: str) -> str
deadline(*, dag_id: str, seconds: float) -> 'DeadlineAlert'
environment() -> str
fetch_model(*, release: str) -> str
fetch_reference(*, release: str) -> str
find_commit(*, ref: str) -> dict[str, typing.Any]
home() -> str
inspect(*, commit: str, files: Sequence[str] = (), storage: bool = False) -> dict[str, typing.Any]
judge(*, commit: str, incumbent: str) -> dict[str, typing.Any]
notify(*, subject: str, body: str, facts: Mapping[str, str]) -> None
on_late_run(context: Mapping[str, typing.Any]) -> None
parse_yaml(*, text: str) -> Any
propose(*, base: str, commit: str, run_id: str) -> str
publish_verdict(*, verdict: Mapping[str, typing.Any]) -> dict[str, str]
pull_data(*, commit: str, stages: Sequence[str]) -> str
push_data(*, commit: str, stages: Sequence[str]) -> str
release(*, checkout: str) -> str
rollback_instructions(*, environment: str) -> str
run_command(*, commit: str, command: Sequence[str], run_id: str, message: str, data: Sequence[str] = (), \
needs: Sequence[str] = (), minutes: float = 10) -> str
run_link(*, dag_id: str, run_id: str) -> str
run_stage(*, commit: str, stage: str, run_id: str, hours: float = 6) -> str
runbook(*, name: str, release: str, checkout: str) -> str
safe_name(*, run_id: str) -> str
training_ref(*, ref: str, release: str) -> str
unverified(*, release: str) -> str
verify(*, release: str) -> dict[str, typing.Any]
""",
    2: """
setting(*, name: str) -> Any
""",
    3: """
incoming_batches() -> 'AssetWatcher'
unverified_release() -> 'AssetWatcher'
""",
    4: """
remove_expired() -> dict[str, typing.Any]
watch_health(*, verdict: Any) -> 'BaseOperator'
""",
    5: """
check_storage() -> dict[str, int]
""",
    6: """
publish_shadow(*, release: str, incumbent: str, models: Sequence[str], failed: int, reason: str, \
figures: Mapping[str, typing.Any] | None) -> dict[str, str]
shadow() -> str
""",
    7: """
canary() -> dict[str, typing.Any]
canary_batches(*, batches: Sequence[str]) -> dict[str, str]
step_down(*, canary: str, reason: str) -> str
""",
    8: """
untried_batches() -> 'AssetWatcher'
""",
    9: """
run_for_result(*, commit: str, command: Sequence[str], result: str, given: Mapping[str, str], \
needs: Sequence[str] = (), minutes: float = 10) -> Any
run_stage_given(*, commit: str, stage: str, run_id: str, given: Mapping[str, str], hours: float = 6) -> str
""",
}


def signature(name: str) -> str:
    found = getattr(tasks, name)
    if name == "RuleError":
        return f"{name}(*args)"
    return f"{name}{str(inspect.signature(found)).replace('collections.abc.', '')}"


def test_the_contract_keeps_its_names_and_signatures() -> None:
    frozen = [line for block in CONTRACTS.values() for line in block.strip().splitlines()]
    assert [signature(name) for name in sorted(set(tasks.__all__) - {"CONTRACT"})] == sorted(frozen)
    assert max(CONTRACTS) == tasks.CONTRACT == runtime.CONTRACT


def test_every_public_function_is_part_of_the_contract() -> None:
    made_here = {
        name
        for name, value in vars(tasks).items()
        if inspect.isfunction(value) and value.__module__ == tasks.__name__ and not name.startswith("_")
    }
    assert made_here <= set(tasks.__all__)


def used_names(path: Path) -> set[str]:
    """Return the names of the contract that a DAG file uses."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "tasks":
            found.add(node.attr)
    return found


def test_dags_import_the_contract_and_no_other_module() -> None:
    for path in DAGS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gitops":
                assert (node.module, [alias.name for alias in node.names]) == ("gitops", ["tasks"]), path
            elif isinstance(node, ast.Import):
                assert not [alias for alias in node.names if alias.name.partition(".")[0] == "gitops"], path


def test_the_dags_state_the_lowest_contract_that_has_what_they_use() -> None:
    since = {
        line.partition("(")[0]: number
        for number, block in CONTRACTS.items()
        for line in block.strip().splitlines()
    }
    used = set().union(*(used_names(path) for path in DAGS))
    stated = yaml.safe_load((ROOT / "dags/runtime.yaml").read_text())
    assert stated == {"contract": max(since[name] for name in used)}


def test_importing_the_contract_is_light() -> None:
    program = "import sys, gitops.tasks; print(*{name.partition('.')[0] for name in sys.modules})"
    done = captured([sys.executable, "-c", program], check=True)
    assert not {"airflow", "dvc", "git", "pydantic", "requests", "yaml"} & set(done.stdout.split())
