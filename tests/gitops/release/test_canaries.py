from collections import Counter

from gitops.release import canaries

COMMIT, OTHER = "a" * 40, "b" * 40
NAMES = [f"batch-{number}" for number in range(5000)]


def test_a_retry_has_the_same_answer_and_a_larger_share_has_more() -> None:
    chosen: set[str] = set()
    for share in (0, *canaries.STEPS, 99, 100):
        now = {name for name in NAMES if canaries.picks(name, COMMIT, share)}
        assert now == {name for name in reversed(NAMES) if canaries.picks(name, COMMIT, share)}
        assert chosen <= now
        assert abs(len(now) / len(NAMES) - share / 100) < 0.02
        chosen = now
    assert len(chosen) == len(NAMES)


def test_another_canary_gets_another_part() -> None:
    pairs = Counter((canaries.picks(n, COMMIT, 10), canaries.picks(n, OTHER, 10)) for n in NAMES)
    assert 25 <= pairs[True, True] <= 85  # one of a hundred


def test_any_name_of_a_folder_has_an_answer() -> None:
    assert canaries.picks("\udcff odd", COMMIT, 100)


def test_the_steps_lead_to_a_promotion() -> None:
    steps = [3]
    while (step := canaries.next_step(steps[-1])) is not None:
        steps.append(step)
    assert steps == [3, 5, 10, 25, 50]
