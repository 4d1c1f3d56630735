"""DAGs read settings that there are, and variables and connections that every engine gives them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops import tasks
from gitops.errors import SettingsError
from gitops.release import settings
from tests.dags import inputs

ROOT = Path(__file__).resolve().parents[3]
DAGS = sorted((ROOT / "dags").rglob("*.py"))
# Connections that an operator reads unless it is told another.
IMPLIED = {"FileSensor": "fs_default"}
LEFT_OUT = {
    # They pass variables on by the names of a list.
    "src/gitops/isolation.py",
    "src/gitops/dvc/run.py",
    # They read the trust root and the name of the runtime, which are optional.
    "src/gitops/release/signatures.py",
    "src/gitops/release/runtimes.py",
}
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
    """What a module reads: ('setting' | 'variable' | 'connection' | 'Airflow variable', name)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield "variable", _text(node.slice) or f"{path}:{node.lineno}: not a plain name"
        elif isinstance(node, ast.Call):
            yield from _called(node, path)


def _called(node: ast.Call, path: Path) -> Iterator[tuple[str, str]]:
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    first = _text(node.args[0]) if node.args else None
    if node.args and ast.unparse(node.args[0]).startswith(("f'GIT_", "'DVC_", "'CUDA_", "'PATH'")):
        return  # variables of git, DVC, CUDA and the system
    if name in ("os.environ.get", "os.getenv", "os.environ.setdefault", "os.environ.pop"):
        yield "variable", first or f"{path}:{node.lineno}: not a plain name"
    elif name == "Variable.get":
        yield "Airflow variable", first or f"{path}:{node.lineno}: not a plain name"
    elif (last in LOOKS_UP or name == "Connection.get") and first:
        yield "connection", first
    elif last in IMPLIED and not any(keyword.arg == "fs_conn_id" for keyword in node.keywords):
        yield "connection", IMPLIED[last]
    if name == "tasks.setting":
        yield "setting", ast.literal_eval(node.keywords[0].value)
    for keyword in node.keywords:
        if (keyword.arg or "").endswith("conn_id") and (text := _text(keyword.value)):
            yield "connection", text


@pytest.fixture(scope="module")
def used() -> set[tuple[str, str]]:
    paths = [path for path in _reached() if path.relative_to(ROOT).as_posix() not in LEFT_OUT]
    return {entry for path in paths for entry in _used(path)}


def test_the_reading_is_found_wherever_it_is(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "os.environ['A']; os.environ.get('B', ''); os.getenv('C'); Variable.get('D')\n"
        "BaseHook.get_connection('e'); Connection.get('f'); Operator(task_id='x', smtp_conn_id='g')\n"
        "FileSensor(filepath='x'); os.environ[name]; tasks.setting(name='H')\n"
    )
    assert set(_used(module)) == {
        *(("variable", name) for name in ("A", "B", "C", f"{module}:3: not a plain name")),
        ("Airflow variable", "D"),
        ("setting", "H"),
        *(("connection", name) for name in ("e", "f", "g", "fs_default")),
    }


def test_the_modules_behind_the_dags_are_looked_at_too() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in _reached()}
    assert {
        "dags/visage_dags/context.py",
        "src/gitops/training/verification.py",
        "src/gitops/git/workspace.py",
    } <= names


def test_dags_read_what_there_is(used: set[tuple[str, str]]) -> None:
    given = {
        *(("variable", name) for name in inputs.VARIABLES),
        *(("connection", name) for name in inputs.CONNECTIONS),
    }
    settings_read = {(kind, name) for kind, name in used if kind == "setting"}
    assert used - settings_read == given, "tests/dags/inputs.py lists what every engine must have"
    assert {name for _, name in settings_read} <= set(settings.NAMES)
    assert {("setting", "ACTIVE_DAGS"), ("setting", "ACCURACY_THRESHOLD")} <= settings_read


def test_a_setting_has_its_type_and_a_value_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tasks.setting(name="TASK_RETRIES") == 2
    assert tasks.setting(name="ACTIVE_DAGS") == []
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "dev")
    monkeypatch.setenv("ACTIVE_DAGS", "one,two")
    assert tasks.setting(name="ACTIVE_DAGS") == ["one", "two"]
    monkeypatch.setenv("TASK_RETRIES", "many")
    with pytest.raises(SettingsError, match=r"dev/settings\.env: TASK_RETRIES: .* valid integer"):
        tasks.setting(name="ACTIVE_DAGS")


def test_a_setting_that_there_is_not_is_refused() -> None:
    for name in ("TASK_RETRYS", "AIRFLOW__CORE__PARALLELISM"):
        with pytest.raises(SettingsError, match=f"{name}: not a setting of Visage; .*, TASK_RETRIES,"):
            tasks.setting(name=name)
