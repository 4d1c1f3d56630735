"""Drift: whether the images that a model meets differ from those that it was chosen by.

The scores of the model and the statistics of the images, each a column, are held against the validation rows
of the model's reference: it is surer of what it was trained on than of any image that it meets later.

A column has drifted when two things are so. Its distribution differs by more than chance allows
(Kolmogorov-Smirnov, with Bonferroni's correction, as forty columns are forty chances), and by so much that it
matters (Wasserstein distance in standard deviations of the reference: many rows prove any trifle). Evidently
computes both; left to itself it would choose another test at another number of rows.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from face_attributes import reference as references
from face_attributes import scored
from face_attributes.files import replacing, write_json
from face_attributes.image_statistics import STATISTICS
from face_attributes.scored import ALL, Days

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

ALPHA = 0.05  # how often a check of images that did not drift may say that they did
DISTANCE = 0.1  # Evidently's own threshold for this distance
MINIMUM = 100  # rows: of fewer, only a landslide would show
AT_MOST = 2000  # rows: as many as a reference has

_MEAN_DIGITS = 4


def drift(
    places: Iterable[Path],
    reference: Path,
    model_sha256: str,
    out: Path,
    report: Path | None = None,
    release: str | None = None,
    days: Days = ALL,
) -> dict:
    """Compare what was scored with a reference, and write the verdict.

    Args:
        places: files of scores, or folders of them.
        reference: of the model.
        model_sha256: digest of the model; other models' scores are left out.
        out: JSON file to write.
        report: HTML file to write, if any; none where there is not enough data.
        release: the commit that the model belongs to, if it is to be noted.
        days: leave out scores of others.

    Returns:
        What `out` holds. `drifted` is None where there is not enough data to say.

    Raises:
        DataError: a file cannot be read, or the reference is another model's.

    """
    known = references.read(reference, model_sha256)
    columns = [*(f"{name}_score" for name in references.attributes(known)), *STATISTICS]
    expected = known.select(columns)
    files = scored.files_in(places, days)
    found, seen = scored.sample(scored.read(files, model_sha256, columns), AT_MOST)
    used = found.num_rows if found is not None else 0
    verdict = {
        "release": release,
        "model_sha256": model_sha256,
        **days.note(),
        "files": len(files),
        "rows": seen,
        "rows_used": used,
        "reference_rows": expected.num_rows,
        "minimum": MINIMUM,
        "enough_data": min(used, expected.num_rows) >= MINIMUM,
        "drifted": None,
        "columns_drifted": [],
        "columns": {},
    }
    if found is not None and verdict["enough_data"]:
        snapshot = _compare(found.select(columns), expected, verdict)
        verdict["columns"] = _judge(snapshot, found, expected)
        verdict["columns_drifted"] = [name for name, row in verdict["columns"].items() if row["drifted"]]
        verdict["drifted"] = bool(verdict["columns_drifted"])
        if report is not None:
            with replacing(report) as partial:
                snapshot.save_html(str(partial))
    write_json(out, verdict)
    return verdict


def _compare(found: pa.Table, expected: pa.Table, about: dict) -> "Snapshot":
    # Evidently reads it when it is imported, which takes seconds and so is left to those who need it
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    names = found.column_names
    definition = DataDefinition(numerical_columns=names, categorical_columns=[])
    current, reference = (
        Dataset.from_pandas(table.to_pandas(), data_definition=definition) for table in (found, expected)
    )
    tests = {"ks": ALPHA / len(names), "wasserstein": DISTANCE}
    return Report(
        [
            ValueDrift(column=name, method=method, threshold=threshold)
            for name in names
            for method, threshold in tests.items()
        ],
        metadata={key: str(about[key]) for key in ("release", "model_sha256", "since", "until", "rows")},
        include_tests=True,
    ).run(current, reference)


def _judge(snapshot: "Snapshot", found: pa.Table, expected: pa.Table) -> dict[str, dict]:
    values = {
        (metric["config"]["column"], metric["config"]["method"]): float(metric["value"])
        for metric in snapshot.dict()["metrics"]
    }
    names = expected.column_names
    threshold = ALPHA / len(names)
    return {
        name: {
            "drifted": values[name, "ks"] <= threshold and values[name, "wasserstein"] >= DISTANCE,
            "p_value": values[name, "ks"],
            "p_value_threshold": threshold,
            "distance": round(values[name, "wasserstein"], _MEAN_DIGITS),
            "distance_threshold": DISTANCE,
            "mean": _mean(found, name),
            "reference_mean": _mean(expected, name),
        }
        for name in names
    }


def _mean(table: pa.Table, name: str) -> float:
    return round(pc.mean(table.column(name)).as_py(), _MEAN_DIGITS)
