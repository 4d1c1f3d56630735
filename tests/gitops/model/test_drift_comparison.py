import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.model import drift_comparison
from tests.support.lab import Lab

MODEL = "a" * 64
MEAN = {"accuracy": 0.941, "incumbent": 0.862, "difference": 0.079, "low": 0.065, "high": 0.092}
FIGURES: dict[str, Any] = {
    "format": 2,
    "model_sha256": MODEL,
    "samples": 160,
    "batches": ["prod-2026-01-07"],
    "mean_accuracy": MEAN,
    "per_attribute": {"Smiling": MEAN | {"p_worse": 0.1}},
}


def read(lab: Lab, content: bytes, model: str | None = MODEL) -> drift_comparison.DriftComparison | None:
    lab.land({drift_comparison.PATH: content})
    return drift_comparison.of_commit(lab.origin, lab.tip, model)


def test_tells_what_a_model_is_worth_on_what_drifted(lab: Lab) -> None:
    found = read(lab, json.dumps(FIGURES).encode())
    assert found is not None
    assert str(found) == (
        "On 160 held-out images of prod-2026-01-07: 0.9410, where the incumbent has 0.8620: "
        "+7.90 points (+6.50 to +9.20)."
    )
    assert list(found.per_attribute) == ["Smiling"]


def test_a_file_that_cannot_be_read_is_logged_and_left_out(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = FIGURES | {"per_attribute": {"Bald": {"accuracy": None}}}
    assert read(lab, json.dumps(damaged).encode()) is None
    assert "per_attribute.Bald.accuracy: Input should be a valid number; it is left out" in caplog.text
    assert read(lab, json.dumps(FIGURES | {"format": 5}).encode()) is None
    assert "format 5, where this version reads 1, 2, 3 and 4: it is of later code" in caplog.text


def test_figures_of_another_model_say_nothing_of_this_one(lab: Lab) -> None:
    assert read(lab, json.dumps(FIGURES).encode(), "b" * 64) is None
    assert read(lab, json.dumps(FIGURES).encode(), None) is None


def test_without_a_file_there_is_nothing_to_tell(lab: Lab) -> None:
    assert drift_comparison.of_commit(lab.origin, lab.tip, MODEL) is None


@pytest.mark.parametrize("missing", ["batches", "samples", "mean_accuracy", "model_sha256"])
def test_without_one_of_its_parts_there_is_nothing_to_tell(lab: Lab, missing: str) -> None:
    content = {key: value for key, value in FIGURES.items() if key != missing}
    assert read(lab, json.dumps(content).encode()) is None


class Said:
    """A repository that holds one content."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, commit: str, path: str) -> bytes:
        assert path == drift_comparison.PATH
        return self.content


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIGURES, *MEAN]), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_no_content_stops_a_report(content: bytes) -> None:
    drift_comparison.of_commit(Said(content), "x", MODEL)  # type: ignore[arg-type]
