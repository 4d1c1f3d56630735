"""The file of a request: odd lines are ids or are refused, and it names the same forget."""

import os
from pathlib import Path

import pytest

from gitops.cli.people import homes_of
from gitops.errors import GitopsError
from gitops.people.erasure import erasure
from gitops.people.forget import Found
from gitops.people.journal import path_of
from gitops.people.process import Known
from gitops.people.request import Request


def request(folder: Path, content: bytes) -> Request:
    file = folder / "ids.txt"
    file.write_bytes(content)
    return Request.read(file, {})


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "../../a.jpg",
        "/nowhere/a.jpg",
        "a" * 300,
        "~nobody-has-this-name/a.jpg",
        "b\0c",
        "ü.jpg",
        "a\u2028b",
    ],
)
def test_an_odd_name_is_an_id(tmp_path: Path, name: str) -> None:
    assert request(tmp_path, f"{name}\r\n".encode()).ids == (name,)


def test_the_mark_of_an_editor_is_no_part_of_the_first_id(tmp_path: Path) -> None:
    assert request(tmp_path, b"\xef\xbb\xbf1.jpg\n2.jpg\n").ids == ("1.jpg", "2.jpg")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe1\0", "not UTF-8 text, at byte 0; save it as UTF-8"),
        (b"a.jpg\n" * 3_000_000, "larger than 16,777,216 bytes; split it"),
        (b"# nobody\n\n", "no id and no photograph"),
        (b"a.jpg\nimage_id\n", "'image_id' is no id of a photograph"),
        (b"202599\n", "'202599' is no id of a photograph"),
    ],
    ids=["utf-16", "huge", "empty", "header", "count"],
)
def test_a_file_that_is_no_request_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(GitopsError, match=problem):
        request(tmp_path, content)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GitopsError, match="not a regular file"):
        Request.read(tmp_path / "pipe", {})


def test_a_photograph_that_was_removed_names_the_same_forget(tmp_path: Path) -> None:
    picture = tmp_path / "home" / "me.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"picture")
    before = request(tmp_path, str(picture).encode())
    assert before.pictures == (picture,)
    picture.unlink()
    after = request(tmp_path, str(picture).encode())
    assert path_of(tmp_path, before.lines) == path_of(tmp_path, after.lines)


def test_an_id_that_no_photograph_has_is_named(tmp_path: Path) -> None:
    known = Known({"ids": {"": ["1.jpg"], "dev": ["upload/me.jpg"]}})
    found = Found(known, (), erasure((), {}, ()), ())
    asked = request(tmp_path, b"1.jpg\ndev:upload/me.jpg\nprod:upload/me.jpg\n2.jpg\n")
    assert found.unknown(asked) == ["prod:upload/me.jpg", "2.jpg"]


def test_the_database_of_the_engine_is_no_environment(tmp_path: Path) -> None:
    for name in ("dev", "database"):
        (tmp_path / name / "data").mkdir(parents=True)
    (tmp_path / "database/data/PG_VERSION").write_text("15\n")
    assert homes_of(None, tmp_path) == {"dev": tmp_path / "dev/data"}
