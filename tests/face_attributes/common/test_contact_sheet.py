from pathlib import Path

import cv2
import numpy as np
import pytest

from face_attributes.common import contact_sheet

FACE = np.full((218, 178, 3), (200, 40, 90), np.uint8)


def test_sheet_shows_each_image_unchanged_and_in_its_colors(tmp_path: Path) -> None:
    contact_sheet.sheet(
        [FACE, FACE, FACE], ["1", "2", "3"], [["Smiling"], [], ["Male", "Bald"]], tmp_path / "s.png"
    )
    page = cv2.cvtColor(cv2.imread(str(tmp_path / "s.png")), cv2.COLOR_BGR2RGB)
    assert (page == FACE[0, 0]).all(axis=2).sum() == 3 * 218 * 178


def test_sheet_writes_under_each_image(tmp_path: Path) -> None:
    contact_sheet.sheet([FACE], ["1"], [[]], tmp_path / "bare.png")
    contact_sheet.sheet([FACE], ["1"], [["Wearing_Necktie"]], tmp_path / "labelled.png")
    bare, labelled = (cv2.imread(str(tmp_path / name)) for name in ("bare.png", "labelled.png"))
    assert labelled.shape[0] > bare.shape[0]
    assert (labelled[240:] < 100).any()
    assert not (bare[240:] < 100).any()


def test_rows_break_after_the_given_number_of_columns(tmp_path: Path) -> None:
    contact_sheet.sheet([FACE] * 5, list("12345"), [[]] * 5, tmp_path / "s.png", columns=2)
    height, width = cv2.imread(str(tmp_path / "s.png")).shape[:2]
    assert 2 * 178 < width < 3 * 178
    assert 3 * 218 < height < 4 * 218


@pytest.mark.parametrize(
    ("name", "start"),
    [("s.png", b"\x89PNG"), ("s.jpg", b"\xff\xd8"), ("s.JPEG", b"\xff\xd8"), ("s", b"\x89PNG")],
)
def test_the_name_says_the_format(name: str, start: bytes, tmp_path: Path) -> None:
    contact_sheet.sheet([FACE], ["1"], [[]], tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("images", "ids", "labels"),
    [([], [], []), ([FACE], ["1", "2"], [[]]), ([FACE, FACE[:100]], ["1", "2"], [[], []])],
)
def test_sheet_refuses_what_does_not_match(
    images: list[np.ndarray], ids: list[str], labels: list[list[str]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a sheet needs"):
        contact_sheet.sheet(images, ids, labels, tmp_path / "s.png")
    assert not list(tmp_path.iterdir())
