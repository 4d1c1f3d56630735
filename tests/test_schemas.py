"""`schemas/` describes the files as they are: those that people edit, and those that programs write."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gitops.errors import ParseError
from gitops.text import record
from scripts import schemas
from tests.support import earlier

ROOT = Path(__file__).resolve().parents[1]
EDITED = [
    *(path for name in ("release", "environment") for path in ROOT.glob(f"environments/*/{name}.yaml")),
    *ROOT.glob("params*.yaml"),
    ROOT / "dags/runtime.yaml",
    ROOT / "data/contract.yaml",
]


def test_the_schemas_are_those_of_the_classes() -> None:
    written = {path.name: json.loads(path.read_text()) for path in (ROOT / "schemas").glob("*.json")}
    for name, schema in schemas.schemas():
        Draft202012Validator.check_schema(schema)
        assert written.pop(name, None) == schema, "run: make schemas"
    assert not written, "no class belongs to these"


@pytest.mark.parametrize("path", EDITED, ids=lambda path: str(path.relative_to(ROOT)))
def test_editors_check_what_people_edit(path: Path) -> None:
    text = path.read_text()
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found is not None
    check = Draft202012Validator(json.loads((path.parent / found[1]).read_text()))
    content = yaml.safe_load(text)
    check.validate(content)
    for wrong in (misspelt(content), {key: ["x"] for key in content}):
        assert not check.is_valid(wrong), wrong


def misspelt(content: dict[str, Any]) -> dict[str, Any]:
    key = next(iter(content))
    return {f"{key}x": content[key]} | {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize("name", earlier.FILES)
def test_files_of_earlier_releases_are_read(name: str) -> None:
    kind, content = earlier.FILES[name]
    record.read(kind, json.dumps(content).encode())


FORMATTED = [name for name, (_, kind) in schemas.RECORDS.items() if "format" in kind.model_fields]


@pytest.mark.parametrize("name", FORMATTED)
def test_a_file_of_a_later_release_is_named_with_its_format(name: str) -> None:
    _, kind = schemas.RECORDS[name]
    with pytest.raises(
        ParseError, match=r"^format 9, where this version reads [\d, and]+: it is of later code"
    ):
        record.read(kind, b'{"format": 9}')
