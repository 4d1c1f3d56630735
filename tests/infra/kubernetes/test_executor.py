"""The pods that the executor makes of an environment's template, and a stand-in for the API server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.executors.workloads import BundleInfo, ExecuteTask, TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey

from gitops.airflow.executor import KubernetesExecutor
from tests.infra.kubernetes.api import Cluster, cluster
from tests.infra.kubernetes.rendering import objects, rendered

pytestmark = pytest.mark.system("kubectl")

DAG = "ml_pipeline_face_attributes"
OPTIONS = "AIRFLOW__KUBERNETES_EXECUTOR__"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    template = objects(rendered("prod"), "PodTemplate")["task"]
    with cluster(tmp_path_factory.mktemp("cluster"), template) as made:
        yield made


@contextmanager
def started(served: Cluster, job: int, namespace: str = "visage-prod") -> Iterator[KubernetesExecutor]:
    """The executor of a scheduler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{OPTIONS}IN_CLUSTER", "False")
        patch.setenv(f"{OPTIONS}CONFIG_FILE", str(served.config))
        patch.setenv(f"{OPTIONS}NAMESPACE", namespace)
        patch.setenv(f"{OPTIONS}POD_TEMPLATE_FILE", str(served.config.with_name("task.yaml")))
        made = KubernetesExecutor()
        made.job_id = job
        made.start()
        yield made
        made.end()


@pytest.fixture(scope="module")
def executor(served: Cluster) -> Iterator[KubernetesExecutor]:
    with started(served, 1) as made:
        yield made


def start_task(executor: KubernetesExecutor, dag_id: str, task_id: str, run_id: str = "manual__1") -> Any:
    """Make the pod of a task as a scheduler does, and return the key of the task."""
    task = TaskInstance(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        task_id=task_id,
        dag_id=dag_id,
        run_id=run_id,
        try_number=1,
        pool_slots=1,
        queue="default",
        priority_weight=1,
    )
    bundle = BundleInfo(name="release", version="1")
    workload = ExecuteTask(ti=task, dag_rel_path=Path("a.py"), bundle_info=bundle, token="t", log_path=None)
    key: Any = TaskInstanceKey(dag_id, task_id, run_id, 1, -1)
    executor.execute_async(key, [workload], queue="default")
    job = executor.task_queue.get()
    executor.task_queue.task_done()
    executor.kube_scheduler.run_next(job)
    return key


def pod_of(executor: KubernetesExecutor, served: Cluster, dag_id: str, task_id: str) -> dict[str, Any]:
    start_task(executor, dag_id, task_id)
    return served.pods[-1]


def test_a_task_s_pod_is_the_environment_s_template(executor: KubernetesExecutor, served: Cluster) -> None:
    pod = pod_of(executor, served, DAG, "model_training.train")
    template = served.template["template"]
    [container], [declared] = pod["spec"]["containers"], template["spec"]["containers"]
    assert pod["metadata"]["namespace"] == "visage-prod"
    assert pod["metadata"]["labels"].items() >= template["metadata"]["labels"].items()
    assert pod["metadata"]["annotations"].items() >= template["metadata"]["annotations"].items()
    assert container["image"] == declared["image"]
    for field in ("securityContext", "serviceAccountName", "automountServiceAccountToken", "restartPolicy"):
        assert pod["spec"][field] == template["spec"][field], field
    for field in ("resources", "securityContext", "envFrom"):
        assert container[field] == declared[field], field
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {mount["mountPath"] for mount in declared["volumeMounts"]}


def test_a_changed_template_needs_no_restart(
    executor: KubernetesExecutor, served: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.template["template"]["spec"]["nodeSelector"] = {"pool": "large"}
    monkeypatch.setattr("gitops.airflow.executor._FRESH", 0)
    pod = pod_of(executor, served, "score_faces", "find_batches")
    assert pod["spec"]["nodeSelector"] == {"pool": "large"}


def test_a_task_with_a_size_has_it_and_the_rest_of_the_template(
    executor: KubernetesExecutor, served: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_SIZES", '{"train":{"cpu":8,"gpu":1}}')
    monkeypatch.setattr("gitops.airflow.executor._FRESH", 0)
    served.template["template"]["spec"]["tolerations"] = [{"key": "training", "operator": "Exists"}]
    pod = pod_of(executor, served, DAG, "model_training.train")
    [container], [declared] = pod["spec"]["containers"], served.template["template"]["spec"]["containers"]
    for part in ("limits", "requests"):
        wanted = declared["resources"][part] | {"cpu": "8", "nvidia.com/gpu": "1"}
        assert container["resources"][part] == wanted
    assert container["image"] == declared["image"]
    assert container["securityContext"] == declared["securityContext"]
    assert [one["key"] for one in pod["spec"]["tolerations"]] == ["training", "nvidia.com/gpu"]
    other = pod_of(executor, served, DAG, "gates")
    assert other["spec"]["containers"][0]["resources"] == declared["resources"]


def test_a_scheduler_adopts_the_pods_of_one_that_is_gone(
    executor: KubernetesExecutor, served: Cluster
) -> None:
    pod = pod_of(executor, served, DAG, "model_training.train")
    assert pod["metadata"]["labels"]["airflow-worker"] == "1"
    training, lost = (
        SimpleNamespace(queued_by_job_id=1, key=TaskInstanceKey(DAG, task, "manual__1", 1, -1))
        for task in ("model_training.train", "model_training.export")
    )
    orphans: Any = [training, lost]
    with started(served, 2) as heir:
        assert heir.try_adopt_task_instances(orphans) == [lost]
        assert heir.running == {training.key}
        heir.running.clear()  # or its end waits for the pod
    assert pod["metadata"]["labels"]["airflow-worker"] == "2"


def test_the_last_template_serves_while_kubernetes_does_not_answer(
    executor: KubernetesExecutor,
    served: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("gitops.airflow.executor._FRESH", 0)
    monkeypatch.setattr(served, "template", {})
    assert pod_of(executor, served, "score_faces", "find_batches")["spec"]["containers"]
    assert "the last one that was read stays" in caplog.text


@pytest.mark.parametrize("token", [True, False])
def test_the_log_of_a_running_task_is_asked_of_kubernetes_by_whoever_may(
    executor: KubernetesExecutor, token: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the logs in a volume, the api-server has no token, and would report an error in each log."""
    path = tmp_path / "token"
    if token:
        path.touch()
    monkeypatch.setattr("gitops.airflow.executor.SERVICE_TOKEN_FILENAME", str(path))
    task: Any = SimpleNamespace(
        dag_id="a",
        task_id="b",
        run_id="c",
        map_index=-1,
        hostname="",
        queued_by_job_id=1,
        id="d",
        executor_config={},
    )
    messages, logs = executor.get_task_log(task, 1)
    assert logs == [""]
    assert any("k8s" in message for message in messages) == token, messages
    # An empty list would make Airflow ask the log server of the pod, which has none.
    assert messages
