import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dashboard import checks
from gitops import tasks
from gitops.text import instructions
from tests.support.described import fits
from visage_dags import monitoring
from visage_dags.monitoring import Decision, decide, last_days
from visage_dags.records import Drift, Past, Performance

AT = datetime(2026, 1, 7, 15, tzinfo=UTC)


def drift(*moved: str, enough: bool = True, **more: Any) -> Drift:
    """Return what a check of three columns found."""
    columns = {
        name: {"drifted": name in moved, "p_value": 0.0, "distance": distance}
        for name, distance in (("Smiling_score", 0.2), ("brightness", 3.0), ("sharpness", 1.0))
    }
    found = {
        "release": "a" * 40,
        "model_sha256": "b" * 64,
        "since": "2026-01-01",
        "until": "2026-01-07",
        "rows": 300 if enough else 30,
        "reference_rows": 2000,
        "minimum": 100,
        "alarm_after": 2,
        "windows": [{"since": "2026-01-01", "until": "2026-01-03"}] * (3 if enough else 1),
        "enough_data": enough,
        "drifted": bool(moved) if enough else None,
        "columns_drifted": list(moved),
        "columns": columns if enough else {},
    }
    return Drift.model_validate(found | more)


def performance(below: bool | None = False) -> Performance:
    known = below is not None
    found = {
        "release": "a" * 40,
        "model_sha256": "b" * 64,
        "since": "2025-12-11",
        "until": "2026-01-07",
        "images": 300 if known else 30,
        "minimum": 100,
        "enough_labels": known,
        "threshold": 0.85,
        "below_threshold": below,
        "mean_accuracy": (0.8 if below else 0.9) if known else None,
        "mean_accuracy_low": (0.78 if below else 0.88) if known else None,
        "mean_accuracy_high": (0.82 if below else 0.92) if known else None,
        "per_attribute": {},
    }
    return Performance.model_validate(found)


def line(decision: Decision, **changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "run_id": "manual__2026-01-07T15:00:00+00:00",
        "at": AT,
        "environment": "prod",
        "decision": decision,
        "profile": "full",
        "triggered": None,
        "drift": drift("brightness"),
        "performance": performance(),
    }
    return monitoring.line_of(**known | changes)


def test_a_list_of_labels_that_was_left_out_is_a_reason_and_decides_nothing() -> None:
    bad = {"label_files_left_out": 3, "left_out": ["labels/a.csv: no column for Male", "labels/b.csv: empty"]}
    found = performance().model_copy(update=bad)
    decision = decide(drift(), found, 0)
    assert decision.reasons[2] == (
        "A list of late labels was left out: labels/a.csv: no column for Male, and 2 more"
    )
    assert not decision.retrain
    assert decide(drift(), performance(below=True).model_copy(update=bad), 0, ["b"]).retrain


def test_days_are_whole_and_end_with_the_last_that_has_begun() -> None:
    midnight = datetime(2026, 1, 11, tzinfo=UTC)
    assert last_days(7, midnight) == (date(2026, 1, 4), date(2026, 1, 10))
    assert last_days(7, AT) == (date(2026, 1, 1), date(2026, 1, 7))
    assert last_days(1, AT) == (date(2026, 1, 7), date(2026, 1, 7))


@pytest.mark.parametrize(
    ("found", "labels", "reasons"),
    [
        (
            drift("Smiling_score", "brightness"),
            performance(),
            [
                "Drift: 2 of 3 columns moved in 300 images in 3 windows, "
                "most of all brightness, Smiling_score",
                "Accuracy 90.00% (88.00% to 92.00%) on 300 late labels is high enough: the limit is 85.00%",
            ],
        ),
        (
            drift(),
            performance(below=True),
            [
                "No drift in 300 images in 3 windows",
                "Accuracy 80.00% (78.00% to 82.00%) on 300 late labels is too low: the limit is 85.00%",
            ],
        ),
        (
            drift("sharpness"),
            performance(below=True),
            [
                "Drift: 1 of 3 columns moved in 300 images in 3 windows, most of all sharpness",
                "Accuracy 80.00% (78.00% to 82.00%) on 300 late labels is too low: the limit is 85.00%",
            ],
        ),
    ],
)
def test_either_is_a_reason_to_train(found: Drift, labels: Performance, reasons: list[str]) -> None:
    assert decide(found, labels, 0, ["new"]) == Decision(True, tuple(reasons), ("new",))
    waits = decide(found, labels, 1, ["new"])
    assert waits.retrain is False
    assert waits.reasons == (
        *reasons,
        "A run of ml_pipeline_face_attributes is queued or running already",
    )


