"""Which room knows which, as docs/architecture.md tells it: by import, and no other way round."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "face_attributes": ROOT / "src/face_attributes",
    "gitops": ROOT / "src/gitops",
    "dashboard": ROOT / "src/dashboard",
    "dags": ROOT / "dags",
    "infra": ROOT / "infra",
}
MAY_IMPORT = {
    "face_attributes": set(),
    "gitops": set(),
    "dashboard": {"gitops"},
    "dags": {"gitops"},
    "infra": {"gitops", "dashboard"},
}
OURS = {**{name: name for name in ROOMS}, "visage_dags": "dags"}


def imported(path: Path) -> set[str]:
    """The first names of what a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_it_may(room: str) -> None:
    modules = sorted(ROOMS[room].rglob("*.py"))
    assert modules
    for path in modules:
        others = {OURS[name] for name in imported(path) & set(OURS)} - {room}
        assert others <= MAY_IMPORT[room], path.relative_to(ROOT)


def test_an_import_is_found_wherever_it_is(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import gitops.cli\ndef f():\n    from visage_dags import place\n    from . import x\n")
    assert imported(module) == {"gitops", "visage_dags"}
