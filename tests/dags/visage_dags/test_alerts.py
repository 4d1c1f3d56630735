from datetime import UTC, datetime

from visage_dags import alerts
from visage_dags.records import Episode, Past

AT = datetime(2026, 1, 7, tzinfo=UTC)


def follow(record: list[Past], run: str, day: int, there: bool | None) -> dict[str, str] | None:
    at = AT.replace(day=day)
    found = alerts.follow(record, run, at, {"drift": there})
    record.append(Past(run_id=run, at=at, episodes=found))
    return found["drift"] and found["drift"].model_dump(mode="json")


def test_an_episode_lasts_from_the_first_alarm_to_a_check_that_finds_it_gone() -> None:
    record: list[Past] = []
    assert follow(record, "a", 1, False) is None
    first = {"id": "b", "since": "2026-01-02T00:00:00+00:00"}
    assert follow(record, "b", 2, True) == {**first, "state": "begins"}
    assert follow(record, "c", 3, True) == {**first, "state": "goes on"}
    assert follow(record, "d", 4, None) == {**first, "state": "goes on"}
    assert follow(record, "e", 5, False) == {**first, "state": "clears"}
    assert follow(record, "f", 6, False) is None
    assert follow(record, "g", 7, None) is None
    again = follow(record, "h", 8, True)
    assert again == {"id": "h", "since": "2026-01-08T00:00:00+00:00", "state": "begins"}


def test_a_check_that_is_done_again_says_the_same() -> None:
    record: list[Past] = []
    once = follow(record, "a", 1, True)
    assert follow(record, "a", 1, True) == once
    follow(record, "b", 2, True)
    assert follow(record, "a", 1, True) == once, "a later check is no part of its past"


def test_lines_from_before_there_were_episodes_count_as_none() -> None:
    old = [Past(run_id="old", at=AT)]
    found = alerts.follow(old, "new", AT.replace(day=9), {"drift": True, "accuracy": False})
    assert found["drift"] is not None
    assert found["drift"].state == "begins"
    assert found["accuracy"] is None


def test_what_is_not_over_is_open() -> None:
    episodes = {
        "drift": Episode(id="a", since=AT, state="goes on"),
        "accuracy": Episode(id="a", since=AT, state="clears"),
        "other": None,
    }
    assert alerts.open_alarms(episodes) == ["drift"]
