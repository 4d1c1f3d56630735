"""Holds what programs write against `schemas/`, and against the classes that read it."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from gitops.text import record
from gitops.text.record import Record
from scripts.schemas import RECORDS

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


def fits(name: str, content: bytes, *readers: type[Record]) -> None:
    """Assert that a file is as its schema describes it, and that each of its readers takes it."""
    Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text())).validate(
        json.loads(content)
    )
    for kind in (RECORDS[name][1], *readers):
        record.read(kind, content)
