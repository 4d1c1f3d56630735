from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_attributes.data import celeba, groups


def parts_of(keys, parts):
    found = defaultdict(set)
    for key, part in zip(keys, parts.tolist(), strict=True):
        found[key].add(part)
    return found


def test_a_person_has_one_part_in_every_source():
    people = [f"p{number % 50}" for number in range(300)]
    parts = groups.by_person(people)
    assert all(len(where) == 1 for where in parts_of(people, parts).values())
    assert np.array_equal(groups.by_person(people[100:]), parts[100:])
    assert set(parts.tolist()) == {0, 1, 2}


def test_an_arrival_stays_in_one_part_where_there_are_ten():
    ids = [f"{number:06d}.jpg" for number in range(300)]
    sources = {name: f"upload-{number // 25}/{number}.jpg" for number, name in enumerate(ids)}
    parts = groups.of_batch("prod-2026-01-07", ids, sources)
    assert all(
        len(where) == 1 for where in parts_of([sources[one].split("/")[0] for one in ids], parts).values()
    )
    assert np.bincount(parts, minlength=3).tolist() == [250, 25, 25]


def test_an_arrival_of_most_images_is_learnt():
    ids = [f"{number:06d}.jpg" for number in range(300)]
    sources = {name: f"upload-{max(0, number - 280)}/{number}.jpg" for number, name in enumerate(ids)}
    parts = groups.of_batch("monday", ids, sources)
    assert set(parts[:281].tolist()) == {0}


@given(st.integers(1, 9), st.integers(10, 120))
def test_few_arrivals_are_cut_into_runs_of_successive_names(arrivals, images):
    ids = [f"{number:06d}.jpg" for number in range(images)]
    sources = {name: f"upload-{number * arrivals // images}/{name}" for number, name in enumerate(ids)}
    parts = groups.of_batch("monday", ids, sources)
    counts = np.bincount(parts, minlength=3) / images
    assert (counts[1:] >= 0.05).all()
    assert (counts[1:] <= 0.2).all()
    # Runs, not single images, as long as there are more images than runs
    assert (np.diff(parts) != 0).sum() < 30


def test_the_parts_of_a_batch_do_not_depend_on_the_order_of_its_list():
    ids = [f"{number:06d}.jpg" for number in range(90)]
    parts = dict(zip(ids, groups.of_batch("monday", ids, {}).tolist(), strict=True))
    again = groups.of_batch("monday", ids[::-1], {})
    assert [parts[name] for name in ids[::-1]] == again.tolist()


@pytest.mark.parametrize("batch", [False, True], ids=["source", "batch"])
def test_the_people_of_a_list_stay_in_one_part(celeba_folder, batch):
    folder = celeba_folder(partition=False)
    names = [f"{index + 1:06d}.jpg" for index in range(60)]
    people = [str(index // 4) for index in range(60)]
    lines = (f"{name} {person}" for name, person in zip(names, people, strict=True))
    (folder / "identity_CelebA.txt").write_text("\n".join(lines) + "\n")
    read = celeba.read_batch(folder, ("Smiling",), "monday") if batch else celeba.read(folder, ("Smiling",))
    assert all(len(where) == 1 for where in parts_of(people, read.partitions).values())
    assert np.array_equal(read.partitions, groups.by_person(people))
