import json
import os
import re
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from dashboard import checks
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.common.errors import DataError
from face_attributes.data.drawn_folder import draw_folder
from face_attributes.data.image_statistics import STATISTICS
from face_attributes.data.shards import Rows, ShardWriter
from face_attributes.evaluation.reference import attributes, reference
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring import drift as drifts
from face_attributes.monitoring import limits, score_files
from face_attributes.monitoring.drift import ALPHA, drift
from face_attributes.monitoring.score import score
from tests.support.command import captured
from tests.support.described import fits

FACES = 120  # a day


@pytest.fixture(scope="module")
def drawn(made, tiny, tmp_path_factory):
    """Return a function that draws faces, scores them, and returns the folder: `drawn("dark", light=0.6)`.

    There are as many on each of `days` days from the fifth on.
    """
    home = tmp_path_factory.mktemp("drift")

    def draw(name, count=FACES, days=2, seed=50, **knobs):
        out = home / name
        if not out.exists():
            params = tiny.data.synthetic.model_copy(update={"count": count * days, "seed": seed, **knobs})
            draw_folder(params, home / f"{name}-faces", progress=False)
            score(home / f"{name}-faces/img_align_celeba", made.model, home / f"{name}.parquet", "abc")
            table = pq.read_table(home / f"{name}.parquet")
            for day in range(days):
                folder = out / f"date=2026-01-{day + 5:02d}"
                folder.mkdir(parents=True)
                pq.write_table(table.slice(day * count, count), folder / f"{name}.parquet")
        return out

    return draw


@pytest.fixture(scope="module")
def known(made, tiny, tmp_path_factory):
    """The reference of the model, as the stage makes it of images that training did not learn."""
    home = tmp_path_factory.mktemp("known")
    params = tiny.data.synthetic.model_copy(update={"count": 160, "seed": 51})
    draw_folder(params, home / "faces", progress=False)
    faces = sorted((home / "faces/img_align_celeba").iterdir())
    with ShardWriter(home / "sample.parquet", ["Smiling"], one_file=True) as writer:
        for index, face in enumerate(faces):
            for part in ("train", "validation"):
                rows = Rows([f"{part}{index}"], [face.read_bytes()], [part], [[True]])
                writer.write(rows)
    people = [f"{part}{index},{part}{index}" for part in ("train", "validation") for index in range(160)]
    (home / "people.csv").write_text("\n".join(["image_id,person", *people]) + "\n")
    reference(made.model, home / "sample.parquet", home / "reference.parquet", home / "people.csv")
    return home / "reference.parquet"


@pytest.fixture(scope="module")
def digest(made):
    return Model(made.model).sha256


def test_faces_like_those_of_the_reference_have_not_drifted(drawn, known, digest, tmp_path):
    verdict = drift([drawn("like")], known, digest, tmp_path / "verdict.json", release="abc")
    assert verdict == json.loads((tmp_path / "verdict.json").read_text())
    fits("drift", (tmp_path / "verdict.json").read_bytes(), checks.Evidence)
    assert (verdict["enough_data"], verdict["drifted"]) == (True, False)
    assert (verdict["kinds"], verdict["confidence_change"], verdict["probably_harmless"]) == ([], None, None)
    assert (verdict["rows"], verdict["rows_used"], verdict["reference_rows"]) == (2 * FACES, 2 * FACES, 160)
    assert verdict["windows"] == [
        {
            "since": day,
            "until": day,
            "rows": FACES,
            "rows_used": FACES,
            "repeated": 0,
            "columns_drifted": [],
        }
        for day in ("2026-01-05", "2026-01-06")
    ]
    assert (verdict["population"], verdict["alarm_after"]) == ("all", 2)
    assert (verdict["repeated"], verdict["reference_people"]) == (0, 160)
    assert (verdict["release"], verdict["model_sha256"]) == ("abc", digest)
    names = attributes(pq.read_table(known))
    assert set(names) <= set(CELEBA_ATTRIBUTES)
    scores, embedding = [f"{name}_score" for name in names], [f"embedding_{index}" for index in range(8)]
    assert list(verdict["columns"]) == [*names, *scores, *embedding, *STATISTICS]
    assert {row["test"] for name, row in verdict["columns"].items() if name in names} == {"visage_fisher"}
    assert {row["test"] for name, row in verdict["columns"].items() if name not in names} == {"ks"}
    column = verdict["columns"]["brightness"]
    rate = stats.binom.sf(1, 7, column["p_value_threshold"])
    assert rate == pytest.approx(ALPHA / len(verdict["columns"]), rel=0.01)
    assert column["mean"] == pytest.approx(column["reference_mean"], rel=0.1)


