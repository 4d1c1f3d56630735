from typing import Any

import pytest

from tests.workflows.expression import Open, UnknownError, condition, evaluate, expand

CONTEXTS: dict[str, Any] = {
    "github": {"event": Open({"pull_request": {"number": 7}, "deleted": False}), "ref_name": "main"},
    "needs": {"train": {"result": "success", "outputs": {"a": "b"}}},
    "steps": {"pull-request": {"outputs": {"number": ""}, "outcome": "success"}},
}


def functions(*, good: bool = True) -> dict[str, Any]:
    return {"always": lambda: True, "success": lambda: good, "hashFiles": lambda *names: "+".join(names)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("github.event.pull_request.number", 7),
        ("github.event['pull_request']['number'] == 7", True),
        ("github.event.nothing.at.all", None),
        ("needs.train.result == 'SUCCESS' && 'trial' || ''", "trial"),
        ("needs.train.result != 'success' && 'trial' || ''", ""),
        ("steps.pull-request.outputs.number != ''", False),
        ("!github.event.deleted", True),
        ("!(true && false)", True),
        ("hashFiles('a', 'b*')", "a+b*"),
        ("'it''s'", "it's"),
        ("false || null", None),
    ],
)
def test_what_is_known(text: str, value: object) -> None:
    assert evaluate(text, CONTEXTS, functions()) == value


@pytest.mark.parametrize(
    "text",
    [
        "steps.pull_request.outputs.number",
        "steps.pull-request.outputs.numbr",
        "needs.test.result",
        "needs.train.result == 'success' || needs.test.result",
        "secret.TOKEN",
        "fromJSON('{}')",
        "github.event.labels.*.name",
        "github.ref_name >= 'x'",
        "github.ref_name == 1",
        "'open",
        "github.",
        "(true",
        "true true",
        "",
    ],
)
def test_what_is_not_known_is_an_error(text: str) -> None:
    with pytest.raises(UnknownError):
        evaluate(text, CONTEXTS, functions())


def test_expressions_within_text() -> None:
    text = "x-${{ github.ref_name }}-${{ github.event.deleted }}${{ github.event.nothing }}"
    assert expand(text, CONTEXTS, functions()) == "x-main-false"
    for bad in ("${{ needs.train }}", "${{ true"):
        with pytest.raises(UnknownError):
            expand(bad, CONTEXTS, functions())


def test_a_condition_that_asks_for_no_status_wants_that_nothing_failed() -> None:
    assert condition("true", CONTEXTS, functions())
    assert not condition("true", CONTEXTS, functions(good=False))
    assert condition("${{ always() && true }}", CONTEXTS, functions(good=False))
    assert not condition("${{ !true }}", CONTEXTS, functions())
    with pytest.raises(UnknownError):
        condition("x == ${{ true }} && ${{ true }}", CONTEXTS, functions())
