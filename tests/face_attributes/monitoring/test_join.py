import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_attributes.common.errors import DataError, FileError
from face_attributes.monitoring.join import join
from face_attributes.monitoring.part import Part
from face_attributes.monitoring.score import score

RELEASE = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(made, tmp_path):
    folder = tmp_path / "incoming"
    (folder / "more").mkdir(parents=True)
    faces = sorted((made.faces / "img_align_celeba").iterdir())[:20]
    for index, face in enumerate(faces):
        shutil.copy(face, folder / ("more" if index % 2 else "") / face.name)
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "more/odd-\udce9.jpg").write_bytes(b"not an image either")
    return folder


def scored_in(count, folder, made, tmp_path):
    """Score a folder in parts; return their files, the last one first."""
    parts = [tmp_path / f"parts/{number}.parquet" for number in range(1, count + 1)]
    for number, path in enumerate(parts, start=1):
        score(folder, made.model, path, RELEASE, part=Part(number, count))
    return parts[::-1]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_parts_of_a_batch_are_joined_to_the_scores_of_the_whole(count, folder, made, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    once, bad = score(
        whole,
        made.model,
        tmp_path / "date=2026-01-01/b.parquet",
        RELEASE,
        tmp_path / "q",
        tmp_path / "s.json",
    )
    parts = scored_in(count, folder, made, tmp_path)
    assert (folder / "broken.jpg").is_file(), "a part moves nothing"
    out = tmp_path / "in-parts/date=2026-01-01/b.parquet"
    joined = join(folder, parts, out, tmp_path / "quarantine", tmp_path / "summary.json")
    assert joined == (once, bad)
    first, second = pq.read_table(tmp_path / "date=2026-01-01/b.parquet"), pq.read_table(out)
    assert second.equals(first)
    assert second.schema.metadata == first.schema.metadata
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(
        (tmp_path / "s.json").read_text()
    )
    names = sorted(path.relative_to(tmp_path / "q") for path in (tmp_path / "q").rglob("*"))
    assert (
        sorted(path.relative_to(tmp_path / "quarantine") for path in (tmp_path / "quarantine").rglob("*"))
        == names
    )
    assert sorted(path.name for path in folder.rglob("*.jpg")) == sorted(
        path.name for path in whole.rglob("*.jpg")
    )


def test_parts_are_joined_again_after_a_kill_in_the_middle(folder, made, tmp_path):
    parts = scored_in(3, folder, made, tmp_path)
    (tmp_path / "quarantine").mkdir()
    (folder / "broken.jpg").rename(tmp_path / "quarantine/broken.jpg")
    rows, bad = join(folder, parts, tmp_path / "out.parquet", tmp_path / "quarantine")
    assert (rows, len(bad)) == (20, 2)
    before = (tmp_path / "out.parquet").read_bytes()
    assert join(folder, parts, tmp_path / "out.parquet", tmp_path / "quarantine") == (rows, bad)
    assert (tmp_path / "out.parquet").read_bytes() == before
    assert sorted(path.suffix for path in (tmp_path / "quarantine").rglob("*.*")) == [".csv", ".jpg", ".jpg"]


def test_a_batch_is_never_joined_from_parts_that_do_not_fit(folder, made, tmp_path):
    parts = scored_in(3, folder, made, tmp_path)
    out = tmp_path / "out.parquet"

    def refused(files, problem, kind=DataError):
        with pytest.raises(kind, match=problem):
            join(folder, files, out)
        assert not out.exists()

    refused([], "name the files")
    refused(parts[:2], "part 1 is missing, of 3")
    refused([*parts, parts[0]], "a part is there twice")
    score(folder, made.model, tmp_path / "other.parquet", "f" * 40, part=Part(1, 3))
    refused([*parts[:2], tmp_path / "other.parquet"], "another batch, model or release")
    score(folder, made.model, tmp_path / "whole.parquet", RELEASE)
    refused([*parts[:2], tmp_path / "whole.parquet"], "not a part of a batch; score the part again")
    (tmp_path / "text").write_text("x")
    refused([*parts[:2], tmp_path / "text"], "not a part of a batch")
    with pytest.raises(FileError, match=r"part 3/3"):
        join(folder, parts, parts[0])
    (folder / "late.jpg").write_bytes(b"x")
    refused(parts, "images of it went away meanwhile")


def test_a_batch_without_a_usable_photograph_is_refused_whole(made, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"not an image")
    parts = scored_in(2, folder, made, tmp_path)
    with pytest.raises(DataError, match="not one of its 3 files can be used"):
        join(folder, parts, tmp_path / "out.parquet", tmp_path / "quarantine")
    assert not (tmp_path / "out.parquet").exists()
    assert len(list((tmp_path / "quarantine").glob("*.jpg"))) == 3


@given(st.integers(0, 10_000), st.integers(1, 2_000))
def test_each_photograph_is_in_one_part(total, count):
    ends = [Part(number, count).bounds(total) for number in range(1, count + 1)]
    assert [start for start, _ in ends] == [0, *(stop for _, stop in ends[:-1])]
    assert ends[-1][1] == total


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "1/0", "1/1000000", "a/b", "1", "1/3/5", "-1/3", "01/3"])
def test_odd_parts_are_refused(text):
    with pytest.raises(DataError, match="write 3/50 for the third of fifty"):
        Part.parse(text)
    assert str(Part.parse("3/50")) == "3/50"


def test_the_command_refuses_options_of_the_whole(folder, made, tmp_path):
    from typer.testing import CliRunner

    from face_attributes.cli import app

    arguments = ["score", str(folder), "--model", str(made.model), "--out", str(tmp_path / "o.parquet")]
    result = CliRunner().invoke(app, [*arguments, "--part", "1/2", "--summary", str(Path("s.json"))])
    assert result.exit_code == 2
