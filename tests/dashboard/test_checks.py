import json
from datetime import timedelta

import pytest

from dashboard import checks
from gitops.model.metrics import Interval
from tests.dashboard.world import NOW, World, check_line, column, performance


def test_no_check_yet(world: World) -> None:
    assert checks.read(world.home) == checks.Checks((), ())


def test_checks_come_newest_first_with_their_evidence(world: World) -> None:
    world.check(NOW - timedelta(days=7))
    drift = {"drifted": True, "rows": 900, "columns": {"Male_score": column(0.4), "blur": column(0.2)}}
    world.check(NOW, drift=drift, performance=performance(0.8), decision="retrain")
    late, early = checks.read(world.home).checks
    assert (late.at, early.at) == (NOW, NOW - timedelta(days=7))
    assert [shift.column for shift in late.moved] == ["Male_score", "blur"]
    assert late.largest.column == "Male_score"
    assert late.largest.share == pytest.approx(4)
    assert late.accuracy == Interval(0.8, 0.79, 0.81)
    assert late.below
    assert early.largest.share == pytest.approx(0.2), "from the evidence, where no column moved"
    assert (early.accuracy, early.below) == (None, None)
    assert early.reference == {"Smiling": 0.38}
    assert late.report == f"scheduled__{NOW:%Y-%m-%dT%H%M%S}Z"
    assert early.report != late.report


def test_alarms_and_their_episodes_are_said_and_unknown_keys_passed_over(world: World) -> None:
    begins = {"id": "a", "since": "2026-11-01T00:00:00+00:00", "state": "begins"}
    world.check(NOW, alarm=["drift"], episodes={"drift": begins, "accuracy": None}, windows=[1], other={})
    world.check(NOW, alarm=[], episodes={"drift": {**begins, "state": "clears"}})
    found = [(check.alarm, check.episodes) for check in checks.read(world.home).checks]
    assert found == [
        ("drift", ("drift begins, since 2026-11-01",)),
        (None, ("drift clears, since 2026-11-01",)),
    ]


def test_lines_of_the_wrong_kind_are_named_and_the_others_read(world: World) -> None:
    world.check(NOW)
    record = world.home / checks.RECORD
    odd = check_line(NOW, "monitoring/x")
    odd["performance"]["mean_accuracy"] = "high"
    lines = b'{"at"\n\n3\nnull\n{"at": "never"}\n{}\n\xff\n' + json.dumps(odd).encode() + b"\n"
    later = json.dumps(check_line(NOW, "monitoring/x") | {"format": 2}).encode() + b"\n"
    record.write_bytes(record.read_bytes() + lines + later)
    world.check(NOW)
    found = checks.read(world.home)
    assert [number for number, _ in found.damaged] == [2, 4, 5, 6, 7, 8, 9, 10]
    assert found.damaged[-2][1] == "performance.mean_accuracy: Input should be a valid number"
    assert found.damaged[-1][1].startswith("format 2, where this version reads 1: it is of later code")
    assert len(found.checks) == 2


def test_evidence_that_is_damaged_or_gone(world: World) -> None:
    world.check(NOW)
    [evidence] = world.home.glob("monitoring/*/drift.json")
    evidence.write_text("{")
    assert checks.read(world.home).checks[0].largest is None
    evidence.unlink()
    assert checks.read(world.home).checks[0].largest is None
