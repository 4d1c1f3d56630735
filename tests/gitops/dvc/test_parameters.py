"""A branch brings the schema that judges its parameters, so no schema takes long or breaks the judge."""

import json
import time
from typing import Any

import pytest

from gitops.dvc import parameters
from gitops.dvc.parameters import FaultError
from gitops.paths import CONTRACT, CONTRACT_SCHEMA
from gitops.promotion.merge import check
from tests.support.lab import ROOT, Lab

TWICE = {f"a{number}": {"anyOf": [{"$ref": f"#/$defs/a{number + 1}"}] * 2} for number in range(25)}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a+)+$": {}}},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$ref": "#/$defs/a"},
        {"$ref": "http://127.0.0.1:9/x"},
        {"$dynamicRef": "#x"},
        {"$defs": {**TWICE, "a25": {"type": "string"}}, "$ref": "#/$defs/a0"},
        {"x-rules": [1]},
        {"x-rules": [{"value": "a", "within": "b"}]},
        {"x-rules": [{"low": "a", "below": "a"}]},
        {"x-by-source": {"sources": [[1]], "key": "a"}},
        {"properties": {"a": {"x-rules": []}}},
        b"[" * 50_000,
        b'{"properties":' * 3_000 + b"1" + b"}" * 3_000,
    ],
)
def test_no_schema_of_a_branch_takes_long_or_breaks_the_judge(schema: dict[str, Any] | bytes) -> None:
    content = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    began = time.process_time()
    with pytest.raises(FaultError):
        parameters.faults(parameters.load_schema(content), {"a": "a" * 40 + "!", "a" * 40 + "!": 1})
    assert time.process_time() - began < 2


def test_many_faults_are_cut_off() -> None:
    known: dict[str, Any] = {f"{'a' * 900}{number}": {} for number in range(150)}
    schema = parameters.load_schema(json.dumps({"properties": known, "additionalProperties": False}).encode())
    began = time.process_time()
    assert len(parameters.faults(schema, {f"{'a' * 900}b{number}": 1 for number in range(4000)})) == 100
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["params", "contract"])
def test_the_schemas_of_this_repository_are_read(name: str) -> None:
    assert parameters.load_schema((ROOT / f"schemas/{name}.schema.json").read_bytes())


def test_a_schema_that_could_take_long_is_refused_in_one_line(lab: Lab) -> None:
    slow = json.dumps({"patternProperties": {"^(a+)+$": {}}}).encode()
    files = {CONTRACT: b"a: 1\n" + b"a" * 40 + b"!: 1\n", CONTRACT_SCHEMA: slow}
    commit = lab.branch("slow", files)
    state = lab.state()
    lines = [str(one) for one in check(lab.clone, state, commit).findings]
    assert any("an expression that repeats more than one thing" in line for line in lines)