@pytest.mark.parametrize(
    ("name", "knobs", "moved"),
    [
        ("dark", {"light": 0.6}, "brightness"),
        ("blurred", {"blur": 2.0}, "sharpness"),
    ],
)
def test_faces_taken_otherwise_have_drifted(drawn, known, digest, tmp_path, name, knobs, moved):
    verdict = drift([drawn(name, **knobs)], known, digest, tmp_path / "verdict.json")
    assert verdict["drifted"] is True
    assert moved in verdict["columns_drifted"]
    column = verdict["columns"][moved]
    assert column["p_value"] < column["p_value_threshold"]
    assert column["distance"] > 1
    assert column["mean"] < 0.8 * column["reference_mean"]
    assert column["windows_drifted"] == 2
    assert all(moved in window["columns_drifted"] for window in verdict["windows"])
    assert "images changed" in verdict["kinds"]
    assert verdict["probably_harmless"] is (verdict["confidence_change"] >= -0.002)


def test_one_bad_day_is_no_drift(drawn, known, digest, tmp_path):
    like, dark = drawn("like"), drawn("dark", light=0.6)
    places = [like, dark / "date=2026-01-05/dark.parquet"]
    days = tmp_path / "scores/date=2026-01-07"
    days.mkdir(parents=True)
    (days / "dark.parquet").symlink_to(places.pop())
    verdict = drift([like, tmp_path / "scores"], known, digest, tmp_path / "verdict.json")
    assert [bool(window["columns_drifted"]) for window in verdict["windows"]] == [False, False, True]
    assert verdict["columns"]["brightness"]["windows_drifted"] == 1
    assert (verdict["drifted"], verdict["columns_drifted"]) == (False, [])
    asked = drift([like, tmp_path / "scores"], known, digest, tmp_path / "v.json", alarm_after=1)
    assert "brightness" in asked["columns_drifted"]


