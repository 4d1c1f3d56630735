"""TASK_SIZES of the settings reaches the tasks of every engine."""

import json
from datetime import timedelta

import pytest
from airflow.sdk import DAG, TaskGroup, task

from gitops.airflow import sizes
from gitops.errors import SettingsError
from gitops.release.settings import Settings

TABLE = {"train": {"cpu": 8, "memory": "16Gi", "gpu": 1, "queue": "gpu", "hours": 4}, "push": {"hours": 0.5}}


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_SIZES", json.dumps(TABLE))


def test_a_task_has_the_queue_and_the_timeout_of_its_size() -> None:
    @task(execution_timeout=timedelta(hours=6))
    def work(name: str) -> str:
        return name

    with DAG("sized", schedule=None) as dag:
        with TaskGroup("model_training"):
            work.override(task_id="train")("a")
            work.override(task_id="push").expand(name=["a", "b"])
        work.override(task_id="other")("a")
    for one in dag.tasks:
        sizes.apply(one)
    found = {one.task_id: (one.queue, one.execution_timeout) for one in dag.tasks}
    assert found == {
        "model_training.train": ("gpu", timedelta(hours=4)),
        "model_training.push": ("default", timedelta(minutes=30)),
        "other": ("default", timedelta(hours=6)),
    }


def test_a_pod_has_the_size_and_the_rest_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sizes.GPU_IMAGE, "registry.example.org/visage-airflow:1-cu128")
    resources = {"limits": {"cpu": "4", "memory": "6Gi", "ephemeral-storage": "9Gi"}}
    template = {"spec": {"containers": [{"name": "base", "resources": resources}]}}
    pod = sizes.pod_override("model_training.train", template)
    assert pod
    [container] = pod["spec"]["containers"]
    wanted = {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"] == wanted
    assert container["resources"]["limits"] == wanted | {"ephemeral-storage": "9Gi"}
    assert container["image"] == "registry.example.org/visage-airflow:1-cu128"
    assert [toleration["key"] for toleration in pod["spec"]["tolerations"]] == ["nvidia.com/gpu"]
    assert sizes.pod_override("push", template) is None
    assert sizes.pod_override("other", template) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("train", "not JSON"),
        ("[]", 'write {"TASK":{"cpu":4'),
        ('{"train":{"cpus":4}}', "train: cpus: Extra inputs are not permitted"),
        ('{"train":{"memory":"6GB"}}', "train: memory: String should match"),
        ('{"train":{"gpu":-1}}', "train: gpu: Input should be greater than or equal to 0"),
        ('{"train":{"hours":"long"}}', "train: hours: Input should be a valid number"),
    ],
)
def test_a_size_that_cannot_be_is_one_line(value: str, said: str) -> None:
    with pytest.raises(SettingsError, match="TASK_SIZES") as raised:
        Settings.from_environ({"VISAGE_ENVIRONMENT": "prod", "TASK_SIZES": value})
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
