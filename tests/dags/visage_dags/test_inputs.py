"""Every variable and connection that a DAG reads is declared in `inputs`, and none that it does not read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops.release import settings
from gitops.release.file import ENVIRONMENTS
from visage_dags import inputs

ROOT = Path(__file__).resolve().parents[3]
DAGS = sorted((ROOT / "dags").rglob("*.py"))
INPUTS = ROOT / "dags/visage_dags/inputs.py"
# Connections that an operator reads unless it is told another.
IMPLIED = {"FileSensor": inputs.FILES.name}
LOOKS_UP = {"get_connection", "GitHook", "SmtpHook", "SlackWebhookHook", "SlackHook", "SmtpNotifier"}


def _reached() -> list[Path]:
    """The DAGs, and the modules of gitops that they load, directly or through others."""
    pending, found = list(DAGS), set()
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gitops":
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                files = [ROOT / "src" / f"{name.replace('.', '/')}.py" for name in names if name]
                pending += [file for file in files if file.is_file()]
    return sorted(found)


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _used(path: Path) -> Iterator[tuple[str, str]]:
    """What a module reads: ('variable' | 'connection' | 'Airflow variable', name)."""
    declared = {
        name: value
        for name, value in vars(inputs).items()
        if isinstance(value, inputs.Input | inputs.Connection)
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "inputs" and node.attr in declared:
            found = declared[node.attr]
            yield "variable" if isinstance(found, inputs.Input) else "connection", found.name
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield "variable", _text(node.slice) or f"{path}:{node.lineno}: not a plain name"
        elif isinstance(node, ast.Call):
            yield from _called(node, path)


def _called(node: ast.Call, path: Path) -> Iterator[tuple[str, str]]:
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    first = _text(node.args[0]) if node.args else None
    if node.args and ast.unparse(node.args[0]).startswith(("f'GIT_", "'PATH'")):
        return  # git's own variables, and the system's
    if name in ("os.environ.get", "os.getenv", "os.environ.setdefault", "os.environ.pop"):
        yield "variable", first or f"{path}:{node.lineno}: not a plain name"
    elif name == "Variable.get":
        yield "Airflow variable", first or f"{path}:{node.lineno}: not a plain name"
    elif (last in LOOKS_UP or name == "Connection.get") and first:
        yield "connection", first
    elif last in IMPLIED and not any(keyword.arg == "fs_conn_id" for keyword in node.keywords):
        yield "connection", IMPLIED[last]
    for keyword in node.keywords:
        if (keyword.arg or "").endswith("conn_id") and (text := _text(keyword.value)):
            yield "connection", text


@pytest.fixture(scope="module")
def used() -> set[tuple[str, str]]:
    return {entry for path in _reached() if path != INPUTS for entry in _used(path)}


def test_the_reading_is_found_wherever_it_is(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "os.environ['A']; os.environ.get('B', ''); os.getenv('C'); Variable.get('D'); inputs.VISAGE_HOME\n"
        "BaseHook.get_connection('e'); Connection.get('f'); Operator(task_id='x', smtp_conn_id='g')\n"
        "FileSensor(filepath='x'); os.environ[name]\n"
    )
    assert set(_used(module)) == {
        *(("variable", name) for name in ("A", "B", "C", "VISAGE_HOME", f"{module}:3: not a plain name")),
        ("Airflow variable", "D"),
        *(("connection", name) for name in ("e", "f", "g", "fs_default")),
    }


def test_the_modules_behind_the_dags_are_looked_at_too() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in _reached()}
    assert {
        "dags/visage_dags/context.py",
        "src/gitops/training/verification.py",
        "src/gitops/git/workspace.py",
    } <= names


def test_what_is_read_is_declared_and_what_is_declared_is_read(used: set[tuple[str, str]]) -> None:
    declared = {("variable", variable.name) for variable in inputs.VARIABLES}
    declared |= {("connection", connection.name) for connection in inputs.CONNECTIONS}
    assert used - declared == set(), "declare it in dags/visage_dags/inputs.py"
    assert declared - used == set(), "nobody reads it: take it out of dags/visage_dags/inputs.py"


def test_every_declaration_is_listed() -> None:
    made = [value for value in vars(inputs).values() if isinstance(value, inputs.Input | inputs.Connection)]
    assert {one.name for one in made} == {one.name for one in (*inputs.VARIABLES, *inputs.CONNECTIONS)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_setting_is_in_every_environment_and_has_its_type(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = settings.variables(environment, ROOT)
    for variable in inputs.VARIABLES:
        assert (variable.name in said) == (variable.source is inputs.From.SETTINGS), variable.name
        if variable.name in said:
            monkeypatch.setenv(variable.name, said[variable.name])
            value = variable.read()
            if not isinstance(variable.default, inputs.Required):
                assert type(value) is type(variable.default), variable.name
            assert value == getattr(settings.load(environment, ROOT), variable.name.lower())


def test_what_is_missing_or_wrong_says_who_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match=r"VISAGE_HOME: not set; what runs Airflow"):
        inputs.VISAGE_HOME.read()
    assert inputs.TASK_RETRIES.read() == 2
    monkeypatch.setenv("TASK_RETRIES", "many")
    with pytest.raises(ValueError, match=r"TASK_RETRIES: invalid literal.*settings\.env says it"):
        inputs.TASK_RETRIES.read()
