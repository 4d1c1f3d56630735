"""`gitops prune`, by real git and real DVC."""

import contextlib
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.dvc.objects import Objects
from gitops.errors import GitopsError, PushRejectedError
from gitops.git.workspace import Origin
from gitops.people import retention
from gitops.release.settings import Settings
from gitops.upkeep import schedule
from gitops.upkeep.plan import Policy
from gitops.upkeep.prune import Prune
from tests.support.figures import model_md5
from tests.support.lab import Lab
from tests.support.store import Trainings, digests, md5, put

NOW = datetime.now(UTC)
_STOPS = ("kept:", "removed: 7 branches", "in the trash of", "of its trash", "objects of /")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def trainings(lab: Lab, dvc_remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    monkeypatch.chdir(lab.clone.path)
    return Trainings(lab, dvc_remote, lab.clone.path / ".dvc" / "cache", monkeypatch)


@pytest.fixture
def made(trainings: Trainings) -> Trainings:
    """Two releases, a training that nobody merged, one that failed, one that goes on, and garbage."""
    for name, days in (("one", 60), ("two", 50)):
        trainings.run(name, ago(days))
        trainings.release(name, ago(days - 1), "staging")
    trainings.run("worse", ago(40))
    trainings.run("failed", ago(40), ends=False)
    trainings.run("goes-on", ago(0.1), ends=False)
    trainings.make("garbage", ago(300))
    trainings.at(NOW)
    return trainings


def gitops(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def prune(trainings: Trainings, policy: Policy, now: datetime = NOW) -> Prune:
    lab = trainings.lab
    return Prune(lab.clone, lab.remote, Objects(lab.clone.path), policy, now, (trainings.cache,))


def models(place: Path, *names: str) -> set[str]:
    """Return the names whose models a folder has."""
    there = digests(place)
    return {name for name in names if model_md5(name) in there}


OBJECTS = 3  # that each training has of its own
ALL = ("one", "two", "worse", "failed", "goes-on", "garbage")


@pytest.mark.long
def test_the_plan_is_shown_first_and_carried_out_on_request(made: Trainings) -> None:
    before = digests(made.store), made.references("")
    shown = gitops("prune", "--runs", "1")
    assert shown.exit_code == 0, shown.output
    assert "would be removed: branch run/one (ended: it has a tag archive/)" in shown.output
    assert "would be removed: 6 objects of storage" in shown.output, shown.output
    assert "add --yes" in shown.output
    assert (digests(made.store), made.references("")) == before

    done = gitops("prune", "--runs", "1", "--yes")
    assert done.exit_code == 0, done.output
    assert made.references("archive/", "run/") == [
        "run/goes-on",
        "archive/one",
        "archive/two",
        "archive/worse",
    ]
    kept = {"one", "two", "worse", "goes-on"}
    for place in (made.store / "files" / "md5", made.cache):
        assert models(place, *ALL) == kept
        assert md5(b"a part of all") in digests(place)
    assert models(made.store / "files" / "trash", *ALL) == {"garbage", "failed"}
    assert gitops("doctor").exit_code == 0


@pytest.mark.long
def test_a_prune_that_is_killed_goes_on(made: Trainings) -> None:
    command = ("prune", "--runs", "1", "--releases", "1", "--yes")
    made.run("newest", ago(20))
    for stop in _STOPS:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "gitops", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if stop in line:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL)
    done = gitops(*command)
    assert done.exit_code == 0, done.output
    assert made.references("archive/", "run/") == ["run/goes-on", "archive/newest", "archive/two"]
    for place in (made.store / "files" / "md5", made.cache):
        assert models(place, "newest", *ALL) == {"two", "goes-on", "newest"}
    assert gitops("doctor", "--releases", "1").exit_code == 0


@pytest.mark.long
def test_objects_that_a_training_needs_again_come_back(made: Trainings) -> None:
    work = prune(made, Policy())
    due, store = work.plan()
    # DVC saw the old objects on the remote, and did not push them again; the commit comes between
    made.run("garbage", NOW, ends=False)
    work.act(due, store)
    assert "garbage" in models(made.store / "files" / "md5", *ALL)
    assert f"{md5(b'a part of garbage')}" in digests(made.store / "files" / "md5")

    # It comes after the prune: the next one puts them back
    made.lab.origin.git("update-ref", "-d", "refs/heads/run/garbage")
    made.age(20)
    work.act(*work.plan())
    assert "garbage" not in models(made.store / "files" / "md5", *ALL)
    made.lab.branch("mine", dict(made.make("garbage", NOW)))
    for digest in digests(made.store / "files" / "trash"):
        (made.store / "files" / "md5" / digest[:2] / digest[2:]).unlink(missing_ok=True)
    assert gitops("prune", "--yes").exit_code == 0
    assert "garbage" in models(made.store / "files" / "md5", *ALL)


@pytest.mark.long
def test_the_work_of_a_checkout_stays(made: Trainings) -> None:
    clone, old = made.lab.clone, ago(300)
    clone.git("update-ref", "refs/heads/mine", clone.resolve("HEAD"))
    mine = clone.commit_files(clone.resolve("HEAD"), dict(made.make("branch", old)), "Mine")
    clone.git("update-ref", "refs/heads/mine", mine)
    pointer = clone.path / "data" / "new.dvc"
    pointer.parent.mkdir()
    pointer.write_text(f"outs:\n- md5: {put(made.cache, b'added', old)}\n  path: new\n")
    for content in (b"added", b"not pushed"):
        put(made.cache, content, old)
    put(made.store, b"added", old)
    done = gitops("prune", "--yes")
    assert done.exit_code == 0, done.output
    assert {md5(b"added"), md5(b"not pushed"), model_md5("branch")} <= digests(made.cache)
    assert {md5(b"added"), model_md5("branch")} <= digests(made.store / "files" / "md5")
    assert "garbage" not in models(made.cache, *ALL)


@pytest.mark.long
def test_the_engine_and_the_settings_of_a_checkout_do_not_mix(made: Trainings, tmp_path: Path) -> None:
    """The objects of the company's remote look like garbage to the local engine."""
    company, engine = tmp_path / "company", made.lab.clone.path / ".visage" / "dvc-config"
    put(company, b"of the company", ago(300))
    config = made.lab.clone.path / ".dvc" / "config.local"
    config.write_text(f"[core]\nremote = company\n['remote \"company\"']\nurl = {company}\n")
    engine.mkdir(parents=True)
    named = f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {made.store}\n"
    (engine / "config").write_text(named)
    made.lab.clone.git("remote", "rename", "origin", "visage")
    done = gitops("prune", "--yes")
    assert done.exit_code == 0, done.output
    assert md5(b"of the company") in digests(company / "files" / "md5")
    assert "garbage" not in models(made.store / "files" / "md5", *ALL)


@pytest.mark.long
def test_the_trash_is_emptied_after_as_many_days(made: Trainings) -> None:
    work = prune(made, Policy(days=14))
    work.act(*work.plan())
    trash = made.store / "files" / "trash"
    assert models(trash, *ALL) == {"garbage"}
    for days, left in ((14, {"garbage"}), (16, set())):
        later = prune(made, Policy(days=14), NOW + timedelta(days=days))
        later.act(*later.plan())
        assert models(trash, *ALL) == left


@pytest.mark.long
@pytest.mark.long
@pytest.mark.parametrize("lines", ["", "shadow: {0}\n", "canary: {0}\nshare: 10\n"])
def test_the_model_of_a_shadow_or_a_canary_stays(trainings: Trainings, lines: str) -> None:
    tried = trainings.release("tried", ago(90))
    released = trainings.release("released", ago(80), "staging")
    trainings.release("newest", ago(70))
    trainings.lab.declare("staging", f"commit: {released}\n{lines.format(tried)}")
    trainings.at(NOW)
    trainings.age(60)
    done = gitops("prune", "--releases", "1", "--yes")
    assert done.exit_code == 0, done.output
    kept = {"released", "newest"} | ({"tried"} if lines else set())
    assert models(trainings.store / "files" / "md5", "tried", "released", "newest") == kept


def test_a_branch_that_moved_meanwhile_stays(made: Trainings) -> None:
    work = prune(made, Policy(runs=1))
    due, store = work.plan()
    made.lab.branch("run/one", {"README.md": b"more"})
    with pytest.raises(PushRejectedError):
        work.act(due, store)
    assert "run/one" in made.references("run/")
    assert models(made.store / "files" / "md5", *ALL) == set(ALL)


@pytest.mark.long
def test_nothing_goes_while_main_is_another_one_or_a_list_is_lost(made: Trainings) -> None:
    work = prune(made, Policy())
    tip = made.lab.tip
    made.lab.origin.git("update-ref", "refs/heads/main", made.lab.origin.resolve(f"{tip}~3"))
    with pytest.raises(GitopsError, match="rewritten"):
        work.plan()
    made.lab.origin.git("update-ref", "refs/heads/main", tip)
    for place in (made.store / "files" / "md5", made.cache):
        for path in place.rglob("*.dir"):
            path.unlink()
    shown = gitops("prune", "--yes")
    assert shown.exit_code == 0, shown.output
    assert "No object goes" in shown.output
    assert models(made.store / "files" / "md5", *ALL) == set(ALL)


@pytest.mark.long
def test_an_environment_prunes_by_its_settings(made: Trainings, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    origin = Origin(str(made.lab.origin.path))

    def settings(days: int) -> Settings:
        given = {"VISAGE_ENVIRONMENT": "dev", "RETENTION_DAYS_OBJECTS": str(days), "RETENTION_RUNS": "1"}
        return Settings.from_environ(given)

    place = {"mirror": tmp_path / "mirror", "now": NOW}
    line = schedule.remove_expired(origin, "dev", home, settings=settings(0), **place)
    assert "pruned" not in line
    assert "run/one" in made.references("run/")
    assert schedule.check_storage(origin, "dev", home, settings=settings(0), **place)["objects"] > 0
    line = schedule.remove_expired(origin, "dev", home, settings=settings(14), **place)
    assert line["pruned"] == {"references": 4, "objects": 6}
    recorded = retention.last(home)
    assert recorded
    assert recorded.pruned == line["pruned"]
    assert "run/one" not in made.references("run/")
    lost = made.store / "files" / "md5" / model_md5("two")[:2] / model_md5("two")[2:]
    lost.unlink()
    with pytest.raises(GitopsError, match=r"models/model.onnx of [0-9a-f]{12}, which dev ran"):
        schedule.check_storage(origin, "dev", home, settings=settings(14), **place)
