"""What an environment makes of a release that runs: passed, failed or errored, and what follows from it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from gitops.airflow.bundle import ReleaseBundle
from gitops.airflow.health import Observation, Record, Scoring, Tally, judge, worse
from gitops.airflow.health_task import WatchHealth
from gitops.airflow.watch import HealthOfRelease
from gitops.errors import ReleaseError
from gitops.release import health
from gitops.release.checks import Check
from gitops.release.health import Health
from gitops.release.verdicts import Verdict
from tests.gitops.airflow.test_admission import rejection, sign_as
from tests.support.bundles import Make, version
from tests.support.lab import Lab

ALWAYS_FAILS = Record(runs={"new": Tally(2, 2)}, attempts={"new.task": Tally(6, 6)})


def found(seen: Observation, *, over: bool = True) -> tuple[str, list[str]]:
    judged = judge(seen, over=over, slowest=2)
    return judged.state, [check.name for check in judged.checks if check.result == "failed"]


def test_an_idle_environment_is_watched_until_the_time_is_over_and_its_dags_are_read() -> None:
    assert found(Observation(), over=False) == ("watching", [])
    assert found(Observation(parsed=False)) == ("watching", [])
    assert found(Observation()) == ("passed", [])


@pytest.mark.parametrize(
    ("seen", "failed"),
    [
        (Observation(import_errors={"odd.py": "No module named odd"}), ["DAG files that cannot be imported"]),
        (Observation(now=ALWAYS_FAILS), ["failed runs", "failed attempts of tasks"]),
        (
            Observation(now=Record(late=Tally(1, 1)), before=Record(late=Tally(0, 9))),
            ["runs after their deadline"],
        ),
        (
            Observation(now=Record(scoring=Scoring(1000, 100)), before=Record(scoring=Scoring(1000, 10))),
            ["scoring throughput"],
        ),
        (
            Observation(
                now=Record(scoring=Scoring(900, 9, 100)), before=Record(scoring=Scoring(1000, 10, 5))
            ),
            ["images in quarantine"],
        ),
    ],
    ids=["import", "always fails", "late", "ten times as slow", "quarantine"],
)
def test_a_release_that_does_worse_fails_before_the_time_is_over(
    seen: Observation, failed: list[str]
) -> None:
    assert found(seen, over=False) == ("failed", failed)


@pytest.mark.parametrize(
    ("now", "before", "least", "is_worse"),
    [
        (Tally(1, 1), Tally(0, 50), 2, False),  # one bad minute
        (Tally(2, 2), Tally(0, 3), 2, True),
        (Tally(2, 2), Tally(3, 3), 2, False),  # as before
        (Tally(2, 3), Tally(0, 3), 2, False),  # chance explains it
        (Tally(6, 30), Tally(1, 200), 2, True),
        (Tally(6, 30), Tally(40, 200), 2, False),
        (Tally(3, 9), Tally(), 3, False),  # new, and it works at times
        (Tally(3, 3), Tally(), 3, True),
    ],
)
def test_worse_means_clearly_more_often(now: Tally, before: Tally, least: int, is_worse: bool) -> None:
    assert worse(now, before, least=least) == is_worse


def test_an_ill_environment_gives_no_verdict_whatever_failed() -> None:
    judged = judge(
        Observation(now=ALWAYS_FAILS, ill=("disk: full", "scheduler: silent")), over=True, slowest=2
    )
    assert (judged.state, judged.ill) == ("errored", "disk: full; scheduler: silent")


def test_too_few_images_say_nothing_about_the_speed() -> None:
    judged = judge(Observation(now=Record(scoring=Scoring(10, 100))), over=True, slowest=2)
    results = {check.name: check.result for check in judged.checks}
    assert (judged.state, results["scoring throughput"]) == ("passed", "unknown")


class Shown:
    """An environment that shows what a test says."""

    def __init__(self) -> None:
        self.now = Observation()
        self.calls = 0

    def __call__(self, watch: Health, now: datetime) -> Observation:
        assert watch.since <= now
        self.calls += 1
        return self.now


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr("gitops.airflow.observe.import_errors", dict)
    return Shown()


def test_a_release_that_does_worse_is_rejected_and_the_environment_goes_back_once(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "staging", monkeypatch)
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    good, bad = lab.train("a"), lab.train("b")
    lab.declare("staging", f"commit: {good}\n")
    lab.verify("staging", good)
    bundle = make(observe=shown)
    lab.declare("staging", f"commit: {bad}\n")
    bundle.refresh()
    assert version(bundle) == bad
    shown.now = Observation(now=ALWAYS_FAILS, ill=("disk: full",))
    bundle.refresh()
    assert version(bundle) == bad, "the environment is ill"
    assert lab.origin.tags("rejected") == []
    shown.now = Observation(now=ALWAYS_FAILS)
    bundle.refresh()
    verdict = rejection(lab, "staging", bad)
    assert verdict.reason.startswith(
        "failed runs: new 2 of 2 (0 of 0 before); failed attempts of tasks: new.task 6"
    )
    assert len(verdict.checks) == 6
    calls = shown.calls
    for _ in range(3):
        bundle.refresh()
        assert version(bundle) == good, "the release before is verified, and watched by nobody"
    assert shown.calls == calls
    assert [tag.name for tag in lab.origin.tags("rejected/staging")] == [verdict.tag]


def test_a_rollback_is_not_rolled_back(
    lab: Lab, make: Make, shown: Shown, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "staging", monkeypatch)
    first, second, third = lab.train("a"), lab.train("b"), lab.train("c")
    for commit in (first, second, third):
        lab.declare("staging", f"commit: {commit}\n")
    lab.verify("staging", first)
    lab.verify("staging", third)
    bundle = make(observe=shown)
    assert version(bundle) == third
    lab.declare("staging", f"commit: {second}\nhold: third is worse\n")
    shown.now = Observation(now=ALWAYS_FAILS)
    for _ in range(3):
        bundle.refresh()
        assert version(bundle) == second
    assert lab.origin.tags("rejected") == []
    assert "does worse, and stays, as it is a rollback" in lines[-1]


def test_a_watch_ends_with_its_time_and_goes_on_with_an_equal_release(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    bundle = make("dev", observe=shown)
    first = lab.train("a", verified=False)
    bundle.refresh()
    equal = lab.land({"README.md": b"news\n"})
    bundle.refresh()
    watch = health.read(bundle.base_dir)
    assert watch is not None
    assert (watch.releases, watch.state) == ([first, equal], "watching")
    assert watch.until - watch.since == timedelta(hours=1)
    past = {"since": watch.since - timedelta(hours=2), "until": watch.until - timedelta(hours=2)}
    health.write(bundle.base_dir, watch.model_copy(update=past))
    bundle.refresh()
    watch = health.read(bundle.base_dir)
    assert watch is not None
    assert watch.state == "passed"


def failed(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch, environment: str
) -> tuple[ReleaseBundle, str]:
    """Return an environment, and its release that has just been rejected for its health."""
    sign_as(lab, environment, monkeypatch)
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    bundle = make(environment, observe=shown)
    bad = lab.train("b", verified=False)
    bundle.refresh()
    shown.now = Observation(now=ALWAYS_FAILS)
    bundle.refresh()
    assert "failed runs" in rejection(lab, environment, bad).reason
    return bundle, bad


def test_the_failures_of_a_release_do_not_count_for_the_one_that_comes_back(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revert on main is the release of before, under another commit."""
    good = lab.train("a", verified=False)
    lab.verify("dev", good)
    bundle, bad = failed(lab, make, shown, monkeypatch, "dev")
    bundle.refresh()
    assert version(bundle) == good
    reverted = lab.train("a", verified=False)
    assert reverted not in (good, bad)
    for _ in range(3):
        bundle.refresh()
        assert version(bundle) == reverted
    assert [tag.commit for tag in lab.origin.tags("rejected")] == [bad]


