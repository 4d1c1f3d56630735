"""Drift: whether scored images differ from the images that the model was selected on.

The columns are the model's scores, its decisions (the share of positive decisions), its embedding, and image
statistics. They are compared with the validation rows of the reference, because a model is more confident on
its training images than on later images.

A column differs in a window if two conditions hold. Its distribution differs significantly, with Bonferroni's
correction for the number of columns. And its shift is larger than random variation and other people explain
(see `limits`). A column has drifted if it differs in several windows, because a bad day is an incident.
Changes that are too small for a window show in all windows together (see `joint_test`).

A second reference are the images of the model's first weeks (see `first_weeks`). Both share one error rate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from face_attributes.common.files import write_json
from face_attributes.evaluation import reference as references
from face_attributes.evaluation.reference import Population
from face_attributes.monitoring import (
    column_tests,
    cost,
    drift_report,
    first_weeks,
    joint_test,
    limits,
    score_files,
)
from face_attributes.monitoring.score_files import ALL, DateRange
from face_attributes.monitoring.windows import Window, cut

# How often chance and other people may make some column drift, in a check. With the joint test it is 5 %
ALPHA = 0.05 - joint_test.ALPHA
MINIMUM = references.LEAST  # rows of a window, and of the reference
AT_MOST = 2000  # rows of a window that are looked at
OWN = "training"  # the name of the release's own reference
LATEST = 7  # windows
ALARM_AFTER = 2  # windows in which a column differs

_DIGITS, _P_DIGITS = 4, 6


def drift(
    places: Iterable[Path],
    reference: Path,
    model_sha256: str,
    out: Path,
    report: Path | None = None,
    release: str | None = None,
    days: DateRange = ALL,
    alarm_after: int = ALARM_AFTER,
) -> dict:
    """Compare scored images with a reference, and write the result.

    Args:
        places: files of scores, or folders of them.
        reference: of the model.
        model_sha256: digest of the model; other models' scores are left out.
        out: JSON file to write.
        report: HTML file to write, if any; none where there is not enough data.
        release: the commit that the model belongs to, if it is to be noted.
        days: leave out scores of others.
        alarm_after: in how many windows a column must differ to have drifted.

    Returns:
        The content of `out`. `drifted` is None without enough data.

    Raises:
        DataError: a file cannot be read, or the reference is another model's.

    """
    known = references.read(reference, model_sha256)
    columns = references.watched(known)
    places = list(places)
    files = score_files.files_in(places, days)
    windows = cut(files, model_sha256, columns, minimum=MINIMUM, at_most=AT_MOST, latest=LATEST)
    enough = [window for window in windows if window.rows >= MINIMUM]
    verdict = {
        "format": 1,
        "release": release,
        "model_sha256": model_sha256,
        **days.note(),
        "files": len(files),
        "rows": sum(window.rows for window in windows),
        "rows_used": sum(window.table.num_rows for window in windows),
        "repeated": sum(window.repeated for window in windows),
        "reference_rows": known.num_rows,
        "reference_people": None,
        "population": None,
        "minimum": MINIMUM,
        "alarm_after": alarm_after,
        "enough_data": len(enough) >= alarm_after and known.num_rows >= MINIMUM,
        "drifted": None,
        "columns_drifted": [],
        "joint": None,
        "kinds": [],
        "confidence_change": None,
        "probably_harmless": None,
        "raised_by": [],
        "first_weeks": None,
        "windows": [window.note() for window in windows],
        "columns": {},
    }
    if verdict["enough_data"]:
        found = pa.concat_tables([window.table for window in windows], promote_options="permissive").select(
            columns
        )
        population = nearest(found, references.populations(known, MINIMUM))
        people = population.people()
        first = first_weeks.find(places, model_sha256, columns)
        later = first.later(enough) if first else []
        # With a second reference, each of both gets half of the error rate
        share = 0.5 if len(later) >= alarm_after else 1.0
        own = compare(windows, population, columns, alarm_after, share)
        verdict |= {
            "population": population.name,
            "reference_rows": population.table.num_rows,
            "reference_people": None if people is None else round(limits.effective(people)),
            **own,
        }
        raised = [(OWN, own)]
        if first is not None and len(later) >= alarm_after:
            since = compare(later, first.population, columns, alarm_after, share)
            raised.append((first_weeks.NAME, since))
            moved = {name: since["columns"][name] for name in since["columns_drifted"]}
            verdict["first_weeks"] = {**first.days.note(), "rows": first.rows, **since, "columns": moved}
        verdict |= _together(raised)
        if report is not None:
            drift_report.write(found, population.table, verdict, report)
    write_json(out, verdict)
    return verdict


def compare(
    windows: Sequence[Window], expected: Population, columns: Sequence[str], alarm_after: int, share: float
) -> dict:
    """Compare windows with one reference, with a share of the error rate."""
    found = pa.concat_tables([window.table for window in windows], promote_options="permissive").select(
        list(columns)
    )
    verdict = {"joint": None, "kinds": [], "confidence_change": None, "probably_harmless": None}
    verdict |= _judge(
        windows, found, expected, columns, limits.Rule(share * ALPHA / len(columns), alarm_after, LATEST)
    )
    verdict |= _joint(windows, expected, columns, verdict, share)
    return verdict | _cost(windows, verdict, expected.table)


def _together(raised: Sequence[tuple[str, dict]]) -> dict:
    """Return the alarm of all references together: its kinds, and the largest cost."""
    alarms = [(name, verdict) for name, verdict in raised if verdict["drifted"]]
    if not alarms:
        return {"raised_by": []}
    kinds = [kind for _, verdict in alarms for kind in verdict["kinds"]]
    changes = [verdict["confidence_change"] for _, verdict in alarms]
    change = None if None in changes else min(changes)
    return {
        "drifted": True,
        "raised_by": [name for name, _ in alarms],
        "kinds": list(dict.fromkeys(kinds)),
        "confidence_change": change,
        "probably_harmless": None if change is None else cost.harmless(change),
    }


def nearest(found: pa.Table, populations: Sequence[Population]) -> Population:
    """Return the population that the images are most like: whose means are least far from theirs.

    A model that was trained on two kinds of images has not drifted when it meets one of them alone.
    """
    if len(populations) == 1:
        return populations[0]
    return min(populations, key=lambda population: _distance_of_means(found, population.table))


@dataclass(frozen=True)
class Column:
    """A column of a reference, and how far from it other images may be.

    Attributes:
        values: of the reference, (M,).
        people: variance that other people make of it, see `limits.between`.
        window: variance of a window's mean, see `limits.among`.
        windows: number of windows of the reference.
        rule: when it has drifted.

    """

    values: np.ndarray
    people: float
    rule: limits.Rule
    window: float = 0.0
    windows: int = 1

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        people: np.ndarray | None,
        rule: limits.Rule,
        window: np.ndarray | None = None,
    ) -> "Column":
        """Return a column of a reference; None for the people or the windows where it has none."""
        count = 1 if window is None else len(np.unique(window))
        return cls(values, limits.between(values, people), rule, limits.among(values, window), count)

    @property
    def test(self) -> column_tests.Test:
        """Return how it is tested."""
        return column_tests.of(self.values)

    def limit(self, count: int) -> float:
        """Return the distance at or above which so many images differ."""
        shift = self.rule.shift(count, len(self.values), self.people, self.window, self.windows)
        return self.test.limit(self.values, shift)

    def differs(self, found: np.ndarray) -> bool:
        """Return whether the shift is significant and larger than other people explain."""
        # Test the distance first, because it is faster than an exact p-value
        far = self.test.distance(found, self.values) >= self.limit(len(found))
        return far and self.test.p_value(found, self.values) <= self.rule.level


def _distance_of_means(found: pa.Table, expected: pa.Table) -> float:
    gaps = []
    for name in found.column_names:
        ours, theirs = (_values(table, name).astype(np.float64) for table in (found, expected))
        deviation = theirs.std()
        gaps.append(min(1.0, abs(ours.mean() - theirs.mean()) / deviation) if deviation else 0.0)
    return float(np.mean(gaps))


def _judge(
    windows: Sequence[Window],
    found: pa.Table,
    expected: Population,
    names: Sequence[str],
    rule: limits.Rule,
) -> dict:
    people, numbers = expected.people(), expected.windows()
    notes = [{**window.note(), "columns_drifted": []} for window in windows]
    columns = {}
    for name in names:
        column = Column.of(_values(expected.table, name), people, rule, numbers)
        whole = _values(found, name)
        for note, window in zip(notes, windows, strict=True):
            if column.differs(_values(window.table, name)):
                note["columns_drifted"].append(name)
        count = sum(name in note["columns_drifted"] for note in notes)
        p_value, distance = column.test.measure(whole, column.values)
        columns[name] = {
            "drifted": count >= rule.after,
            "windows_drifted": count,
            "test": column.test.p_method,
            "p_value": p_value,
            "p_value_threshold": round(column.rule.level, _P_DIGITS),
            "distance_of": column.test.distance_method,
            "distance": round(distance, _DIGITS),
            "distance_threshold": round(column.limit(len(whole)), _DIGITS),
            "mean": _mean(found, name),
            "reference_mean": _mean(expected.table, name),
        }
    drifted = [name for name, row in columns.items() if row["drifted"]]
    return {"drifted": bool(drifted), "columns_drifted": drifted, "windows": notes, "columns": columns}


def _joint(
    windows: Sequence[Window], expected: Population, names: Sequence[str], verdict: dict, share: float
) -> dict:
    """Return the result of the joint test, and whether it or a column shows drift."""
    columns = {name: _values(expected.table, name) for name in names}
    reference = joint_test.Reference.of(
        columns, expected.people(), share * joint_test.ALPHA, expected.windows()
    )
    if reference is None:
        return {}
    found = [{name: _values(window.table, name) for name in names} for window in windows]
    joint = joint_test.compare(found, reference)
    return {"joint": joint.note(), "drifted": verdict["drifted"] or joint.differs}


def _cost(windows: Sequence[Window], verdict: dict, expected: pa.Table) -> dict:
    """Return the kinds of a drift, and its probable cost in the windows that show it."""
    drifted = set(verdict["columns_drifted"])
    notes = zip(windows, verdict["windows"], strict=True)
    tables = [window.table for window, note in notes if drifted & set(note["columns_drifted"])]
    moved = list(verdict["columns_drifted"])
    if not moved and verdict["joint"] and verdict["joint"]["differs"]:
        tables, moved = [window.table for window in windows], verdict["joint"]["columns"]
    attributes = references.attributes(expected)
    if not tables or not attributes:
        return {}
    change = cost.confidence_change(
        pa.concat_tables(tables, promote_options="permissive"), expected, attributes
    )
    return {
        "kinds": cost.kinds(moved),
        "confidence_change": round(change, _DIGITS),
        "probably_harmless": cost.harmless(change),
    }


def _values(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()


def _mean(table: pa.Table, name: str) -> float:
    return round(pc.mean(table.column(name)).as_py(), _DIGITS)  # pyright: ignore[reportAttributeAccessIssue] made at import
