"""Requests made of the OpenAPI document, valid or not: each answer has the form that it declares."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

# These start a process for each example, or for the first one
EXAMPLES = {"/search": 3, "/compare": 3}
PATHS = [
    ("GET", "/healthz"),
    ("GET", "/release"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/releases"),
    ("GET", "/search"),
    ("POST", "/predict"),
    ("POST", "/explain"),
    ("POST", "/compare"),
    ("POST", "/v2/models/{name}/infer"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_answers_are_as_the_document_says(live, method, path):
    schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json")
    operation = schema[path][method]

    @settings(
        max_examples=EXAMPLES.get(path, 25),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @schemathesis_given(operation)
    def check(case):
        response = case.call(timeout=120)
        case.validate_response(
            response, checks=[not_a_server_error, response_schema_conformance, status_code_conformance]
        )

    check()
    assert live.service.releases.current is not None


def schemathesis_given(operation):
    from hypothesis import given

    return given(operation.as_strategy())