HARMLESS = {"kinds": ["images changed"], "confidence_change": -0.0004, "probably_harmless": True}
COSTLY = {"kinds": ["images changed"], "confidence_change": -0.031, "probably_harmless": False}
SHIFTED = {"kinds": ["images changed", "answers shifted"], "confidence_change": 0.0} | {
    "probably_harmless": True
}
NONE_WAITS = "No training: no labelled batch waits that the release has not learned"


@pytest.mark.parametrize(
    ("found", "below", "batches", "earlier", "why_not"),
    [
        (drift("brightness", **COSTLY), False, ["new"], None, None),
        (drift("brightness", **SHIFTED), False, ["new"], None, None),
        (drift("brightness"), False, ["new"], None, None),
        (drift("brightness", **COSTLY), False, [], None, NONE_WAITS),
        (drift(), True, [], None, NONE_WAITS),
        (
            drift("brightness", **HARMLESS),
            False,
            ["new"],
            None,
            "No training: the images changed, and the answers of the model did not shift",
        ),
        (drift("brightness", **HARMLESS), True, ["new"], None, None),
        (
            drift("brightness", **COSTLY),
            True,
            ["new"],
            "monitoring__then",
            "No training: monitoring__then learned from this release and the same labelled batches",
        ),
    ],
)
def test_a_training_follows_only_where_it_can_learn_something_new(
    found: Drift, below: bool, batches: list[str], earlier: str | None, why_not: str | None
) -> None:
    decision = decide(found, performance(below=below), 0, batches, earlier)
    assert decision.retrain == (why_not is None)
    assert decision.batches == tuple(batches)
    assert decision.reasons[2:] == (() if why_not is None else (why_not,))


def test_the_same_data_is_trained_once() -> None:
    record = [
        Past.model_validate_json(json.dumps(line(Decision(True, (), batches), **more)))
        for batches, more in (
            (("old",), {"run_id": "first", "triggered": "t1"}),
            (("old", "new"), {"run_id": "second", "triggered": "t2"}),
            (("old", "new"), {"run_id": "third"}),
            (("other",), {"run_id": "fourth", "triggered": "t4", "profile": "small"}),
        )
    ]

    def found(*batches: str, run: str = "now", release: str = "a" * 40) -> str:
        return monitoring.same_data(record, run, release, "full", batches)

    assert (found("old"), found("old", "new")) == ("t1", "t2")
    assert found("old", "new", "newest") == ""
    assert found("old", "new", release="c" * 40) == "", "another release learns something else"
    assert found("old", "new", run="second") == "", "a retry is no earlier training"
    assert found("other") == "", "a training of the profile small is a trial"
    assert monitoring.same_data([Past(run_id="old", at=AT)], "now", "a" * 40, "full", []) == ""


def test_what_is_not_known_is_no_reason_to_train() -> None:
    decision = decide(drift(enough=False), performance(below=None), 0)
    assert decision == Decision(
        False,
        (
            "Not enough data to see drift: 30 images of 2026-01-01 to 2026-01-07 in 1 window and 2,000 "
            "in the reference; it takes 100 of both, and 2 windows",
            "Not enough labels to judge accuracy: 30 images of 2025-12-11 to 2026-01-07 have one; "
            "it takes 100",
        ),
    )
    assert decide(drift(), performance(), 0) == Decision(
        False,
        (
            "No drift in 300 images in 3 windows",
            "Accuracy 90.00% (88.00% to 92.00%) on 300 late labels is high enough: the limit is 85.00%",
        ),
    )


def test_the_record_grows_by_a_line_for_each_check_and_a_retry_adds_none(tmp_path: Path) -> None:
    first, second = line(Decision(True, ("a",)), triggered="t"), line(Decision(False, ("b",)), run_id="two")
    assert monitoring.record(tmp_path, first) is True
    before = (tmp_path / "monitoring/decisions.jsonl").read_bytes()
    fits("decision", before, checks.Line)
    assert monitoring.record(tmp_path, first) is False
    assert (tmp_path / "monitoring/decisions.jsonl").read_bytes() == before
    assert monitoring.record(tmp_path, second) is True
    after = (tmp_path / "monitoring/decisions.jsonl").read_bytes()
    assert after.startswith(before)
    assert [json.loads(text) for text in after.splitlines()] == [first, second]


