"""Create a DAG with its test and its runbook: `python -m infra.new_dag NAME`, or `make new-dag`."""

import ast
import builtins
import keyword
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from gitops.text.command_line import Command
from infra.local import files

CHECKOUT = Path(__file__).resolve().parents[1]

_TEMPLATES = Environment(
    loader=FileSystemLoader(CHECKOUT / "infra/templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=select_autoescape(),  # none of the templates is HTML
)
_FILES = {
    "dags/{}_dag.py": "dag.py.j2",
    "tests/dags/test_{}_dag.py": "test.py.j2",
    "docs/runbooks/{}.md": "runbook.md.j2",
}
_LONGEST = 60


class NewDagError(Exception):
    """The DAG cannot be created. The user reads the message."""


def render(name: str) -> dict[Path, str]:
    """Return path (within the checkout) and content of each file of the DAG `name`."""
    title = name.replace("_", " ").capitalize()
    return {
        Path(path.format(name)): _TEMPLATES.get_template(template).render(name=name, title=title)
        for path, template in _FILES.items()
    }


def check(name: str, dags: Path) -> None:
    """Check that a DAG of the folder `dags` may have this name, which its function has too.

    Raises:
        NewDagError: The name is not allowed, or another DAG has it.

    """
    if not name:
        raise NewDagError("name the DAG: make new-dag NAME=count_faces")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise NewDagError(f"{name!r}: a name has lower-case letters, digits and _ and starts with a letter")
    if len(name) > _LONGEST:
        raise NewDagError(f"{name}: {len(name)} letters, {_LONGEST} are allowed")
    if keyword.iskeyword(name) or hasattr(builtins, name) or name in _names_in_the_file():
        raise NewDagError(f"{name}: Python or the file of the DAG uses that name; choose another")
    if name.endswith("_dag"):
        raise NewDagError(f"{name}: leave out _dag, which is added to the name of the file")
    for path in sorted(dags.glob("*.py")):
        if name in _ids(path):
            raise NewDagError(f"{name}: {path.name} already has a DAG of that name")


def write(checkout: Path, name: str) -> list[Path]:
    """Write all files of a DAG below `checkout`, or no file, and return their paths.

    Raises:
        NewDagError: A file already exists or cannot be written.

    """
    content = render(name)
    if present := [str(path) for path in content if (checkout / path).exists()]:
        raise NewDagError(f"{', '.join(present)}: already exists; nothing was written")
    with ExitStack() as undo:
        for path, text in content.items():
            undo.callback((checkout / path).unlink, missing_ok=True)
            try:
                files.write(checkout / path, text)
            except OSError as error:
                raise NewDagError(f"{path}: {error.strerror}; nothing was written") from error
        undo.pop_all()
    return list(content)


def _names_in_the_file() -> set[str]:
    nodes = ast.walk(ast.parse(_TEMPLATES.get_template("dag.py.j2").render(name="_", title="")))
    return {
        node.id if isinstance(node, ast.Name) else node.name
        for node in nodes
        if isinstance(node, ast.Name | ast.alias | ast.FunctionDef)
    }


def _ids(path: Path) -> set[str]:
    """Return the DAG ids in a DAG file, without importing Airflow."""
    try:
        nodes = ast.walk(ast.parse(path.read_text()))
    except SyntaxError as error:
        raise NewDagError(f"{path}: line {error.lineno}: not valid Python; fix it first") from error
    calls = [
        node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "default_dag_args"
    ]
    return {str(call.args[0].value) for call in calls if call.args and isinstance(call.args[0], ast.Constant)}


class _Command(Command):
    program = ".venv/bin/python -m infra.new_dag"
    actions: ClassVar = {"": "create the DAG"}
    following: ClassVar = {"": "make new-dag NAME=count_faces"}
    expected = (NewDagError,)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(cls=_Command)
def main(
    name: Annotated[str, typer.Argument(help="The id of the DAG, in lower case, such as count_faces.")],
) -> None:
    """Create a DAG with the common defaults, its test and its runbook."""
    check(name, CHECKOUT / "dags")
    dag_file, test_file, runbook = write(CHECKOUT, name)
    print(f"Created {dag_file}, {test_file} and {runbook}. Edit them, then")
    print(f"  check:  .venv/bin/python -m pytest tests/dags/test_policy.py {test_file}")
    print(f"  run:    .venv/bin/python -m infra.dag_smoke_test --dag {name}")
    print(f"  unpause: {name} in ACTIVE_DAGS of environments/<env>/settings.env, or in the web interface")


if __name__ == "__main__":
    app()
