import cv2
import numpy as np
import pytest

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.data import duplicates, images
from face_attributes.data.shards import ShardReader


@pytest.fixture(scope="module")
def faces(made):
    """Some drawn faces, as uint8 images."""
    rows = next(ShardReader(sorted(made.raw.glob("*.parquet"))).batches(240))
    return [images.decode(jpeg) for jpeg in rows.jpegs]


def saved_again(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def resized(image, factor):
    there = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(there, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


CHANGES = {
    "nothing": lambda image: image,
    "quality 50": lambda image: saved_again(image, 50),
    "quality 95": lambda image: saved_again(image, 95),
    "half the size": lambda image: resized(image, 0.5),
    "double the size": lambda image: resized(image, 2),
    "half the light": lambda image: (image * 0.5).astype(np.uint8),
    "a mirror": lambda image: image[:, ::-1],
    "a mirror, half the size, darker, quality 50": lambda image: saved_again(
        (resized(image, 0.5)[:, ::-1] * 0.8).astype(np.uint8), 50
    ),
}


def found_among(faces, changed):
    prints = np.stack([duplicates.fingerprint(np.ascontiguousarray(image)) for image in [*faces, *changed]])
    ranks = np.repeat([0, 1], [len(faces), len(changed)])
    return duplicates.find(prints, ranks)


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_photograph_is_found_whatever_was_done_to_it(faces, name):
    changed = [CHANGES[name](image) for image in faces[:40]]
    assert found_among(faces, changed).tolist() == [-1] * len(faces) + list(range(40))


def test_other_faces_are_not_the_same_photograph(faces):
    assert (found_among(faces[:120], faces[120:]) < 0).all()


def random_prints(count):
    return np.random.default_rng(1).integers(0, 256, (count, duplicates.BYTES), np.uint8)


def flipped(print_, bits):
    changed = np.unpackbits(print_)
    changed[:bits] ^= 1
    return np.packbits(changed)


def test_the_limit():
    prints = random_prints(3)
    prints[1] = flipped(prints[0], duplicates.LIMIT)
    prints[2] = flipped(prints[0], duplicates.LIMIT + 1)
    assert duplicates.find(prints[[0, 1]], np.zeros(2)).tolist() == [-1, 0]
    assert duplicates.find(prints[[0, 2]], np.zeros(2)).tolist() == [-1, -1]


def test_a_lower_rank_stays_and_then_the_first_row():
    prints = random_prints(5)
    prints[[1, 2, 4]] = prints[3]
    assert duplicates.find(prints, np.array([2, 1, 0, 0, 2])).tolist() == [-1, 2, -1, 2, 2]


def test_repetitions_within_a_rank_can_stay():
    prints = random_prints(4)
    prints[[1, 2, 3]] = prints[0]
    assert duplicates.find(prints, np.array([1, 1, 0, 0]), repeating=[1]).tolist() == [2, 2, -1, 2]
    assert duplicates.find(prints, np.array([1, 1, 0, 0]), repeating=[0, 1]).tolist() == [2, 2, -1, -1]


def test_blocks_change_nothing(monkeypatch):
    prints = np.tile(random_prints(20), (5, 1))
    ranks = np.random.default_rng(2).integers(0, 3, 100)
    at_once = duplicates.find(prints, ranks, repeating=[1])
    monkeypatch.setattr(duplicates, "_QUERIES", 7)
    monkeypatch.setattr(duplicates, "_OTHERS", 11)
    assert duplicates.find(prints, ranks, repeating=[1]).tolist() == at_once.tolist()
    # By the definition, pair by pair
    for index, expected in enumerate(at_once):
        earlier = [
            other
            for other in range(index % 20, 100, 20)
            if (ranks[other], other) < (ranks[index], index) and not ranks[other] == ranks[index] == 1
        ]
        assert expected == min(earlier, key=lambda other: (ranks[other], other), default=-1)