def test_a_damaged_line_is_named_and_stops_no_check(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = line(Decision(True, ("Drift",)))
    monitoring.record(tmp_path, good)
    path = tmp_path / "monitoring/decisions.jsonl"
    damaged = [
        b'{"run_id": "cut o',
        b"[]",
        b"\xff",
        b"[" * 100_000,
        json.dumps(good | {"at": "yesterday"}).encode(),
        json.dumps(good | {"at": "2026-01-07T15:00:00"}).encode(),
        json.dumps(good | {"episodes": None}).encode(),
        json.dumps({"at": good["at"]}).encode(),
    ]
    path.write_bytes(b"\n".join([*damaged, b"", path.read_bytes().strip(), b'{"cut off']))
    record = monitoring.lines(tmp_path)
    assert [past.run_id for past in record] == [good["run_id"]]
    told = [number for number in range(1, 13) if f"line {number} is damaged" in caplog.text]
    assert told == [*range(1, 9), 11]
    later = line(Decision(True, ("Drift",)), run_id="later", at=AT + timedelta(days=7), record=record)
    assert later["episodes"]["drift"]["state"] == "goes on"
    assert monitoring.record(tmp_path, later)
    assert not monitoring.record(tmp_path, later)
    assert [past.run_id for past in monitoring.lines(tmp_path)] == [good["run_id"], "later"]


def test_a_write_that_was_cut_off_does_no_harm(tmp_path: Path) -> None:
    monitoring.record(tmp_path, line(Decision(True, ("a",))))
    (tmp_path / "monitoring/.decisions.partial").write_text('{"run_id": "half a l')
    monitoring.record(tmp_path, line(Decision(True, ("a",)), run_id="two"))
    text = (tmp_path / "monitoring/decisions.jsonl").read_text()
    assert [json.loads(each)["run_id"][:6] for each in text.splitlines()] == ["manual", "two"]


def test_a_line_says_what_moved_and_leaves_the_rest_to_the_evidence() -> None:
    found = line(Decision(True, ("a",)))
    assert list(found["drift"]["columns"]) == ["brightness"]
    assert "per_attribute" not in found["performance"]
    assert found["drift"]["windows"] == drift("brightness").windows
    assert found["performance"]["mean_accuracy_high"] == 0.92
    assert found["evidence"] == "monitoring/manual__2026-01-07T150000Z"
    assert (found["release"], found["at"]) == ("a" * 40, "2026-01-07T15:00:00+00:00")


@pytest.fixture(autouse=True)
def local(connect: Callable[[str], None]) -> None:
    connect("/visage/.visage/origin.git")


def told(found: dict[str, Any], alarm: str = "drift", *, paused: bool = False) -> tuple[str, str]:
    way = tasks.rollback_instructions(environment="prod")
    page = "https://pages/drift.md"
    return monitoring.message(found, alarm, training_is_paused=paused, runbook=page, way_back=way)


def test_who_hears_of_a_lower_accuracy_can_paste_the_way_back() -> None:
    found = line(Decision(True, ("a",)))
    found["episodes"]["accuracy"] = {"state": "begins", "since": found["at"]}
    _, body = told(found, "accuracy")
    assert body.endswith(f"{instructions.text(instructions.roll_back('prod'))}\n")
    assert "rollback" not in told(line(Decision(True, ("b",))))[1], "drift comes with no release"


def test_dev_has_no_rollback() -> None:
    assert "rollback" not in tasks.rollback_instructions(environment="dev")


def test_people_read_whether_a_training_runs_or_waits_and_where_to_look() -> None:
    decision = Decision(True, ("Drift: all of it",))
    subject, body = told(line(decision, triggered="t"))
    assert subject == "drift; a retraining has started"
    assert body.startswith("Drift: all of it\n\nRelease aaaaaaaaaaaa, model bbbbbbbbbbbb, run manual__")
    assert "Training run t of ml_pipeline_face_attributes, profile full." in body
    assert "Meaning and remedy: https://pages/drift.md" in body
    assert "unpauses" not in body
    subject, body = told(line(decision, triggered="t"), paused=True)
    assert subject == "drift; a retraining waits, because ml_pipeline_face_attributes is paused"
    assert "It starts once somebody unpauses ml_pipeline_face_attributes in prod." in body
    subject, body = told(line(Decision(False, ("b",))))
    assert subject == "drift; no retraining"
    assert "Training run" not in body


def test_people_are_told_when_an_alarm_begins_and_when_it_clears_and_not_between() -> None:
    record: list[Past] = []
    lines = []
    for day, found in enumerate(
        (drift(), drift("brightness"), drift("brightness"), drift(enough=False), drift())
    ):
        at = AT.replace(day=AT.day + day)
        one = line(Decision(False, ()), run_id=f"run{day}", at=at, drift=found, record=record)
        record.append(Past.model_validate_json(json.dumps(one)))
        lines.append(one)
        assert one["alarm"] == (["drift"] if day in (1, 2, 3) else [])
    assert [monitoring.news(one) for one in lines] == [[], ["drift"], [], [], ["drift"]]
    subject, body = told(lines[-1])
    assert subject == "drift has cleared, after it began at 2026-01-08T15:00:00+00:00"
    assert "The next notice" not in body
    learns = {**lines[2], "triggered": "t"}
    assert monitoring.news(learns) == ["drift"]
    assert told(learns)[0] == "drift goes on; a retraining has started"


def test_old_reports_go_and_verdicts_stay(tmp_path: Path) -> None:
    for number in range(monitoring.REPORTS + 2):
        folder = monitoring.evidence(tmp_path, f"run-{number}")
        for name in ("drift.html", "drift.json"):
            (folder / name).touch()
        os.utime(folder / "drift.html", (number, number))
    monitoring.drop_old_reports(tmp_path)
    left = sorted(path.parent.name for path in tmp_path.glob("monitoring/*/drift.html"))
    assert len(left) == monitoring.REPORTS
    assert not {"run-0", "run-1"} & set(left)
    assert len(list(tmp_path.glob("monitoring/*/drift.json"))) == monitoring.REPORTS + 2


@pytest.mark.parametrize("enough", [True, False])
def test_images_that_were_scored_before_are_accounted_for(enough: bool) -> None:
    usual, *_ = decide(drift(enough=enough), performance(), 0).reasons
    reason, *_ = decide(drift(enough=enough, repeated=270), performance(), 0).reasons
    assert reason == f"{usual}; 270 more were scored before and count once"


@pytest.mark.parametrize(
    ("change", "harmless", "says"),
    [
        (-0.0004, True, "(images changed; probably harmless, +0.0 points by the confidence of the model)"),
        (-0.031, False, "(images changed; probably a loss of accuracy, -3.1 points by the confidence"),
    ],
)
def test_a_drift_names_its_kind_and_its_probable_cost(change: float, harmless: bool, says: str) -> None:
    known = {"kinds": ["images changed"], "confidence_change": change, "probably_harmless": harmless}
    reason, *_ = decide(drift("brightness", **known), performance(), 0).reasons
    assert says in reason


def test_the_notice_of_a_drift_asks_for_labels() -> None:
    found = line(Decision(True, ("Drift.",)))
    ways = {"training_is_paused": False, "runbook": "page", "way_back": ""}
    asked = "label 100 to 200 images of 2026-01-01 to 2026-01-07, in labels/<batch>.csv"
    assert asked in monitoring.message(found, "drift", **ways)[1]
    lost = {**found, "episodes": {"accuracy": found["episodes"]["drift"]}}
    assert f"A training needs new labels: {asked}" in monitoring.message(lost, "accuracy", **ways)[1]
    waiting = {**lost, "batches": ["prod-2026-01-07"]}
    assert asked not in monitoring.message(waiting, "accuracy", **ways)[1]
    over = {**found, "episodes": {"drift": {**found["episodes"]["drift"], "state": "clears"}}}
    assert asked not in monitoring.message(over, "drift", **ways)[1]


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (["training", "first weeks"], "of all brightness; they differ from the training data and from"),
        (["training"], "most of all brightness; they differ from the training data, as in"),
        (["first weeks"], "most of all noise; they differ from"),
    ],
)
def test_a_drift_names_the_reference_that_raised_it(raised: list[str], says: str) -> None:
    weeks = {
        "since": "2025-12-01",
        "until": "2025-12-14",
        "drifted": "first weeks" in raised,
        "columns_drifted": ["noise"] * ("first weeks" in raised),
        "columns": {"noise": {"distance": 0.4}},
    }
    own = ["brightness"] * ("training" in raised)
    found = drift(*own, drifted=True, raised_by=raised, first_weeks=weeks)
    reason, *_ = decide(found, performance(), 0).reasons
    assert says in reason
    assert "the first weeks (2025-12-01 to 2025-12-14)" in reason
    assert (", and not from the training data" in reason) is (raised == ["first weeks"])
