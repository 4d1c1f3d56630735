import asyncio
import json
import os
import pkgutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from airflow.sdk import AssetWatcher
from airflow.triggers.base import TriggerEvent

from gitops import tasks
from gitops.airflow.watch import IncomingBatches, UntriedBatches, UnverifiedRelease, Watch
from gitops.release import serving
from gitops.release.serving import Serving

SHA = "0123456789" * 4
TRIED = SHA[::-1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    for watch in (Watch, UntriedBatches):
        monkeypatch.setattr(watch, "seconds", 0.01)
    return tmp_path


class Events:
    """The events of a watcher, as the triggerer takes them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watcher: Watch) -> None:
        self._loop = loop
        self._stream: AsyncIterator[TriggerEvent] = watcher.run()

    def next(self) -> list[str]:
        return self._loop.run_until_complete(asyncio.wait_for(anext(self._stream), 10)).payload

    def none_for(self, seconds: float) -> bool:
        async def ended() -> bool:
            try:
                await asyncio.wait_for(anext(self._stream), seconds)
            except TimeoutError:
                return True
            return False

        return self._loop.run_until_complete(ended())


@contextmanager
def watching(watcher: Watch) -> Iterator[Events]:
    with asyncio.Runner() as runner:
        yield Events(runner.get_loop(), watcher)


def test_a_batch_starts_a_run_and_an_idle_folder_starts_none(home: Path) -> None:
    with watching(IncomingBatches()) as events:
        incoming = home / "incoming"
        incoming.mkdir()
        (incoming / ".arriving").mkdir()
        (incoming / ".arriving").rename(incoming / "monday")
        assert events.next() == ["monday"]
        # Its photographs are written while it waits, and another one comes.
        (incoming / "monday/.visage-arrival").write_text("monday")
        (incoming / "tuesday").mkdir()
        assert events.next() == ["monday", "tuesday"]
        (incoming / "monday").rename(home / "scored")
    with watching(IncomingBatches()) as events:
        assert events.next() == ["tuesday"], "a triggerer that starts again"
        (incoming / "tuesday").rename(home / "scored-too")
        assert events.none_for(0.3)


def test_a_batch_of_the_same_name_starts_a_run_of_its_own(home: Path) -> None:
    folder = home / "incoming/upload"
    folder.mkdir(parents=True)
    with watching(IncomingBatches()) as events:
        assert events.next() == ["upload"]
        folder.rename(home / "scored")
        folder.mkdir()
        assert events.next() == ["upload"]


def test_work_whose_run_failed_starts_more_runs_and_ever_more_seldom(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "again", 0.2)
    monkeypatch.setattr(Watch, "longest", 0.4)
    (home / "incoming/monday").mkdir(parents=True)
    with watching(IncomingBatches()) as events:
        times = [(events.next(), time.monotonic())[1] for _ in range(4)]
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] >= 0.15
    assert min(pauses[1:]) >= 0.35


def test_odd_names_and_missing_variables_end_no_watcher(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(IncomingBatches()) as events:
        monkeypatch.delenv("VISAGE_HOME")
        assert events.none_for(0.1)
    assert capsys.readouterr().out.count("VISAGE_HOME") == 1
    monkeypatch.setenv("VISAGE_HOME", str(home))
    (home / "incoming").mkdir()
    Path(os.fsdecode(os.fsencode(home) + b"/incoming/caf\xe9")).mkdir()
    with watching(IncomingBatches()) as events:
        assert events.next() == ["caf\\xe9"]


def serve(bundle: Path, *, commit: str | None = SHA, unverified: bool) -> None:
    bundle.mkdir(parents=True, exist_ok=True)
    record = Serving(environment="dev", commit=commit, declared=commit, unverified=unverified)
    serving.write(bundle, record)


def test_a_release_that_takes_the_place_of_another_waits_until_it_is_parsed(home: Path) -> None:
    bundle, watcher, other = home / "bundles/release", UnverifiedRelease(), SHA[::-1]
    serve(bundle, unverified=False)
    assert watcher.work() == {}
    serve(bundle, commit=other, unverified=True)
    assert [watcher.work(), watcher.work()] == [{}, {other: other[:12]}]
    assert UnverifiedRelease().work() == {other: other[:12]}, "a triggerer that starts again"


def test_a_release_without_a_verdict_starts_a_run(home: Path) -> None:
    bundle = home / "bundles/release"
    with watching(UnverifiedRelease()) as events:
        serve(bundle, unverified=True)
        assert events.next() == [SHA[:12]]
        serve(bundle, unverified=False)
    for record in ({"commit": SHA, "unverified": False}, {"commit": None, "unverified": True}):
        serve(bundle, **record)
        with watching(UnverifiedRelease()) as events:
            assert events.none_for(0.1)
    (bundle / serving.FILE).write_text("{")
    with watching(UnverifiedRelease()) as events:
        assert events.none_for(0.1)
        serve(bundle, commit=SHA[::-1], unverified=True)


def test_a_trial_starts_on_the_batches_that_exist_and_on_each_new_one(home: Path) -> None:
    bundle, folder = home / "bundles/release", home / "shadows" / TRIED[:12]
    bundle.mkdir(parents=True)

    def scored(name: str, model: str = "a" * 64) -> None:
        summary = home / "scores/date=2026-01-05" / f"{name}.json"
        summary.parent.mkdir(parents=True, exist_ok=True)
        (home / "scored" / name).mkdir(parents=True)
        summary.write_text(json.dumps({"batch": name, "model_sha256": model}))

    def serve(trial: str | None) -> None:
        models = ("a" * 64,) if trial else ()
        record = Serving(environment="dev", commit=SHA, declared=SHA, trial=trial, trial_models=models)
        serving.write(bundle, record)

    scored("monday")
    serve(None)
    with watching(UntriedBatches()) as events:
        assert events.none_for(0.1)
    serve(TRIED)
    with watching(UntriedBatches()) as events:
        assert events.next() == ["monday"]
        scored("online-0123-20260105T101010")
        assert events.next() == ["monday", "online-0123-20260105T101010"]
    # Results, and batches that cannot be tried, are no work.
    (folder / "date=2026-01-05").mkdir(parents=True)
    (folder / "date=2026-01-05/monday.parquet").touch()
    for notes, name in (("failed", "bad"), ("unpaired", "worse")):
        (folder / notes).mkdir()
        (folder / notes / name).touch()
        scored(name)
    scored("of-another-model", "b" * 64)
    scored("without-photographs")
    (home / "scored/without-photographs").rmdir()
    (home / "scores/date=2026-01-05/damaged.json").write_text("{")
    (home / "scored/damaged").mkdir()
    with watching(UntriedBatches()) as events:
        assert events.next() == ["online-0123-20260105T101010"]
        (folder / "date=2026-01-05/online-0123-20260105T101010.parquet").touch()
        # The online service notes that its canary fails.
        (folder / "failed/online-20260105T111111").touch()
        assert events.next() == ["online-20260105T111111"]
        serve(None)
    with watching(UntriedBatches()) as events:
        assert events.none_for(0.1)


@pytest.mark.parametrize(
    "watcher", [tasks.incoming_batches(), tasks.unverified_release(), tasks.untried_batches()], ids=str
)
def test_the_triggerer_makes_a_watcher_from_its_record(watcher: AssetWatcher) -> None:
    classpath, arguments = watcher.trigger.serialize()
    assert isinstance(pkgutil.resolve_name(classpath)(**arguments), Watch)


def test_a_run_that_began_before_the_release_was_parsed_is_followed_by_another_soon(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert UnverifiedRelease.again <= 15
    monkeypatch.setattr(UnverifiedRelease, "again", 0.1)
    bundle = home / "bundles/release"
    bundle.mkdir(parents=True)
    serving.write(bundle, Serving(environment="dev", commit=SHA, declared=SHA, unverified=True))
    with watching(UnverifiedRelease()) as events:
        assert [events.next(), events.next()] == [[SHA[:12]], [SHA[:12]]]
