"""The training pipeline as the guide describes it; what it does is in tests/faults and the rehearsal."""

from itertools import pairwise
from typing import Any


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
