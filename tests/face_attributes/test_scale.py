"""Memory stays flat and time grows in proportion, up to all photographs of CelebA."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drawn_faces import DRAWN_ATTRIBUTES
from face_attributes.data import duplicates

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
ALL = 202_599
SMALL, LARGE = 4_000, 8_000
MEMORY = 2 << 30
SECONDS = 3 * 3600


@dataclass(frozen=True)
class Cost:
    """Largest resident memory in bytes and seconds of a processor."""

    memory: float
    seconds: float


@pytest.fixture(scope="module")
def jpegs() -> Callable[[int], bytes]:
    import cv2

    def make(seed: int) -> bytes:
        rough = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        pixels = cv2.resize(rough, (178, 218), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()

    return make


def photographs(folder: Path, count: int, jpegs: Callable[[int], bytes]) -> Path:
    images = folder / "img_align_celeba"
    images.mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(count)]
    for index, name in enumerate(names):
        (images / name).write_bytes(jpegs(index))
    random = np.random.default_rng(0)
    rows = [f"{name} {' '.join(map(str, random.choice([-1, 1], len(DRAWN_ATTRIBUTES))))}\n" for name in names]
    head = f"{count}\n{' '.join(DRAWN_ATTRIBUTES)}\n"
    (folder / "list_attr_celeba.txt").write_text(head + "".join(rows))
    return folder


def cost(arguments: list[str], place: Path, celeba: Path) -> Cost:
    process = subprocess.Popen(
        [sys.executable, "-m", "face_attributes", *arguments],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "CELEBA_DIR": str(celeba)},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_all_of_celeba_fits_memory_and_time(
    made, edit: Callable[..., Path], jpegs: Callable[[int], bytes], tmp_path: Path
) -> None:
    costs: dict[str, list[Cost]] = {}
    for count in (SMALL, LARGE):
        celeba = photographs(tmp_path / f"celeba-{count}", count, jpegs)
        place = tmp_path / f"place-{count}"
        place.mkdir()
        shutil.copy(ROOT / "params.yaml", place)
        changes = {"data.source": "celeba", "data.attributes": list(DRAWN_ATTRIBUTES), "prepare.sample": 100}
        edit(place / "params.yaml", changes)
        score = ["score", str(celeba / "img_align_celeba"), "--model", str(made.model), "--out", "s.parquet"]
        for arguments in (["collect"], ["prepare"], score):
            costs.setdefault(arguments[0], []).append(cost(arguments, place, celeba))
    for stage, (small, large) in costs.items():
        share = (ALL - LARGE) / (LARGE - SMALL)
        memory = large.memory + share * (large.memory - small.memory)
        seconds = large.seconds + share * (large.seconds - small.seconds)
        log.info(f"{stage}: {ALL} images: {memory / 2**20:.0f} MiB, {seconds / 60:.0f} minutes of a core")
        assert memory < MEMORY, stage
        assert seconds < SECONDS, stage


@pytest.mark.long
def test_all_pairs_of_celeba_are_compared_in_minutes() -> None:
    """The one step whose time grows with the number of pairs."""
    count = 20_000
    fingerprints = np.random.default_rng(0).integers(0, 256, (count, duplicates.BYTES), np.uint8)
    began = time.process_time()
    assert (duplicates.find(fingerprints, np.zeros(count, int)) < 0).all()
    minutes = (time.process_time() - began) / 60 * (ALL / count) ** 2
    log.info(f"{ALL} images: {minutes:.0f} minutes of a core for all pairs")
    assert minutes < 60
