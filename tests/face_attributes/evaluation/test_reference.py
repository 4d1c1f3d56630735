import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face_attributes.common.errors import DataError
from face_attributes.data import images
from face_attributes.data.image_statistics import STATISTICS, measure
from face_attributes.data.shards import Rows, ShardReader, ShardWriter
from face_attributes.evaluation.reference import Population, populations, read, reference, watched
from face_attributes.model.onnx_model import Model


@pytest.fixture
def table(made, tmp_path):
    reference(made.model, made.sample, tmp_path / "reference.parquet", made.raw.parent / "people.csv")
    return pq.read_table(tmp_path / "reference.parquet")


def test_it_says_of_each_image_of_the_sample_what_scoring_would(made, table):
    model = Model(made.model)
    rows = next(ShardReader([made.sample]).batches(100))
    scores = [f"{name}_score" for name in model.attributes]
    embedding = [f"embedding_{index}" for index in range(8)]
    assert table.column_names == [
        "id",
        "partition",
        "person",
        *model.attributes,
        *scores,
        *embedding,
        *STATISTICS,
    ]
    assert table.column("id").to_pylist() == rows.ids
    assert table.column("partition").to_pylist() == rows.partitions
    image = images.decode(rows.jpegs[7])
    row = table.slice(7, 1).to_pylist()[0]
    assert [row[name] for name in scores] == pytest.approx(model.predict(image[None])[0].tolist(), abs=1e-5)
    described = model.describe(image[None])[1][0].tolist()
    assert [row[name] for name in embedding] == pytest.approx(described, abs=1e-5)
    assert tuple(row[name] for name in STATISTICS) == pytest.approx(measure(image))
    assert table.schema.metadata[b"model_sha256"].decode() == model.sha256


def test_what_was_trained_on_and_what_was_not_stand_side_by_side(table):
    counts = table.column("partition").value_counts().to_pylist()
    assert {count["values"]: count["counts"] for count in counts} == {"train": 20, "validation": 20}


def test_equal_models_and_samples_give_equal_bytes(made, tmp_path):
    for name in ("one", "two"):
        reference(made.model, made.sample, tmp_path / name, made.raw.parent / "people.csv")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_drawn_faces_are_all_different_people(table):
    assert table.column("person").to_pylist() == list(range(40))


def test_people_are_numbered_without_their_names(made, tmp_path):
    ids = next(ShardReader([made.sample]).batches(100)).ids
    rows = [f"{name},{'ann' if index % 2 else 'bob'}" for index, name in enumerate(ids[:30])]
    (tmp_path / "people.csv").write_text("\n".join(["image_id,person", *rows]) + "\n")
    reference(made.model, made.sample, tmp_path / "reference.parquet", tmp_path / "people.csv")
    table = pq.read_table(tmp_path / "reference.parquet")
    assert table.column("person").to_pylist() == [0, 1] * 15 + [None] * 10
    assert b"ann" not in (tmp_path / "reference.parquet").read_bytes()


def test_people_are_known_where_all_are():
    def people(**columns):
        found = Population("all", pa.table({"id": ["1", "2"]} | columns)).people()
        return found if found is None else found.tolist()

    assert people(person=pa.array([0, 0], pa.int32())) == [0, 0]
    assert people(person=pa.array([0, None], pa.int32())) is None
    # The reference of a release that was made before references had the column
    assert people() is None


def test_a_list_of_people_that_cannot_be_used(made, tmp_path):
    out = tmp_path / "reference.parquet"
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name in ("none.csv", "other.csv"):
        with pytest.raises(DataError, match=rf"{name}: not the list of people .*run the stage collect again"):
            reference(made.model, made.sample, out, tmp_path / name)
    assert not out.exists()


def test_an_image_that_is_in_the_sample_twice_counts_once(made, tmp_path):
    (rows,) = ShardReader([made.sample]).batches(100)
    with ShardWriter(tmp_path / "sample.parquet", ["Male"], one_file=True) as writer:
        for name, part in (("one", "validation"), ("two", "validation"), ("three", "train")):
            writer.write(Rows([name], [rows.jpegs[0]], [part], rows.labels[:1, :1]))
        writer.write(Rows(["four"], [rows.jpegs[1]], ["validation"], rows.labels[:1, :1]))
    reference(
        made.model, tmp_path / "sample.parquet", tmp_path / "out.parquet", made.raw.parent / "people.csv"
    )
    assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == ["one", "three", "four"]


def test_an_empty_sample(made, tmp_path):
    with ShardWriter(tmp_path / "sample.parquet", ["Male"], one_file=True):
        pass
    with pytest.raises(DataError, match="holds no images; run the stage prepare again"):
        reference(
            made.model,
            tmp_path / "sample.parquet",
            tmp_path / "reference.parquet",
            made.raw.parent / "people.csv",
        )
    assert not (tmp_path / "reference.parquet").exists()


def test_what_is_watched_is_what_is_said_of_an_image(table):
    assert watched(table) == table.column_names[3:]


def test_a_labelled_batch_is_a_population_of_its_own():
    collected, batch, few = ["1.jpg", "2.jpg"], ["dark/1.jpg", "dark/a/2.jpg"], ["late/1.jpg"]

    def parts(*ids):
        table = pa.table({"id": ids})
        return {one.name: one.table.column("id").to_pylist() for one in populations(table, 2)}

    assert parts(*collected) == {"all": collected}
    assert parts(*collected, *batch, *few) == {
        "all": [*collected, *batch, *few],
        "collected": collected,
        "dark": batch,
    }


def test_a_reference_that_is_too_small_for_drift_is_named(made, tmp_path, caplog):
    reference(made.model, made.sample, tmp_path / "reference.parquet", made.raw.parent / "people.csv")
    assert "20 images of the part validation are too few to detect drift, which takes 100" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reference_with_what_is_no_number_is_named(made, table, tmp_path, value):
    column = table.column("brightness").to_numpy().copy()
    column[table.column("partition").to_pylist().index("validation")] = value
    place = table.column_names.index("brightness")
    changed = table.set_column(place, "brightness", pa.array(column)).replace_schema_metadata(
        {"model_sha256": "a"}
    )
    pq.write_table(changed, tmp_path / "changed.parquet")
    with pytest.raises(
        DataError, match=r"changed\.parquet: brightness has values .*; run the stage reference again"
    ):
        read(tmp_path / "changed.parquet", "a")
