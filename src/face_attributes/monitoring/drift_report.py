"""Drift report: Evidently's page about all windows together, with the tests that a verdict rests on."""

import os
from pathlib import Path

import pyarrow as pa

from face_attributes.common.files import replacing
from face_attributes.monitoring import column_tests


def write(found: pa.Table, expected: pa.Table, verdict: dict, path: Path) -> None:
    """Write Evidently's report of all windows together, with the tests that the verdict rests on."""
    # Evidently reads it when it is imported, which takes seconds and so is left to those who need it
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    column_tests.register()
    # Drifted columns come first in the report
    names = sorted(found.column_names, key=lambda name: -verdict["columns"][name]["windows_drifted"])
    tests = {name: column_tests.of(expected.column(name).to_numpy()) for name in names}
    definition = DataDefinition(
        numerical_columns=[name for name, test in tests.items() if test is column_tests.NUMBERS],
        categorical_columns=[name for name, test in tests.items() if test is column_tests.SHARES],
    )
    current, reference = (
        Dataset.from_pandas(table.select(names).to_pandas(), data_definition=definition)
        for table in (found, expected)
    )
    metrics = []
    for name, test in tests.items():
        row = verdict["columns"][name]
        metrics += [
            ValueDrift(column=name, method=test.p_method, threshold=row["p_value_threshold"]),
            ValueDrift(column=name, method=test.distance_method, threshold=row["distance_threshold"]),
        ]
    about = ("release", "model_sha256", "since", "until", "rows", "population")
    snapshot = Report(metrics, metadata={key: str(verdict[key]) for key in about}, include_tests=True).run(
        current, reference
    )
    with replacing(path) as partial:
        snapshot.save_html(str(partial))
