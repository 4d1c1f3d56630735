import itertools
import threading

import pytest

from face_attributes.decoding import ahead


def test_results_come_in_order():
    assert list(ahead(lambda number: number * number, range(1000))) == [number**2 for number in range(1000)]


def test_runs_only_a_little_ahead():
    started = itertools.count()
    results = ahead(lambda _: next(started), itertools.count())
    assert next(results) == 0
    results.close()
    assert next(started) <= 256 + 1


def test_an_error_reaches_the_reader_in_its_turn():
    def fail_at_three(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = ahead(fail_at_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_leaves_no_thread_behind():
    before = threading.active_count()
    results = ahead(str, range(1000))
    next(results)
    results.close()
    assert threading.active_count() == before
