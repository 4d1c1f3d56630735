import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams, population
from face_attributes.common.errors import DataError
from face_attributes.data import drawn_folder as module
from face_attributes.data.drawn_folder import draw_folder, is_drawn
from tests.support.waiting import wait_for

PARAMS = SyntheticParams(count=12, seed=6)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_folder(PARAMS, folder, progress=False, processes=1)
    return folder


def test_layout_is_that_of_celeba(drawn: Path) -> None:
    names = [f"{number:06d}.jpg" for number in range(1, 13)]
    assert sorted(path.name for path in (drawn / "img_align_celeba").iterdir()) == names

    count, header, *rows = (drawn / "list_attr_celeba.txt").read_text().splitlines()
    assert int(count) == 12
    assert tuple(header.split()) == DRAWN_ATTRIBUTES
    assert [row.split()[0] for row in rows] == names
    assert {value for row in rows for value in row.split()[1:]} == {"1", "-1"}

    parts = [line.split() for line in (drawn / "list_eval_partition.txt").read_text().splitlines()]
    assert [name for name, _ in parts] == names
    assert {part for _, part in parts} <= {"0", "1", "2"}


def test_labels_are_those_of_the_population(drawn: Path) -> None:
    columns = population.sample(6, range(12))
    rows = (drawn / "list_attr_celeba.txt").read_text().splitlines()[2:]
    for index, row in enumerate(rows):
        values = [int(value) == 1 for value in row.split()[1:]]
        assert values == [bool(columns[name][index]) for name in DRAWN_ATTRIBUTES]


def test_images_are_aligned_jpegs(drawn: Path) -> None:
    for path in (drawn / "img_align_celeba").iterdir():
        assert path.read_bytes()[:2] == b"\xff\xd8"
        assert cv2.imread(str(path)).shape == (218, 178, 3)


def test_several_processes_draw_the_same_bits(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4)
    draw_folder(PARAMS, tmp_path / "faces", progress=False, processes=2)
    assert contents(tmp_path / "faces") == contents(drawn)


def test_larger_count_extends_a_smaller_one(drawn: Path, tmp_path: Path) -> None:
    few, folder = SyntheticParams(count=5, seed=6), tmp_path / "faces"
    draw_folder(few, folder, progress=False, processes=1)
    first = contents(folder / "img_align_celeba")
    assert first == {k: v for k, v in contents(drawn / "img_align_celeba").items() if k in first}

    draw_folder(PARAMS, folder, progress=False, processes=1)
    assert contents(folder) == contents(drawn)


def test_further_faces_are_held_out_and_change_no_other(drawn: Path, tmp_path: Path) -> None:
    more, folder = SyntheticParams(count=12, held_out=6, seed=6), tmp_path / "faces"
    draw_folder(more, folder, progress=False, processes=1)
    images, few = contents(folder / "img_align_celeba"), contents(drawn / "img_align_celeba")
    assert len(images) == more.faces == 18
    assert few.items() <= images.items()
    parts, others = (
        (place / "list_eval_partition.txt").read_text().splitlines() for place in (folder, drawn)
    )
    assert parts[:12] == others
    assert [line.split()[0] for line in parts[12:]] == [f"{number}.jpg" for number in range(900_001, 900_007)]
    assert [line.split()[1] for line in parts[12:]] == ["2"] * 6
    assert (folder / "list_attr_celeba.txt").read_text().startswith("18\n")
    assert is_drawn(more, folder)
    assert not is_drawn(PARAMS, folder)

    with pytest.raises(DataError, match="holds other faces"):
        draw_folder(PARAMS, folder, progress=False, processes=1)


def test_a_face_stays_in_its_part_when_there_are_more(tmp_path: Path) -> None:
    def parts(params: SyntheticParams) -> dict[str, str]:
        draw_folder(params, tmp_path / "faces", progress=False, processes=1)
        lines = (tmp_path / "faces/list_eval_partition.txt").read_text().splitlines()
        return dict(line.split() for line in lines)

    first = parts(SyntheticParams(count=8, held_out=4, seed=6))
    later = parts(SyntheticParams(count=30, held_out=5, seed=6))
    assert first.items() <= later.items()
    assert len(later) == 35


