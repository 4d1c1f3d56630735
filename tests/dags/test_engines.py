"""Each engine (the local one, Docker Compose, Kubernetes) has everything that the DAGs need of it."""

import inspect
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from airflow._shared.module_loading import import_string
from airflow.configuration import conf
from airflow.executors.executor_loader import ExecutorLoader
from dotenv import dotenv_values

from gitops.release import airflow_options, settings
from infra.local import instance, secret, variables
from infra.local.layout import Layout
from infra.local.variables import Address, UserConfig
from tests.dags import inputs
from tests.support.checkout import make_checkout
from tests.support.environments import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "infra/kubernetes"
COMPOSE = yaml.safe_load((ROOT / "infra/compose/services.yml").read_text())
SAID_BY = [
    *(f"environments/{environment}/settings.env" for environment in ENVIRONMENTS),
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("infra/**/*")) if path.is_file()),
    ".env.example",
    "docker-compose.yml",
]
TASK = yaml.safe_load((KUBERNETES / "base/task.yaml").read_text())["template"]["spec"]
WORKER, *_ = yaml.safe_load_all((KUBERNETES / "celery/worker.yaml").read_text())


def executors() -> dict[str, set[str]]:
    """Every executor that a file of an engine names, and the files that do."""
    found: dict[str, set[str]] = {}
    for name in SAID_BY:
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue
        for names in re.findall(
            r"(?:AIRFLOW__CORE__EXECUTOR|AIRFLOW_EXECUTOR)\s*(?:[=:]\s*|:-)([\w.,]+)", text
        ):
            for one in filter(None, names.split(",")):
                found.setdefault(one, set()).add(name)
    return found


def test_an_idle_environment_starts_as_few_pods_as_the_page_states(parsed: dict[str, Any]) -> None:
    active = settings.load("prod", ROOT).variables["ACTIVE_DAGS"].split(",")
    planned = {dag: parsed["dags"][dag] for dag in active if parsed["dags"][dag]["schedule"].startswith("@")}
    assert {dag: found["schedule"] for dag, found in planned.items()} == {"retention": "@daily"}
    clean, *_ = yaml.safe_load_all((KUBERNETES / "base/clean.yaml").read_text())
    assert re.fullmatch(r"\d+ \d+ \* \* \*", clean["spec"]["schedule"]), "once a day"
    tasks = len(planned["retention"]["tasks"])
    [bundle] = json.loads(
        settings.load("prod", ROOT).variables["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"]
    )
    looks = 24 * 3600 // bundle["kwargs"]["refresh_interval"]
    page = " ".join((ROOT / "docs/kubernetes.md").read_text().split())
    assert f"{tasks + 1} pods a day: the {tasks} tasks of the DAG `retention`, and `airflow-clean`" in page
    assert f"asks git for news {looks:,} times a day" in page


def executor_class(name: str) -> Any:
    return import_string(ExecutorLoader.executors.get(name, name))


def test_every_engine_names_an_executor() -> None:
    found = executors()
    assert set(found) == {"LocalExecutor", "CeleryExecutor", "gitops.airflow.executor.KubernetesExecutor"}
    # The local engine names none, which is Airflow's default.
    assert conf.get_default_value("core", "executor") == "LocalExecutor"
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


def told_by_local_engine(tmp_path: Path, *further: str) -> dict[str, str]:
    tmp_path.mkdir(exist_ok=True)
    layout = Layout(make_checkout(tmp_path / "checkout"))
    with (layout.checkout / settings.path_of("dev")).open("a") as file:
        file.writelines(f"{line}\n" for line in further)
    user_config = UserConfig({"CELEBA_DIR": str(tmp_path)}, {})
    keys = secret.load(layout.paths_of("dev").secrets)
    return variables.derive(layout, "dev", user_config, Address("localhost", 8080), keys, "sqlite://")


def below(path: str, mounts: list[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(mount) for mount in mounts)


@pytest.mark.parametrize("variable", inputs.VARIABLES)
def test_every_engine_gives_the_dags_their_inputs(variable: str, tmp_path: Path) -> None:
    assert variable in told_by_local_engine(tmp_path)

    # Every one of these is a folder, so it has to be mounted, too.
    said = re.sub(r"\$\{\w+:\+(.*)\}", r"\1", COMPOSE["x-airflow"]["environment"][variable])
    assert below(said, [volume["target"] for volume in COMPOSE["x-airflow"]["volumes"]])

    said = str(dotenv_values(KUBERNETES / "base/engine.env", interpolate=False)[variable])
    for spec in (TASK, WORKER["spec"]["template"]["spec"]):
        [container] = spec["containers"]
        claims = {one["name"] for one in spec["volumes"] if "persistentVolumeClaim" in one}
        kept = [one["mountPath"] for one in container["volumeMounts"] if one["name"] in claims]
        assert below(said, kept), f"{variable}: {said} is in no claim of the pod"


@pytest.mark.parametrize("connection", inputs.CONNECTIONS)
def test_every_engine_has_the_connections_or_says_where_to_put_them(connection: str, tmp_path: Path) -> None:
    name = f"AIRFLOW_CONN_{connection.upper()}"
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


def told_by_kubernetes() -> set[str]:
    """The variables of the engine, those that a component or an environment adds among them."""
    pages = [*KUBERNETES.rglob("engine.env"), *KUBERNETES.rglob("*.yaml")]
    pages += ROOT.glob("environments/*/kustomization.yaml")
    said = re.compile(r"^[ -]*(?:name: )?(AIRFLOW__\w+)(?:=|$)", re.M)
    return {name for page in pages for name in said.findall(page.read_text())}


def test_a_setting_wins_over_an_engine_or_is_refused(tmp_path: Path) -> None:
    # On Kubernetes the settings come last, so what the engine must keep is refused.
    kept = told_by_kubernetes() & settings.REFUSED.keys()
    compose = COMPOSE["x-airflow"]["environment"]
    kept |= {name.removesuffix("_CMD") for name in compose if f"${{{name}:-" not in str(compose[name])}
    local = told_by_local_engine(tmp_path / "as it comes")
    declared = settings.load("dev", ROOT).variables
    for name in local.keys() - declared.keys() - settings.REFUSED.keys():
        if name.startswith("AIRFLOW__"):
            other = {"True": "False", "False": "True"}.get(local[name], "60")
            line = f"{name}={other}"
            assert told_by_local_engine(tmp_path / name, line)[name] == line.partition("=")[2]
    kept |= local.keys() & settings.REFUSED.keys()
    kept = {name for name in kept - declared.keys() if name.startswith("AIRFLOW__")}
    secrets = {name for name in kept if "a secret" in (str(airflow_options.fault(name, "x")))}
    assert kept - secrets <= settings.REFUSED.keys()
    # These no engine sets: one has no meaning here, one would load the code of a folder, two would let
    # everybody in, and two would give tasks another image than the one of the manifests.
    assert settings.REFUSED.keys() - kept == {
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__PLUGINS_FOLDER",
        "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY",
        "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS",
        "AIRFLOW__FAB__AUTH_ROLE_PUBLIC",
    }


def test_an_engine_sets_options_that_airflow_knows(tmp_path: Path) -> None:
    names = {
        *COMPOSE["x-airflow"]["environment"],
        *told_by_kubernetes(),
        *told_by_local_engine(tmp_path / "x"),
    }
    options = [name for name in names if name.startswith("AIRFLOW__")]
    assert len(options) > 20
    assert not [name for name in options if "unknown" in (str(airflow_options.fault(name, "1")))]
