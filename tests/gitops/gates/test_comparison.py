import json
from typing import Any

import pytest

from gitops.errors import ComparisonError
from gitops.gates.comparison import parse
from tests.support.figures import COMPARISON


def test_what_a_release_writes_is_read() -> None:
    found = parse(json.dumps(COMPARISON).encode(), "x")
    assert found.model_dump(mode="json", exclude_unset=True) == COMPARISON


MALE = COMPARISON["per_attribute"]["Male"]
RARE = "per_attribute.Male.rare: Value error, "


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 1}, "format 1, where this version reads 2, 3 and 4: it is of earlier code, so train "),
        ({"format": 5}, "format 5, where this version reads 2, 3 and 4: it is of later code, so update "),
        ({"format": True}, "format: Input should be 2, 3 or 4"),
        ({"samples": 10**12}, "samples: Input should be less than or equal to "),
        (
            {"per_attribute": {"Male": MALE | {"rare": MALE["rare"] | {"others": 10**12}}}},
            "content: Value error, Male: the rarer and the other answers are not of 2000 images",
        ),
        ({"per_attribute": {"Male": MALE | {"rare": MALE["rare"] | {"found": 601}}}}, RARE + "more images"),
        ({"per_attribute": {"Male": MALE | {"rare": MALE["rare"] | {"lost": 13}}}}, RARE + "found, lost"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"model_sha256": "abc"}, "model_sha256: String should match"),
        ({"samples": "2000"}, "samples: Input should be a valid integer"),
        ({"per_attribute": {}}, "per_attribute: Dictionary should have at least 1 item"),
        ({"latency": {}}, "latency: Dictionary should have at least 1 item"),
        ({"mean_accuracy": {}}, "mean_accuracy.accuracy: Field required"),
        (
            {"mean_accuracy": COMPARISON["mean_accuracy"] | {"p_worse": float("nan")}},
            "mean_accuracy.p_worse: Input should be a finite number",
        ),
        ({"size": COMPARISON["size"] | {"ratio": 0}}, "size.ratio: Input should be greater than 0"),
    ],
)
def test_what_a_release_would_not_write(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ComparisonError) as caught:
        parse(json.dumps(COMPARISON | change).encode(), "x.json")
    assert str(caught.value).startswith(f"x.json: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_comparison(content: bytes) -> None:
    with pytest.raises(ComparisonError, match=r"^x: content: "):
        parse(content, "x")
