"""The name of a DAG: its id, its function's name and a part of two file names."""

import ast
import builtins
import keyword
import re
from pathlib import Path

from infra.scaffold.errors import ScaffoldError

_LONGEST = 60
_FORM = re.compile(r"[a-z][a-z0-9_]*")


def check(name: str, dags: Path, taken: frozenset[str]) -> str:
    """Return `name` where a DAG of the folder `dags` may be called so; `taken` are names that its file needs.

    :raises ScaffoldError: when it may not.
    """
    if not name:
        raise ScaffoldError("say which: make new-dag NAME=count_faces")
    if not _FORM.fullmatch(name):
        raise ScaffoldError(f"{name!r}: a name has small letters, digits and _ and starts with a letter")
    if len(name) > _LONGEST:
        raise ScaffoldError(f"{name}: {len(name)} letters, {_LONGEST} are allowed")
    if keyword.iskeyword(name) or name in taken or hasattr(builtins, name):
        raise ScaffoldError(f"{name}: Python or the file of the DAG uses that name; choose another")
    if name.endswith("_dag"):
        raise ScaffoldError(f"{name}: leave out _dag, which the file's name gets by itself")
    for path in sorted(dags.glob("*.py")):
        if name in _ids(path):
            raise ScaffoldError(f"{name}: {path.name} has a DAG of that name already")
    return name


def _ids(path: Path) -> set[str]:
    """The DAG ids in a DAG file, without Airflow."""
    try:
        nodes = ast.walk(ast.parse(path.read_text()))
    except SyntaxError as error:
        raise ScaffoldError(f"{path}: line {error.lineno}: not Python; mend it first") from error
    calls = [
        node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "default_dag_args"
    ]
    return {str(call.args[0].value) for call in calls if call.args and isinstance(call.args[0], ast.Constant)}