def test_a_release_gets_another_chance_where_its_rejection_is_deleted(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the message of `gitops` about it promises; it was never away, as there was no other release."""
    bundle, bad = failed(lab, make, shown, monkeypatch, "dev")
    bundle.refresh()
    assert version(bundle) == bad
    shown.now = Observation()
    lab.origin.git("tag", "--delete", f"rejected/dev/{bad[:12]}")
    for _ in range(3):
        bundle.refresh()
    assert version(bundle) == bad
    assert lab.origin.tags("rejected") == []
    watch = health.read(bundle.base_dir)
    assert watch is not None
    assert watch.state == "watching"


def test_files_that_were_broken_before_the_switch_do_not_count(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitops.airflow.observe.import_errors", lambda: {"odd.py": "why"})
    bundle = make("dev", observe=shown)
    watch = health.read(bundle.base_dir)
    assert watch is not None
    assert watch.known_errors == ["odd.py"]


def test_a_clock_that_is_set_back_does_not_stop_the_watch(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    bundle = make("dev", observe=shown)
    lab.train("a", verified=False)
    bundle.refresh()
    watch = health.read(bundle.base_dir)
    assert watch is not None
    ahead = {"since": watch.since + timedelta(days=900), "until": watch.until + timedelta(days=900)}
    health.write(bundle.base_dir, watch.model_copy(update=ahead))
    bundle.refresh()
    again = health.read(bundle.base_dir)
    assert again is not None
    assert (again.releases, again.state) == (watch.releases, "watching")
    assert again.since - watch.since < timedelta(minutes=5)
    assert again.until - again.since == timedelta(hours=1)


@pytest.mark.parametrize("content", ["{}", '{"format": 2}', "\0" * 500])
def test_a_watch_that_cannot_be_read_begins_again(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """After a crash, or where a later runtime wrote the file."""
    sign_as(lab, "dev", monkeypatch)
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    bundle = make("dev", observe=shown)
    first = lab.train("a", verified=False)
    bundle.refresh()
    (bundle.base_dir / health.FILE).write_text(content)
    bundle.refresh()
    watch = health.read(bundle.base_dir)
    assert watch is not None, "else its verification waits for ever"
    assert (watch.releases, watch.state) == ([first], "watching")
    shown.now = Observation(now=ALWAYS_FAILS)
    bundle.refresh()
    assert "failed runs" in rejection(lab, "dev", first).reason


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path))
    monkeypatch.setattr(HealthOfRelease, "seconds", 0.01)
    (tmp_path / "release").mkdir()
    return tmp_path / "release"


def watched(folder: Path, release: str, **update: object) -> None:
    now = datetime.now(UTC)
    watch = Health(releases=[release], before=None, since=now, until=now)
    health.write(folder, watch.model_copy(update=update))


def event(release: str, then: Callable[[], None] | None = None) -> dict[str, object]:
    async def first() -> dict[str, object]:
        stream = HealthOfRelease(release).run()
        if then:
            asyncio.get_running_loop().call_later(0.05, then)
        return (await asyncio.wait_for(anext(stream), 10)).payload

    return asyncio.run(first())


def test_a_verification_waits_for_the_result_of_the_watch(folder: Path) -> None:
    release = "a" * 40
    assert event(release) == {"state": "unwatched", "checks": []}
    watched(folder, release, state="errored")
    assert event(release, lambda: watched(folder, release, state="passed"))["state"] == "passed"
    watched(folder, "b" * 40)
    assert event(release)["state"] == "replaced"
    (folder / health.FILE).write_text("{}")
    with pytest.raises(ReleaseError, match="releases"):
        health.read(folder)


def test_the_task_adds_the_checks_to_the_verdict(lab: Lab) -> None:
    verdict = lab.verdict("staging", "a" * 40).model_dump(mode="json")
    task = WatchHealth(task_id="watch_health", verdict=verdict)
    check = {"name": "failed runs", "value": "0 of 3", "limit": "1 of 9 before", "result": "passed"}
    done = Verdict.model_validate(task.judge({}, {"state": "passed", "checks": [check]}))
    assert [str(one) for one in done.checks] == ["failed runs: 0 of 3 (1 of 9 before)"]
    with pytest.raises(AirflowFailException, match="is rejected: failed runs"):
        task.judge({}, {"state": "failed", "checks": [check | {"result": "failed"}]})
    with pytest.raises(AirflowSkipException, match="does not run here any more"):
        task.judge({}, {"state": "replaced", "checks": []})
    assert WatchHealth(task_id="x", verdict=verdict | {"reason": "off"}).execute({})["reason"] == "off"


def test_a_watch_that_is_over_needs_no_triggerer(lab: Lab, folder: Path) -> None:
    release = "a" * 40
    verdict = lab.verdict("staging", release).model_dump(mode="json")
    task = WatchHealth(task_id="watch_health", verdict=verdict)
    for state in ("watching", "errored"):
        watched(folder, release, state=state)
        with pytest.raises(TaskDeferred):
            task.execute({})
    watched(folder, "b" * 40, state="passed")
    with pytest.raises(TaskDeferred):
        task.execute({})
    check = {"name": "failed runs", "value": "0 of 3", "limit": "none", "result": "passed"}
    watched(folder, release, state="passed", checks=[Check.model_validate(check)])
    done = Verdict.model_validate(task.execute({}))
    assert [one.name for one in done.checks] == ["failed runs"]
    (folder / health.FILE).write_text("{}")
    with pytest.raises(TaskDeferred):
        task.execute({})


def test_the_first_release_of_an_environment_is_looked_at_once(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "staging", monkeypatch)
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    first, second = lab.train("a"), lab.train("b")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make(observe=shown)
    for release, state in ((first, "passed"), (second, "watching")):
        lab.declare("staging", f"commit: {release}\n")
        bundle.refresh()
        bundle.refresh()
        watch = health.read(bundle.base_dir)
        assert watch
        assert (watch.releases, watch.state) == ([release], state)


def test_airflow_dags_test_does_not_wait_for_a_watch_that_nobody_goes_on_with(
    lab: Lab, make: Make, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["airflow", "dags", "test", "verify_release"])
    monkeypatch.setenv("HEALTH_MINUTES", "60")
    release = lab.train("a")
    lab.declare("staging", f"commit: {release}\n")
    bundle = make(observe=shown)
    assert version(bundle) == release
    assert event(release) == {"state": "unwatched", "checks": []}
