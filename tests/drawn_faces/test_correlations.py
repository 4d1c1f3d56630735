import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drawn_faces import DRAWN_ATTRIBUTES
from drawn_faces.correlations import CELEBA_CORRELATIONS, phi

FACES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


def test_pairs_are_of_drawn_attributes_and_each_is_listed_once() -> None:
    assert all(set(pair) <= set(DRAWN_ATTRIBUTES) and len(set(pair)) == 2 for pair in CELEBA_CORRELATIONS)
    assert len({frozenset(pair) for pair in CELEBA_CORRELATIONS}) == len(CELEBA_CORRELATIONS)


def test_every_drawn_attribute_is_in_a_pair() -> None:
    assert {name for pair in CELEBA_CORRELATIONS for name in pair} == set(DRAWN_ATTRIBUTES)


def test_strongest_pair_comes_first() -> None:
    sizes = [abs(value) for value in CELEBA_CORRELATIONS.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= 1


@given(FACES)
def test_phi_is_that_of_the_table_of_four(faces: list[tuple[bool, bool]]) -> None:
    one, other = np.array(faces).T
    counts = np.array([[np.sum((one == a) & (other == b)) for b in (True, False)] for a in (True, False)])
    edges = counts.sum(axis=0).prod() * counts.sum(axis=1).prod()
    assume(edges > 0)
    assert phi(one, other) == pytest.approx(
        (counts[0, 0] * counts[1, 1] - counts[0, 1] * counts[1, 0]) / np.sqrt(edges)
    )


@given(st.lists(st.booleans(), min_size=2, max_size=20).filter(lambda values: len(set(values)) == 2))
def test_phi_of_an_attribute_with_itself_is_1_and_with_its_opposite_is_minus_1(values: list[bool]) -> None:
    assert phi(np.array(values), np.array(values)) == pytest.approx(1)
    assert phi(np.array(values), ~np.array(values)) == pytest.approx(-1)


@pytest.mark.parametrize("value", [True, False])
def test_phi_of_an_attribute_that_all_or_none_have_is_refused(value: bool) -> None:
    constant, mixed = np.full(4, value), np.array([True, False, True, False])
    with pytest.raises(ValueError, match="with and without"):
        phi(constant, mixed)
    with pytest.raises(ValueError, match="with and without"):
        phi(mixed, constant)
