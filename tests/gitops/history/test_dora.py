import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from gitops.history.dora import Delivery, measure
from gitops.history.load import load_past, load_verdicts
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from tests.support.lab import Lab

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=28)


class Clock:
    """The time at which git commits."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.set(0)

    def set(self, hours: float) -> datetime:
        now = START + timedelta(hours=hours)
        for role in ("AUTHOR", "COMMITTER"):
            self._patch.setenv(f"GIT_{role}_DATE", f"@{int(now.timestamp())} +0000")
        return now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases: staging verified the first, rejected the second, and was rolled back."""
    folder = tmp_path_factory.mktemp("dora") / "lab"
    with pytest.MonkeyPatch.context() as patch:
        _make(folder, Clock(patch))
    return folder


@pytest.fixture
def lab(tmp_path: Path, template: Path) -> Lab:
    return Lab(tmp_path / "lab", template)


def _make(folder: Path, clock: Clock) -> None:
    lab = Lab(folder)
    clock.set(10)
    first = lab.train("a", verified=False)
    lab.verify("dev", first, at=clock.set(11))
    clock.set(12)
    lab.merge(lab.promote("staging").branch)
    lab.verify("staging", first, at=clock.set(13))
    clock.set(20)
    second = lab.train("b", verified=False)
    lab.verify("dev", second, at=clock.set(23))
    clock.set(24)
    lab.merge(lab.promote("staging").branch)
    lab.verify("staging", second, "rejected", at=clock.set(25))
    clock.set(30)
    proposal = rollback(lab.clone, lab.state(), "staging", "origin")
    push(lab.clone, "origin", proposal)
    lab.merge(proposal.branch)


def measured(lab: Lab, **options: datetime) -> dict[str, Delivery]:
    state = lab.state()
    past = load_past(lab.clone, state.tip, remote="origin")
    verdicts = load_verdicts(lab.clone, past, state)
    rows = measure(past, state.environments, verdicts, now=START + timedelta(days=28), **options)
    return {row.environment: row for row in rows}


def hours(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(hours=value) for value in values)


def test_the_four_metrics_of_a_release_that_failed(lab: Lab) -> None:
    found = measured(lab)
    assert list(found) == ["dev", "staging", "prod"]
    dev, staging, prod = found.values()
    # The start, a and b; the start was verified as a part of a.
    assert (len(dev.deployments), dev.lead_times) == (3, hours(11, 1, 3))
    assert dev.per_week == pytest.approx(3 / 4)
    assert (dev.failure_rate, dev.restore_times, dev.unrestored) == (0.0, (), 0)
    # A rollback is no deployment of a change; b reached nobody.
    assert (len(staging.deployments), staging.rollbacks, staging.lead_times) == (2, 1, hours(13, 3))
    assert (staging.failure_rate, staging.restore_times) == (0.5, hours(6))
    assert [one.undone for one in staging.failed] == [True]
    assert (prod.deployments, prod.failure_rate, prod.per_week) == ((), None, 0)


def test_a_change_counts_where_its_own_release_was_skipped(lab: Lab, clock: Clock) -> None:
    clock.set(40)
    third = lab.train("c", verified=False)
    lab.verify("dev", third, at=clock.set(41))
    clock.set(42)
    lab.declare("staging", f"commit: {third}\n")
    lab.verify("staging", third, at=clock.set(44))
    staging = measured(lab)["staging"]
    assert staging.lead_times == hours(13, 3, 24, 4)
    late = measured(lab, since=START + timedelta(hours=35))["staging"]
    assert (len(late.deployments), late.rollbacks, late.lead_times) == (1, 0, hours(24, 4))
    assert (late.failure_rate, late.restore_times) == (0, ())


def test_a_failure_is_open_until_a_verified_release_is_declared(lab: Lab, clock: Clock) -> None:
    clock.set(50)
    third = lab.train("c", verified=False)
    lab.declare("staging", f"commit: {third}\n")
    lab.verify("staging", third, "rejected", at=clock.set(51))
    staging = measured(lab)["staging"]
    assert (staging.unrestored, staging.restore_times) == (1, hours(6))
    clock.set(60)
    fourth = lab.train("d", verified=False)
    lab.declare("staging", f"commit: {fourth}\n")
    assert measured(lab)["staging"].unrestored == 1
    lab.verify("staging", fourth, at=clock.set(61))
    assert measured(lab)["staging"].restore_times == hours(6, 11)


def test_the_command(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.clone.path)
    shown = CliRunner().invoke(app, ["dora"])
    assert shown.exit_code == 0
    assert "50% (1 of 2)" in " ".join(shown.stdout.split()).replace(" │ │ ", " ")
    found = json.loads(CliRunner().invoke(app, ["dora", "--json"]).stdout)
    assert found["since"] is None
    staging = found["environments"][1]
    assert staging["lead_time_hours"] == {"median": 8.0, "p90": 12.0, "count": 2}
    assert staging["time_to_restore_hours"] == {"median": 6.0, "p90": 6.0, "count": 1}
    assert [row["rolled_back"] for row in staging["failed"]] == [True]
    recent = CliRunner().invoke(app, ["dora", "--json", "--since", f"{datetime.now(UTC):%Y-%m-%d}"])
    assert json.loads(recent.stdout)["environments"][1]["deployments"] == 0
