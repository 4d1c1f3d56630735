import numpy as np
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import image_statistics, images
from face_attributes.evaluation.predictions import predict
from face_attributes.model.onnx_model import Model


@pytest.fixture
def model(made):
    return Model(made.model)


def test_every_image_is_asked_about_from_its_bytes(made, model):
    table = pq.read_table(made.holdout)
    predictions = predict(model, made.holdout)
    faces = [images.decode(jpeg) for jpeg in table.column("jpeg").to_pylist()]
    assert predictions.ids == table.column("id").to_pylist()
    assert predictions.probabilities == pytest.approx(model.predict(np.stack(faces)), abs=1e-6)
    assert np.array_equal(predictions.decisions, predictions.probabilities >= model.thresholds)
    assert predictions.brightness.tolist() == [image_statistics.measure(face)[0] for face in faces]
    for index, name in enumerate(model.attributes):
        assert predictions.truth[:, index].tolist() == table.column(name).to_pylist()
        assert predictions.labels[name].tolist() == table.column(name).to_pylist()


def test_columns_are_found_by_name(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "turned.parquet")
    one, other = (predict(model, path) for path in (made.holdout, tmp_path / "turned.parquet"))
    assert np.array_equal(one.truth, other.truth)
    assert np.array_equal(one.probabilities, other.probabilities)


def test_labels_that_the_model_does_not_predict_are_kept(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    more = table.append_column("Attractive", [[True] * table.num_rows])
    pq.write_table(more, tmp_path / "more.parquet")
    predictions = predict(model, tmp_path / "more.parquet")
    assert predictions.labels["Attractive"].all()
    assert predictions.truth.shape == predictions.probabilities.shape


def test_a_holdout_without_an_attribute(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    pq.write_table(table.drop_columns(["Smiling"]), tmp_path / "less.parquet")
    with pytest.raises(DataError, match="has no labels for Smiling, which the model predicts"):
        predict(model, tmp_path / "less.parquet")


def test_an_empty_holdout(made, model, tmp_path):
    pq.write_table(pq.read_table(made.holdout).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="holds no images"):
        predict(model, tmp_path / "empty.parquet")


def test_a_damaged_image_is_named(made, model, tmp_path):
    table = pq.read_table(made.holdout)
    jpegs = [b"junk", *table.column("jpeg").to_pylist()[1:]]
    pq.write_table(table.set_column(1, "jpeg", [jpegs]), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=rf"image {table.column('id')[0]}: not a JPEG"):
        predict(model, tmp_path / "bad.parquet")
