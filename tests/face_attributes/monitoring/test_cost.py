import numpy as np
import pyarrow as pa
import pytest

from face_attributes.monitoring import cost


def answers(random: np.random.Generator, count: int, spread: float) -> tuple[pa.Table, float]:
    """Calibrated answers of an attribute, and their accuracy: the smaller the spread, the less sure."""
    scores = 1 / (1 + np.exp(-random.normal(0, spread, count)))
    truth = random.random(count) < scores
    decided = scores >= 0.5
    table = pa.table({"Smiling": decided, "Smiling_score": scores.astype(np.float32)})
    return table, float((decided == truth).mean())


@pytest.mark.parametrize(("spread", "is_harmless"), [(3.0, True), (2.0, False), (1.0, False), (4.0, True)])
def test_the_change_of_confidence_is_that_of_the_accuracy_of_a_calibrated_model(
    spread: float, is_harmless: bool
) -> None:
    random = np.random.default_rng(1)
    expected, accuracy = answers(random, 200_000, 3.0)
    found, changed = answers(random, 200_000, spread)
    change = cost.confidence_change(found, expected, ["Smiling"])
    assert change == pytest.approx(changed - accuracy, abs=0.004)
    assert cost.harmless(change) is is_harmless


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ([], []),
        (["brightness"], [cost.IMAGES]),
        (["Smiling"], [cost.ANSWERS]),
        (["Smiling_score", "embedding_1"], [cost.ANSWERS]),
        (["embedding_1"], [cost.IMAGES]),
        (["noise", "Smiling_score"], [cost.IMAGES, cost.ANSWERS]),
    ],
)
def test_the_kind_of_drift_follows_from_the_columns(columns: list[str], kinds: list[str]) -> None:
    assert cost.kinds(columns) == kinds
