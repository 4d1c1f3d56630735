"""The files of a new DAG: rendered from templates, and written all or none."""

import ast
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from infra.local import files
from infra.scaffold.errors import ScaffoldError

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701, for none of these is HTML
)
_PLACES = {
    "dag.py.j2": "dags/{}_dag.py",
    "test.py.j2": "tests/dags/test_{}_dag.py",
    "runbook.md.j2": "docs/runbooks/{}.md",
}


def render(name: str) -> dict[Path, str]:
    """Return path (within the checkout) and content of each file of the DAG `name`."""
    title = name.replace("_", " ").capitalize()
    return {
        Path(place.format(name)): _TEMPLATES.get_template(template).render(name=name, title=title)
        for template, place in _PLACES.items()
    }


def used_names() -> frozenset[str]:
    """The names that the file of a DAG uses itself, whatever the DAG is called."""
    stand_in = "a_dag_of_no_name"
    names = set()
    for node in ast.walk(ast.parse(render(stand_in)[Path(_PLACES["dag.py.j2"].format(stand_in))])):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.alias | ast.FunctionDef):
            names.add(node.name)
    return frozenset(names - {stand_in})


def write(checkout: Path, content: Mapping[Path, str]) -> None:
    """Write all files below `checkout`, or none.

    :raises ScaffoldError: when one of them is there already, or cannot be written.
    """
    present = [str(path) for path in content if (checkout / path).exists()]
    if present:
        raise ScaffoldError(f"{', '.join(present)}: there already; nothing was written")
    with ExitStack() as undo:
        for path, text in content.items():
            undo.callback((checkout / path).unlink, missing_ok=True)
            try:
                files.write(checkout / path, text)
            except OSError as error:
                raise ScaffoldError(f"{path}: {error.strerror}; nothing was written") from error
        undo.pop_all()