def test_what_the_model_learnt_from_a_labelled_batch_is_no_drift(drawn, known, digest, tmp_path):
    dark = drawn("dark", light=0.6)
    table = pq.read_table(known)
    learnt = pq.read_table(dark / "date=2026-01-05/dark.parquet", partitioning=None)
    rows = learnt.select([name for name in table.column_names if name not in ("partition", "person")])
    rows = rows.set_column(0, "id", pa.array([f"prod/{name}" for name in rows.column("id").to_pylist()]))
    rows = rows.add_column(1, "partition", pa.array(["validation"] * rows.num_rows))
    rows = rows.add_column(2, "person", pa.nulls(rows.num_rows, pa.int32()))
    both = pa.concat_tables([table, rows.cast(table.schema)]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(both, tmp_path / "reference.parquet")
    for name, population in (("dark", "prod"), ("like", "collected")):
        verdict = drift([drawn(name)], tmp_path / "reference.parquet", digest, tmp_path / "v.json")
        assert (verdict["population"], verdict["drifted"]) == (population, False)
    blurred = drift([drawn("blurred", blur=2.0)], tmp_path / "reference.parquet", digest, tmp_path / "v.json")
    assert blurred["drifted"] is True


def as_if_of(table, people, path):
    """Write a reference again, with other people in it, or as releases wrote it that knew none."""
    table = table.drop_columns("person")
    if people is not None:
        table = table.append_column("person", pa.array(people(index) for index in range(table.num_rows)))
    pq.write_table(table, path)
    return path


def test_the_limits_depend_on_the_people_of_the_reference(drawn, known, digest, tmp_path):
    table = pq.read_table(known)
    found = {}
    for name, people in {
        "all different": lambda index: index,
        "few": lambda index: index % 8,
        "unknown": None,
    }.items():
        reference = as_if_of(table, people, tmp_path / "reference.parquet")
        verdict = drift([drawn("dark", light=0.6)], reference, digest, tmp_path / "verdict.json")
        assert verdict["drifted"] is True
        found[name] = verdict["reference_people"], verdict["columns"]["brightness"]["distance_threshold"]
    assert [people for people, _ in found.values()] == [160, 4, None]
    assert found["all different"][1] < found["unknown"][1]


def test_a_model_that_depends_on_who_it_sees_is_not_blamed_for_other_people(known, digest, tmp_path):
    """Every column depends on the person alone: the reference shows some people, and others come later."""
    table = pq.read_table(known)
    table = table.filter(pa.array([part == "validation" for part in table.column("partition").to_pylist()]))
    people = table.take([index // 5 for index in range(160)])
    first = people.slice(0, 80).set_column(0, "id", pa.array([str(index) for index in range(80)]))
    others = people.slice(80)
    places = []
    for day in range(7):
        path = tmp_path / f"date=2026-01-{day + 1:02d}" / "batch.parquet"
        path.parent.mkdir()
        met = pa.concat_tables([others, others.slice(0, 40)]).drop_columns(["partition", "person"])
        pq.write_table(met.append_column("model_sha256", pa.array([digest] * met.num_rows)), path)
        places.append(path)
    reference = pa.concat_tables([first, first]).replace_schema_metadata(table.schema.metadata)

    def drifted(people):
        path = as_if_of(reference, people, tmp_path / "reference.parquet")
        return drift(places, path, digest, tmp_path / "verdict.json")["columns_drifted"]

    assert drifted(lambda index: index)
    assert drifted(lambda index: index % 80 // 5) == []


def test_the_same_images_again_are_no_evidence(drawn, known, digest, tmp_path):
    source = pq.read_table(drawn("dark", light=0.6) / "date=2026-01-05/dark.parquet", partitioning=None)
    for day in range(5, 12):
        folder = tmp_path / f"scores/date=2026-01-{day:02d}"
        folder.mkdir(parents=True)
        for again in ("one", "two"):
            pq.write_table(source, folder / f"{again}.parquet")
    verdict = drift([tmp_path / "scores"], known, digest, tmp_path / "v.json")
    assert (verdict["rows"], verdict["repeated"], len(verdict["windows"])) == (FACES, 13 * FACES, 1)
    assert (verdict["enough_data"], verdict["drifted"]) == (False, None)


def test_many_rows_do_not_make_a_trifle_into_drift(known, digest, tmp_path, monkeypatch):
    table = pq.read_table(known)
    # Every p-value passes
    monkeypatch.setattr(limits.Rule, "level", 1.0)
    rows = table.filter(pa.array([part == "validation" for part in table.column("partition").to_pylist()]))
    same = rows.append_column("model_sha256", pa.array([digest] * rows.num_rows))
    pq.write_table(same, tmp_path / "same.parquet")
    verdict = drift([tmp_path / "same.parquet"], known, digest, tmp_path / "verdict.json", alarm_after=1)
    assert verdict["drifted"] is False


def test_too_few_rows_are_no_answer(drawn, known, digest, tmp_path):
    report = tmp_path / "report.html"
    few = drawn("few", count=30, light=0.6)
    verdict = drift([few], known, digest, tmp_path / "v.json", report)
    assert (verdict["enough_data"], verdict["drifted"], verdict["rows"]) == (False, None, 60)
    assert verdict["columns"] == {}
    assert not report.exists()


def test_one_window_is_no_answer_where_two_are_asked_for(drawn, known, digest, tmp_path):
    day = drawn("dark", light=0.6) / "date=2026-01-05"
    verdict = drift([day], known, digest, tmp_path / "v.json")
    assert (verdict["enough_data"], verdict["drifted"], len(verdict["windows"])) == (False, None, 1)
    assert drift([day], known, digest, tmp_path / "v.json", alarm_after=1)["drifted"] is True


def test_no_rows_at_all_are_no_answer(known, digest, tmp_path):
    (tmp_path / "scores").mkdir()
    verdict = drift([tmp_path / "scores"], known, digest, tmp_path / "v.json")
    assert (verdict["enough_data"], verdict["drifted"], verdict["rows"]) == (False, None, 0)


def test_scores_of_another_model_or_day_do_not_count(drawn, known, digest, tmp_path):
    table = pq.read_table(drawn("like") / "date=2026-01-05/like.parquet", partitioning=None)
    other = table.drop_columns("model_sha256").append_column(
        "model_sha256", pa.array(["0" * 64] * table.num_rows)
    )
    pq.write_table(other, tmp_path / "other.parquet")
    assert drift([tmp_path / "other.parquet"], known, digest, tmp_path / "v.json")["rows"] == 0
    days = score_files.DateRange(since=score_files.date(2026, 1, 7))
    verdict = drift([drawn("like")], known, digest, tmp_path / "v.json", days=days)
    assert (verdict["rows"], verdict["since"], verdict["until"]) == (0, "2026-01-07", None)


def test_of_many_rows_a_sample_is_compared(drawn, known, digest, tmp_path, monkeypatch):
    monkeypatch.setattr(drifts, "AT_MOST", 101)
    verdict = drift([drawn("dark", light=0.6)], known, digest, tmp_path / "v.json")
    assert (verdict["rows"], verdict["rows_used"], verdict["drifted"]) == (2 * FACES, 202, True)


def test_the_report_is_evidentlys_with_the_very_figures_of_the_verdict(drawn, known, digest, tmp_path):
    report = tmp_path / "report.html"
    verdict = drift([drawn("dark", light=0.6)], known, digest, tmp_path / "v.json", report)
    text = report.read_text()
    for said in (
        "brightness",
        "K-S p_value",
        "Wasserstein distance",
        "Fisher's exact test",
        "Jensen-Shannon",
    ):
        assert said in text
    distance = verdict["columns"]["brightness"]["distance"]
    assert re.search(rf"Wasserstein distance[^<]*{distance:.2f}", text)
    first = re.search(r"Drift in column '([^']+)'", text)
    assert verdict["columns"][first[1]]["windows_drifted"] == 2


def test_a_reference_that_cannot_be_used(drawn, known, digest, tmp_path):
    out = tmp_path / "verdict.json"
    with pytest.raises(DataError, match=f"is the reference of model {digest[:12]}, not of 000000000000"):
        drift([drawn("like")], known, "0" * 64, out)
    with pytest.raises(DataError, match="none: no such file"):
        drift([drawn("like")], tmp_path / "none", digest, out)
    scores = drawn("like") / "date=2026-01-05/like.parquet"
    with pytest.raises(DataError, match=r"like\.parquet: not the reference of a model"):
        drift([drawn("like")], scores, digest, out)
    (tmp_path / "damaged").write_bytes(known.read_bytes()[:200])
    with pytest.raises(DataError, match="damaged: not the reference of a model"):
        drift([drawn("like")], tmp_path / "damaged", digest, out)
    assert not out.exists()


@pytest.mark.long
def test_evidently_sends_nothing(drawn, known, digest, tmp_path):
    program = f"""
import os, socket, sys
from pathlib import Path
from face_attributes.monitoring.drift import drift

def refuse(*arguments):
    raise SystemExit(f"talks to {{arguments}}")

socket.getaddrinfo = socket.socket.connect = refuse
files = [Path({str(drawn("like"))!r})]
out = Path({str(tmp_path)!r})
drift(files, Path({str(known)!r}), {digest!r}, out / "v.json", out / "report.html")
from evidently.telemetry import DO_NOT_TRACK_ENV
print("off" if os.environ.get(DO_NOT_TRACK_ENV) else "on")
"""
    environment = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}
    done = captured([sys.executable, "-c", program], env=environment)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["off"]), done.stderr
