"""A year of releases on a fake clock: `make demo-year` prints it. Evidence files stand for trainings."""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from gitops.dvc.objects import Objects
from gitops.upkeep.doctor import examine, needs
from gitops.upkeep.plan import MARKS, Policy, kept_releases
from gitops.upkeep.prune import Prune
from tests.support.lab import Lab
from tests.support.store import Trainings, digests, put

WEEKS, INCIDENTS, DRIFTS, RESTORE = 52, (12, 28, 44), (18, 35), 30
OBJECTS = 5
"""The objects on the DVC remote that belong to one model alone, at most."""
KEPT = Policy(days=14, runs=6, releases=4, candidate_days=60)
NOW = datetime.now(UTC)
REPORTS = (("board", "--json"), ("audit", "--json"), ("dora", "--json"), ("runs", "--json"))


def gitops(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, (arguments, done.output)
    return done.stdout


@pytest.fixture
def trainings(tmp_path: Path, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(
            f"GIT_{who}_DATE", f"@{int((NOW - timedelta(days=7 * WEEKS + 1)).timestamp())} +0000"
        )
    lab = Lab(tmp_path / "lab")
    monkeypatch.chdir(lab.clone.path)
    return Trainings(lab, dvc_remote, lab.clone.path / ".dvc" / "cache", monkeypatch)


class Year:
    """The people and the environments of a year, and what the commands say about it."""

    def __init__(self, trainings: Trainings, folder: Path) -> None:
        self.trainings, self.lab, self.folder = trainings, trainings.lab, folder
        self.at = NOW
        self.sizes: list[dict[str, int]] = []
        self.seconds: list[dict[str, float]] = []
        self.events: Counter[str] = Counter()

    def later(self, **span: float) -> None:
        self.at += timedelta(**span)
        self.trainings.at(self.at)

    def propose(self, branch: str, *command: str) -> None:
        """Propose something with a command, and merge it with another."""
        gitops(*command, "--push")
        self.later(minutes=10)
        gitops("merge", branch)
        self.later(minutes=10)

    def promote(self, environment: str, verdict: str = "verified") -> None:
        self.propose(f"promote/{environment}", "promote", environment)
        self.judge(environment, verdict)

    def judge(self, environment: str, verdict: str) -> None:
        release = self.lab.state().present(environment).commit
        assert release is not None
        if verdict == "verified" and self.lab.state().verdicts.verified(environment, release):
            return  # a release that was there before
        self.lab.verify(environment, release, verdict, at=self.at)

    def week(self, number: int) -> None:
        self.at = NOW - timedelta(days=7 * (WEEKS - number))
        self.later()
        name = f"week-{number}"
        self.trainings.run(name, self.at, ends=number % 5 != 4)
        if number in DRIFTS:
            # A labelled batch that drifted is appended, and the next model has learned from it.
            digest = put(self.trainings.store, b"labelled in " + name.encode(), self.at)
            pointer = f"outs:\n- md5: {digest}\n  hash: md5\n  path: {name}\n".encode()
            self.lab.land({f"data/labelled/{name}.dvc": pointer}, message=f"Label {name}")
            self.events["drifts"] += 1
        self.trainings.release(name, self.at)
        self.events["releases"] += 1
        if number % 3 == 1:
            self.trainings.candidate(f"idle-{number}", self.at)
        self.later(hours=1)
        if number % 2 == 0:
            self.promote("staging")
        if number % 4 == 0:
            self.promote("prod", "rejected" if number in INCIDENTS else "verified")
        if number in INCIDENTS:
            self.later(hours=1)
            self.propose("rollback/prod", "rollback", "prod")
            self.judge("prod", "verified")
            self.later(days=1)
            self.propose("unhold/prod", "unhold", "prod")
            self.events["incidents"] += 1
        if number == RESTORE:
            self.restore()

    def restore(self) -> None:
        """Lose the repository, and put a backup of it in its place: the audit has every event as before."""
        export = self.folder / "audit.csv"
        export.write_text(gitops("audit", "--csv"))
        origin, bundle = self.lab.origin, self.folder / "origin.bundle"
        origin.git("bundle", "create", "--quiet", str(bundle), "--all")
        shutil.rmtree(origin.path)
        origin.path.mkdir()
        origin.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
        origin.git("fetch", "--quiet", str(bundle), "+refs/*:refs/*")
        assert "Git has all" in gitops("audit", "--verify", str(export))
        self.events["restores"] += 1

    def upkeep(self) -> None:
        """Prune, check that every object that is kept is there, and measure."""
        self.later(hours=1)
        trainings = self.trainings
        work = Prune(
            self.lab.clone, self.lab.remote, Objects(self.lab.clone.path), KEPT, self.at, (trainings.cache,)
        )
        work.act(*work.plan())
        facts, store = work.facts()
        found = examine(work.objects, needs(facts, kept_releases(facts, KEPT)), store, most=0, day=NOW.date())
        assert found.faults == ()
        self.sizes.append(
            {
                "objects on the DVC remote": len(digests(trainings.store / "files" / "md5")),
                "objects in its trash": len(digests(trainings.store / "files" / "trash")),
                "objects in the cache": len(digests(trainings.cache)),
                "branches and tags": sum(
                    not f"refs/tags/{one}".startswith(MARKS) for one in trainings.references("")
                ),
            }
        )
        self.seconds.append({command[0]: _seconds(*command) for command in REPORTS})


def _seconds(*command: str) -> float:
    began = time.monotonic()
    gitops(*command)
    return time.monotonic() - began


def _table(title: str, rows: Sequence[Mapping[str, float]], form: str) -> str:
    quarters = [rows[round(part * (len(rows) - 1) / 4)] for part in range(1, 5)]
    lines = [f"{name:<28}" + "".join(f"{row[name]:>12{form}}" for row in quarters) for name in rows[0]]
    return "\n".join([f"{title} after quarter".ljust(28) + "".join(f"{one:>12}" for one in "1234"), *lines])


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_nothing_grows_without_a_bound_in_a_year(
    trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    year = Year(trainings, tmp_path)
    for number in range(WEEKS):
        year.week(number)
        if number % 4 == 3:
            year.upkeep()
    delivery = {row["environment"]: row for row in json.loads(gitops("dora", "--json"))["environments"]}
    prod = delivery["prod"]
    lines = [f"{name}: {count}" for name, count in year.events.items()]
    lines += [
        f"{name}: {row['deployments']} deployments, {row['rollbacks']} rollbacks, {len(row['failed'])} failed"
        for name, row in delivery.items()
    ]
    origin = trainings.lab.origin
    size = sum(path.stat().st_size for path in origin.path.rglob("*") if path.is_file())
    lines.append(
        f"git: {size / 1e6:.1f} MB, {origin.git('rev-list', '--count', 'main').strip()} commits of main"
    )
    with capsys.disabled():
        tables = _table("number", year.sizes, "d"), _table("seconds", year.seconds, ".2f")
        sys.stdout.write("\n".join(["", *lines, *tables, ""]))
    assert year.events == {
        "releases": WEEKS,
        "incidents": len([week for week in INCIDENTS if week < WEEKS]),
        "drifts": len([week for week in DRIFTS if week < WEEKS]),
        "restores": 1,
    }
    assert delivery["dev"]["deployments"] >= WEEKS
    assert (delivery["staging"]["deployments"], prod["deployments"]) == (WEEKS // 2, WEEKS // 4)
    assert (len(prod["failed"]), prod["rollbacks"], prod["unrestored"]) == (len(INCIDENTS),) * 2 + (0,)
    # From the middle of the year on nothing grows, but for the rhythm of the weeks.
    third = len(year.sizes) // 3
    for name in year.sizes[0]:
        every = [row[name] for row in year.sizes]
        assert max(every[-third:]) <= max(every[third:-third]) + 2 * OBJECTS, (name, every)
    # A commit of main is never deleted. So the time of a command grows with it, and by no more.
    for name in year.seconds[0]:
        every = [row[name] for row in year.seconds]
        assert max(every[-third:]) < 12 * max(min(every), 0.5), (name, every)