def test_a_folder_that_an_earlier_release_drew_is_named_as_one(drawn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(drawn, folder)
    recipe = json.loads((folder / "synthetic.json").read_text())
    del recipe["params"]["held_out"]
    (folder / "synthetic.json").write_text(json.dumps({**recipe, "renderer": "0" * 64}))
    with pytest.raises(DataError, match="holds other faces"):
        draw_folder(PARAMS, folder, progress=False, processes=1)
    (folder / "synthetic.json").write_text(json.dumps({**recipe, "params": {"count": "12"}}))
    with pytest.raises(DataError, match="not a folder of drawn faces"):
        draw_folder(PARAMS, folder, progress=False, processes=1)


def test_what_a_killed_drawing_left_is_looked_for_once(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looks = tmp_path / "faces", []
    draw_folder(SyntheticParams(count=2, seed=6), folder, progress=False, processes=1)
    (folder / "img_align_celeba/.000003.jpg.0a1b2c3d.partial").write_bytes(b"half of a face")
    glob = Path.glob

    def watched(path: Path, pattern: str) -> Iterator[Path]:
        if path.name == "img_align_celeba":
            looks.append(pattern)
        return glob(path, pattern)

    monkeypatch.setattr(Path, "glob", watched)
    draw_folder(PARAMS, folder, progress=False, processes=1)
    assert contents(folder) == contents(drawn)
    assert len(looks) == 1, "a look for each face makes large folders slow"


def test_folder_knows_what_it_holds(drawn: Path) -> None:
    assert is_drawn(PARAMS, drawn)
    assert not is_drawn(SyntheticParams(count=12, seed=6, light=0.9), drawn)
    assert not is_drawn(SyntheticParams(count=11, seed=6), drawn)
    assert not is_drawn(PARAMS, drawn / "img_align_celeba")
    assert json.loads((drawn / "synthetic.json").read_text())["params"] == PARAMS.model_dump()


def test_another_renderer_draws_other_faces(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_renderer_digest", lambda: "0" * 64)
    assert not is_drawn(PARAMS, drawn)


def test_interrupted_folder_is_not_complete_and_is_continued(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, render = tmp_path / "faces", module.render

    def interrupted(
        seed: int, index: int, attributes: dict[str, bool], params: SyntheticParams
    ) -> np.ndarray:
        if index == 7:
            raise KeyboardInterrupt
        return render(seed, index, attributes, params)

    monkeypatch.setattr(module, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_folder(PARAMS, folder, progress=False, processes=1)
    assert not (folder / "list_attr_celeba.txt").exists()
    assert not is_drawn(PARAMS, folder)

    redrawn: list[int] = []

    def noted(seed: int, index: int, attributes: dict[str, bool], params: SyntheticParams) -> np.ndarray:
        redrawn.append(index)
        return render(seed, index, attributes, params)

    monkeypatch.setattr(module, "render", noted)
    draw_folder(PARAMS, folder, progress=False, processes=1)
    assert redrawn == [7, 8, 9, 10, 11]
    assert contents(folder) == contents(drawn)


@pytest.mark.parametrize("other", [{"seed": 7}, {"count": 3}, {"noise": 9.0}])
def test_other_faces_are_not_overwritten(drawn: Path, other: dict[str, float]) -> None:
    before = contents(drawn)
    with pytest.raises(DataError, match="holds other faces"):
        draw_folder(PARAMS.model_copy(update=other), drawn, progress=False)
    assert contents(drawn) == before


@pytest.mark.parametrize("recipe", [None, "{}", "[1]", "not JSON", '{"params": 3}'])
def test_foreign_folder_is_left_alone(recipe: str | None, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    if recipe is not None:
        (tmp_path / "synthetic.json").write_text(recipe)
    before = contents(tmp_path)
    with pytest.raises(DataError, match="not empty and not a folder of drawn faces"):
        draw_folder(PARAMS, tmp_path, progress=False)
    assert contents(tmp_path) == before


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces").write_text("a file")
    with pytest.raises(DataError, match="not a folder"):
        draw_folder(PARAMS, tmp_path / "faces", progress=False)


def test_a_quarter_of_the_faces_is_held_out() -> None:
    params = SyntheticParams(count=5000, seed=0)
    parts = Counter(module.partition(params, index) for index in range(5000))
    for code, share in enumerate((0.65, 0.1, 0.25)):
        assert parts[code] / 5000 == pytest.approx(share, abs=0.02)


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from drawn_faces import SyntheticParams;"
        "from face_attributes.data.drawn_folder import draw_folder;"
        f"draw_folder(SyntheticParams(count=100000, seed=1), Path({str(tmp_path / 'faces')!r}), processes=2)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: any((tmp_path / "faces").glob("img_align_celeba/*.jpg")))
        children = psutil.Process(parent.pid).children(recursive=True)
    finally:
        parent.kill()
        parent.wait(timeout=120)
    assert children
    wait_for(lambda: not any(child.is_running() for child in children))


def test_a_container_with_one_core_draws_in_one_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # joblib reads the limit of a container, and this variable, which a test can set.
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.setattr(module, "_CHUNK", 4)
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("starts processes"))
    draw_folder(PARAMS, tmp_path / "faces", progress=False)


def test_a_name_has_six_digits_however_many_faces_there_are() -> None:
    last = module.HELD_OUT + 99_999 - 1
    assert SyntheticParams(count=module.HELD_OUT, held_out=99_999, seed=0).faces == last + 1
    assert len(module.file_name(last)) == len(module.file_name(0))
