import time

from benchmarks import turns


def test_contenders_take_turns_and_the_first_round_does_not_count():
    calls = []
    took = turns.seconds(
        {"one": lambda: calls.append("one"), "other": lambda: calls.append("other")}, 3, calls=2
    )
    assert calls == ["one", "one", "other", "other"] * 4
    assert set(took) == {"one", "other"}


def test_the_slower_one_takes_longer_and_one_bad_moment_does_not_matter(monkeypatch):
    clock = 0.0

    def wait(*durations):
        left = iter(durations)

        def run():
            nonlocal clock
            clock += next(left)

        return run

    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    took = turns.seconds({"quick": wait(9, 1, 1, 1), "slow": wait(0, 2, 50, 2)}, 3)
    assert took == {"quick": 1, "slow": 2}
