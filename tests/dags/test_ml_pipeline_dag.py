"""The training pipeline as the guide describes it; what it does is in tests/faults and the rehearsal."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml_pipeline_dag import ml_pipeline_face_attributes

ROOT = Path(__file__).resolve().parents[2]


def test_the_training_pipeline_is_the_guides(parsed: dict[str, Any]) -> None:
    pipeline = parsed["dags"]["ml_pipeline_face_attributes"]
    assert pipeline["schedule"] == "@daily"
    order = [
        "check_environment",
        "check_raw_data",
        "data_preparation.pull",
        "data_preparation.append_labelled",
        "data_preparation.collect",
        "data_preparation.prepare",
        "hyperparameter_optimization.tune",
        "model_training.train",
        "model_training.export",
        "model_training.push",
        "model_evaluation.evaluate",
        "model_evaluation.reference",
        "model_evaluation.compare_drifted",
        "model_evaluation.archive",
        "model_evaluation.gates",
        "propose_candidate",
        "notify_success",
    ]
    assert list(pipeline["tasks"]) == order
    for before, after in pairwise(order):
        assert before in pipeline["tasks"][after]["upstream"], f"{after} must wait for {before}"


@pytest.mark.parametrize(
    ("source", "awaited"),
    [("synthetic", f"{ROOT}/params.yaml"), ("celeba", "/photographs/here/**/list_attr_celeba.*")],
)
def test_the_machine_that_waits_for_images_looks_where_it_has_them(
    monkeypatch: pytest.MonkeyPatch, source: str, awaited: str
) -> None:
    """What check_environment hands on was perhaps found on another machine."""
    monkeypatch.setenv("CELEBA_DIR", "/photographs/here")
    handed_on = {"source": source}
    sensor = ml_pipeline_face_attributes().get_task("check_raw_data")
    sensor.render_template_fields({"ti": SimpleNamespace(xcom_pull=lambda task_ids, key: handed_on[key])})
    assert sensor.filepath == awaited
