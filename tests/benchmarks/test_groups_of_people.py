import numpy as np

from benchmarks import groups_of_people


def test_groups_of_people_who_arrive_in_an_order_differ_by_more_than_random_ones() -> None:
    random = np.random.default_rng(3)
    person = np.repeat(np.arange(400), 5)
    own = random.normal(size=(400, 6))
    halves = np.arange(400) // 200
    rows = own[person] + random.normal(size=(2000, 6))
    ratio, p = groups_of_people.differ(rows, person, random.permutation(halves))
    assert ratio < 2
    assert p > 0.01

    ratio, p = groups_of_people.differ(rows + 0.25 * halves[person][:, None], person, halves)
    assert ratio > 3
    assert p < 0.01
