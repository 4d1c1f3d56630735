from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.photographs import CHANGES
from face_attributes import params
from face_attributes.common.paths import BEST, HOLDOUT, MODEL
from face_attributes.data import prepare
from face_attributes.data.collect import collect
from face_attributes.data.drawn_folder import draw_folder
from face_attributes.data.parallel import decoded
from face_attributes.evaluation import columns
from face_attributes.model import export
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring import cost
from face_attributes.params import Params
from face_attributes.training import hyperparameters, train


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


def answered(model: Model, images: np.ndarray, truth: np.ndarray) -> tuple[pa.Table, float]:
    """The columns of images (N, 218, 178, 3), and the accuracy."""
    table = pa.table(columns.of(model, images), schema=pa.schema(columns.fields(model)))
    decided = np.column_stack([table.column(name).to_numpy() for name in model.attributes])
    return table, float((decided == truth).mean())


@pytest.mark.long
def test_a_darker_image_is_harmless_and_a_mask_is_not(tmp_path: Path, tiny: Params, monkeypatch) -> None:
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("data/labelled").mkdir(parents=True)
    drawn = tiny.data.model_copy(update={"synthetic": tiny.data.synthetic.model_copy(update={"count": 2000})})
    settings = tiny.model_copy(
        update={
            "data": drawn,
            "prepare": tiny.prepare.model_copy(update={"shrink": 3}),
            "train": tiny.train.model_copy(update={"epochs": 8, "batch_size": 64, "learning_rate": 0.004}),
        }
    )
    draw_folder(settings.data.synthetic, tmp_path / "home/raw", progress=False)
    collect(settings.data)
    prepare.prepare(settings.prepare)
    hyperparameters.write(BEST, {name: getattr(settings.train, name) for name in params.SEARCHED})
    train.train(settings)
    export.export(settings.export)
    batches = list(decoded(HOLDOUT))
    images = np.concatenate([pixels for _, pixels in batches])
    truth = np.concatenate([rows.labels for rows, _ in batches])
    model = Model(MODEL)
    expected, accuracy = answered(model, images, truth)

    def changed(name: str) -> tuple[float, float]:
        moved = np.stack([CHANGES[name](image).clip(0, 255).astype(np.uint8) for image in images])
        found, reached = answered(model, moved, truth)
        return accuracy - reached, cost.confidence_change(found, expected, model.attributes)

    lost, change = changed("brightness x 0.9")
    assert lost < 0.003
    assert cost.harmless(change)
    lost, change = changed("a surgical mask")
    assert lost > 0.02
    assert not cost.harmless(change)
