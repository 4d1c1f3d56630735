"""A recording of a terminal is a picture that plays."""

from xml.etree import ElementTree

import pytest

from tests import pictures
from tests.pictures import ROWS, SECONDS, Line, animated, hurried, recorded


def test_a_recording_has_each_line_with_its_time(tmp_path):
    lines = [*recorded(["echo one; sleep 0.3; echo two"], tmp_path, {})]
    assert [line.text for line in lines] == ["$ echo one; sleep 0.3; echo two", "one", "two"]
    assert lines[2].at - lines[1].at > 0.2
    with pytest.raises(SystemExit, match="false: exit status 1"):
        list(recorded(["false"], tmp_path, {}))


def test_no_picture_names_a_person_who_exists(monkeypatch, capsys):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Somebody")
    with pytest.raises(SystemExit, match="2"):
        pictures.main(["visage"])
    assert 'git config user.name "Ada Lovelace"' in capsys.readouterr().err


def test_waits_are_shortened():
    waited = [Line(0, "$ a"), Line(100, "b"), Line(101, "c")]
    assert [line.at for line in hurried(waited, 49)] == [0, 2, 3]
    assert [line.at for line in hurried(waited, 1.5)] == [0, 1, 1.5]


def test_it_plays_in_a_minute_and_scrolls():
    lines = [Line(number / 2, f"line {number} <&>") for number in range(ROWS + 3)]
    drawn = ElementTree.fromstring(animated(lines, b"page"))  # noqa: S314  # our own
    shapes = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawn.iter(f"{shapes}text")]
    assert texts == [line.text for line in lines]
    (scroll,) = drawn.iter(f"{shapes}animateTransform")
    assert scroll.attrib["values"].split(";")[-1] == f"0 {-3 * 18}"
    assert {one.get("dur") for one in drawn.iter(f"{shapes}animate")} == {f"{SECONDS}s"}


def test_every_picture_that_a_page_shows_is_one_that_the_command_takes():
    shown = {path.stem for path in pictures.FOLDER.glob("*.png")}
    assert shown == {*pictures.PAGES, *pictures.REPORTS, *pictures.HISTORY}
