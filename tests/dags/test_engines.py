"""Each engine (the local one, Docker Compose, Kubernetes) has everything that the DAGs need of it."""

import inspect
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from airflow._shared.module_loading import import_string
from airflow.executors.executor_loader import ExecutorLoader
from dotenv import dotenv_values

from gitops.release.file import ENVIRONMENTS
from infra.local import instance, secret, variables
from infra.local.layout import Layout
from infra.local.variables import Address, Own
from tests.support.checkout import make_checkout
from visage_dags import inputs

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "infra/kubernetes"
COMPOSE = yaml.safe_load((ROOT / "infra/compose/services.yml").read_text())
SAID_BY = [
    *(f"environments/{environment}/settings.env" for environment in ENVIRONMENTS),
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("infra/**/*")) if path.is_file()),
    ".env.example",
    "docker-compose.yml",
]
TASK = yaml.safe_load((KUBERNETES / "base/worker-pod.yaml").read_text())["spec"]
WORKER, *_ = yaml.safe_load_all((KUBERNETES / "celery/worker.yaml").read_text())


def executors() -> dict[str, set[str]]:
    """Every executor that a file of an engine names, and the files that do."""
    found: dict[str, set[str]] = {}
    for name in SAID_BY:
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue
        for names in re.findall(r"(?:AIRFLOW__CORE__EXECUTOR|AIRFLOW_EXECUTOR)\s*[=:]\s*([\w.,]+)", text):
            for one in names.split(","):
                found.setdefault(one, set()).add(name)
    return found


def executor_class(name: str) -> Any:
    return import_string(ExecutorLoader.executors.get(name, name))


def test_every_engine_names_an_executor() -> None:
    found = executors()
    assert set(found) == {"LocalExecutor", "CeleryExecutor", "gitops.airflow.executor.KubernetesExecutor"}
    for name in SAID_BY[: len(ENVIRONMENTS)]:
        assert name in found["LocalExecutor"]
    assert found["CeleryExecutor"] >= {
        "infra/compose/services.yml",
        "infra/kubernetes/celery/kustomization.yaml",
    }
    assert found["gitops.airflow.executor.KubernetesExecutor"] == {"infra/kubernetes/base/engine.env"}


@pytest.mark.parametrize("name", executors())
def test_an_executor_can_do_what_the_dags_ask_of_it(name: str, parsed: dict[str, Any]) -> None:
    # DAGs of earlier releases ask for callbacks: a scheduler whose executor does not know them ends.
    assert executor_class(name).supports_callbacks is True
    for dag_id, dag in parsed["dags"].items():
        for task_id, task in dag["tasks"].items():
            assert task["executor"] is None, f"{dag_id}.{task_id}: no engine has every executor"


def test_airflow_s_own_executor_for_kubernetes_cannot() -> None:
    assert executor_class("KubernetesExecutor").supports_callbacks is False, "then infra needs no other"


def test_a_deadline_is_told_of_by_the_triggerer_which_has_no_release(parsed: dict[str, Any]) -> None:
    for dag_id, dag in parsed["dags"].items():
        for kind, path in dag["late"]:
            assert kind == "AsyncCallback", f"{dag_id}: a pod cannot run a callback"
            assert path.startswith("gitops."), f"{dag_id}: {path} is not in the image"
            assert inspect.iscoroutinefunction(import_string(path)), path


def test_every_engine_has_a_triggerer() -> None:
    assert instance.COMMANDS["triggerer"][0] == "triggerer"
    commands = [service.get("command", []) for service in COMPOSE["services"].values()]
    assert [command[:2] for command in commands].count(["airflow", "triggerer"]) == 1
    base = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())
    assert "triggerer.yaml" in base["resources"]
    triggerer = yaml.safe_load((KUBERNETES / "base/triggerer.yaml").read_text())
    [container] = triggerer["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["airflow", "triggerer"]
    assert triggerer["spec"]["replicas"] >= 1


def told_by_local_engine(tmp_path: Path) -> dict[str, str]:
    layout = Layout(make_checkout(tmp_path / "checkout"))
    own = Own({"CELEBA_DIR": str(tmp_path)}, {})
    keys = secret.load(layout.place("dev").secrets)
    return variables.derive(layout, "dev", own, Address("localhost", 8080), keys, "sqlite://")


def below(path: str, mounts: list[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(mount) for mount in mounts)


FROM_ENGINES = [one for one in inputs.VARIABLES if one.source is not inputs.From.SETTINGS]


@pytest.mark.parametrize("variable", FROM_ENGINES, ids=lambda one: one.name)
def test_every_engine_gives_the_dags_their_inputs(variable: inputs.Input[Any], tmp_path: Path) -> None:
    assert variable.name in told_by_local_engine(tmp_path)

    # Every one of these is a folder, so it has to be mounted, too.
    said = re.sub(r"\$\{\w+:\+(.*)\}", r"\1", COMPOSE["x-airflow"]["environment"][variable.name])
    assert below(said, [volume["target"] for volume in COMPOSE["x-airflow"]["volumes"]])

    said = str(dotenv_values(KUBERNETES / "base/engine.env", interpolate=False)[variable.name])
    for spec in (TASK, WORKER["spec"]["template"]["spec"]):
        [container] = spec["containers"]
        claims = {one["name"] for one in spec["volumes"] if "persistentVolumeClaim" in one}
        kept = [one["mountPath"] for one in container["volumeMounts"] if one["name"] in claims]
        assert below(said, kept), f"{variable.name}: {said} is in no claim of the pod"


@pytest.mark.parametrize("connection", inputs.CONNECTIONS, ids=lambda one: one.name)
def test_every_engine_has_the_connections_or_says_where_to_put_them(
    connection: inputs.Connection, tmp_path: Path
) -> None:
    name = f"AIRFLOW_CONN_{connection.name.upper()}"
    engines = {
        "the local engine": (told_by_local_engine(tmp_path), ".env.example"),
        "Docker Compose": (COMPOSE["x-airflow"]["environment"], ".env.example"),
        "Kubernetes": (
            dotenv_values(KUBERNETES / "base/engine.env", interpolate=False),
            "docs/kubernetes.md",
        ),
    }
    for engine, (given, page) in engines.items():
        assert name in given or name in (ROOT / page).read_text(), (
            f"{engine}: neither {name} nor a word on it"
        )
