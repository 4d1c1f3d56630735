from datetime import timedelta

import pytest

from dashboard import checks, late_labels
from tests.dashboard.world import NOW, SLICES, World, performance
from tests.support.figures import ATTRIBUTES


def read(world: World) -> late_labels.LateLabels | None:
    return late_labels.read(world.home, checks.read(world.home).checks)


def test_the_latest_check_with_enough_labels_tells_worst_first(world: World) -> None:
    world.check(NOW - timedelta(days=14), performance=performance(0.7))
    world.check(NOW - timedelta(days=7), performance=performance(0.9))
    world.check(NOW, performance=performance(None))
    found = read(world)
    assert found is not None
    assert (found.at, found.images) == (NOW - timedelta(days=7), 640)
    assert {row.name for row in found.attributes} == set(ATTRIBUTES)
    assert {row.name for row in found.slices} == set(SLICES), "of a handful nothing can be said"
    for rows in (found.attributes, found.slices):
        assert [row.accuracy.value for row in rows] == sorted(row.accuracy.value for row in rows)
    assert all(row.majority >= 0.5 for row in found.attributes)
    assert all(row.count for row in found.slices)


def test_without_a_check_with_labels_there_is_nothing(world: World) -> None:
    assert read(world) is None
    world.check(NOW)
    assert read(world) is None


@pytest.mark.parametrize(
    "content", [None, b"{", b"[]", b"{}", b'{"per_attribute": {"Bald": 3}, "slices": 1}']
)
def test_evidence_that_is_damaged_or_gone_leaves_the_rest(world: World, content: bytes | None) -> None:
    world.check(NOW, performance=performance(0.9))
    [path] = world.home.glob("monitoring/*/performance.json")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert read(world) is None
