"""The manifests of the three environments as kubectl makes them; no cluster is asked."""

import functools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops.release import settings
from tests.support.command import captured
from tests.support.environments import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[3]
MINORS = ("1.35", "1.36", "1.37")
# Pods that Airflow and a person make, not Kustomize.
TASK = yaml.safe_load((ROOT / "infra/kubernetes/base/worker-pod.yaml").read_text())
PHOTOGRAPHS = yaml.safe_load((ROOT / "infra/kubernetes/photographs.yaml").read_text())

pytestmark = pytest.mark.system("kubectl")
every_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)


def kustomize(folder: Path) -> str:
    command = ["kubectl", "kustomize", str(folder)]
    return captured(command, check=True).stdout


@functools.cache
def rendered(environment: str) -> str:
    return kustomize(ROOT / "environments" / environment)


def objects(manifests: str, kind: str) -> dict[str, dict[str, Any]]:
    found = [one for one in yaml.safe_load_all(manifests) if one["kind"] == kind]
    return {one["metadata"]["name"]: one for one in found}


def pods(manifests: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pods of Deployments and of the job, of tasks and of a person: name, spec."""
    for kind in ("Deployment", "Job"):
        for name, one in objects(manifests, kind).items():
            yield name, one["spec"]["template"]["spec"]
    yield "task", TASK["spec"]
    yield "photographs", PHOTOGRAPHS["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def with_components(tmp_path: Path, *names: str, environment: str = "prod") -> str:
    """The manifests of an environment with components, added as their comments say."""
    folder = Path("environments") / environment
    for part in ("infra/kubernetes", folder):
        shutil.copytree(ROOT / part, tmp_path / part)
    with (tmp_path / folder / "kustomization.yaml").open("a") as file:
        file.write(f"\ncomponents: [{', '.join(f'../../infra/kubernetes/{name}' for name in names)}]\n")
    return kustomize(tmp_path / folder)


def with_celery(tmp_path: Path) -> str:
    return with_components(tmp_path, "celery")


def validate(manifests: str, minor: str, tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(manifests)
    tool = Path(sys.executable).with_name("kubernetes-validate")
    found = captured([tool, "--strict", "--quiet", "--kubernetes-version", minor, path])
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("minor", MINORS)
@every_environment
def test_kubernetes_knows_every_field(environment: str, minor: str, tmp_path: Path) -> None:
    validate(rendered(environment), minor, tmp_path)


@pytest.mark.parametrize("minor", MINORS)
def test_kubernetes_knows_every_field_of_single_pods_and_of_celery(minor: str, tmp_path: Path) -> None:
    validate(yaml.safe_dump(TASK), minor, tmp_path)
    validate(yaml.safe_dump(PHOTOGRAPHS), minor, tmp_path)
    validate(with_celery(tmp_path), minor, tmp_path)


def test_a_misspelt_field_does_not_pass(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="replica"):
        validate(rendered("dev").replace("  replicas: 2", "  replicaz: 2", 1), MINORS[-1], tmp_path)


@every_environment
def test_pods_keep_to_the_restricted_standard(environment: str) -> None:
    for name, pod in pods(rendered(environment)):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume], name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, f"{name}: {container['name']}"


@every_environment
def test_containers_have_limits_and_ask_for_no_more(environment: str) -> None:
    for name, pod in pods(rendered(environment)):
        for container in containers(pod):
            for part in ("limits", "requests"):
                assert container["resources"][part].keys() == {"cpu", "memory"}, (
                    f"{name}: {container['name']}"
                )


@every_environment
def test_deployments_are_probed_and_spread_over_disruptions(environment: str) -> None:
    budgets = objects(rendered(environment), "PodDisruptionBudget")
    deployments = objects(rendered(environment), "Deployment")
    assert budgets.keys() == deployments.keys()
    for name, one in deployments.items():
        [container] = one["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "livenessProbe"} <= container.keys(), name
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= (
            one["spec"]["template"]["metadata"]["labels"].items()
        ), name
    [api] = deployments["airflow-api-server"]["spec"]["template"]["spec"]["containers"]
    assert "readinessProbe" in api


@every_environment
def test_nobody_but_the_scheduler_may_talk_to_kubernetes(environment: str) -> None:
    manifests = rendered(environment)
    [binding] = objects(manifests, "RoleBinding").values()
    assert [one["name"] for one in binding["subjects"]] == ["airflow-scheduler"]
    accounts = {name: pod["serviceAccountName"] for name, pod in pods(manifests)}
    assert [name for name, account in accounts.items() if account == "airflow-scheduler"] == [
        "airflow-scheduler"
    ]
    with_token = [
        name
        for name, pod in pods(manifests)
        if any("serviceAccountToken" in str(volume.get("projected")) for volume in pod["volumes"])
    ]
    assert with_token == ["airflow-scheduler"]
    [role] = objects(manifests, "Role").values()
    assert all("*" not in str(rule) and "secrets" not in str(rule) for rule in role["rules"])


def test_a_task_is_given_neither_the_database_nor_the_keys() -> None:
    [container] = TASK["spec"]["containers"]
    given = [next(iter(one.values()))["name"] for one in container["envFrom"]]
    assert given == ["airflow-tasks", "task-engine", "task-settings"]


@every_environment
def test_one_image_with_a_version_runs_everything(environment: str) -> None:
    manifests = rendered(environment)
    images = {
        container["image"] for name, pod in pods(manifests) if name != "task" for container in containers(pod)
    }
    [image] = images
    repository, _, tag = image.rpartition(":")
    assert repository
    assert tag != "latest"
    for name, one in objects(manifests, "ConfigMap").items():
        if name.startswith(("engine", "task-engine")):
            assert one["data"]["AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY"] == repository
            assert one["data"]["AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG"] == tag
            assert one["data"]["AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE"] == f"visage-{environment}"


@every_environment
def test_the_settings_are_those_of_the_other_engines(environment: str) -> None:
    declared = settings.load(environment, ROOT).variables
    maps = objects(rendered(environment), "ConfigMap")
    found = [name for name in maps if name.startswith(("settings", "task-settings"))]
    assert len(found) == 2
    for name in found:
        assert maps[name]["data"] == declared
    # The last source of a container wins.
    given = [
        one["envFrom"]
        for _, pod in pods(rendered(environment))
        for one in containers(pod)
        if "envFrom" in one
    ]
    assert given
    for sources in given:
        *_, engine, last = (next(iter(source.values()))["name"] for source in sources)
        assert engine.startswith(("engine", "task-engine"))
        assert last.startswith(("settings", "task-settings"))
    own = next(one["data"] for name, one in maps.items() if name.startswith("engine"))
    address = f"http://{declared['WEB_HOST']}:{declared['WEB_PORT']}"
    assert own["AIRFLOW__API__BASE_URL"] == address


@every_environment
def test_everything_that_is_referred_to_is_made_here_or_is_a_known_secret(environment: str) -> None:
    manifests = rendered(environment)
    made = set(objects(manifests, "ConfigMap")) | {"kube-root-ca.crt"}
    claims = set(objects(manifests, "PersistentVolumeClaim"))
    accounts = set(objects(manifests, "ServiceAccount"))
    for name, pod in pods(manifests):
        assert pod["serviceAccountName"] in accounts, name
        for volume in pod["volumes"]:
            assert volume.get("configMap", {"name": "dvc"})["name"] in made, name
            assert volume.get("persistentVolumeClaim", {"claimName": "home"})["claimName"] in claims, name
        for container in containers(pod):
            for source in container.get("envFrom", []):
                assert source.get("configMapRef", {"name": "dvc"})["name"] in made, name
                assert source.get("secretRef", {"name": "airflow"})["name"] in {"airflow", "airflow-tasks"}, (
                    name
                )
    assert not objects(manifests, "Secret")


WAVE, HOOK = "argocd.argoproj.io/sync-wave", "argocd.argoproj.io/hook"
PHASES = ("PreSync", "Sync", "PostSync")
# They come from outside, before the first sync.
OUTSIDE = {("ConfigMap", "kube-root-ca.crt")}
COMPONENTS = tuple(
    sorted(
        path.parent.name
        for path in ROOT.glob("infra/kubernetes/*/kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == "Component"
    )
)


def key(one: dict[str, Any]) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def turn(one: dict[str, Any]) -> tuple[int, int]:
    """When Argo CD makes an object: phase, then wave. It waits for a hook to end before the next wave."""
    said = one["metadata"].get("annotations", {})
    return PHASES.index(said.get(HOOK, "Sync")), int(said.get(WAVE, "0"))


def references(node: Any) -> Iterator[tuple[str, str]]:
    """The objects that an object names, wherever in it: kind, name."""
    named = {
        "configMap": ("ConfigMap", "name"),
        "configMapKeyRef": ("ConfigMap", "name"),
        "configMapRef": ("ConfigMap", "name"),
        "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
        "secret": ("Secret", "secretName"),
        "secretKeyRef": ("Secret", "name"),
        "secretRef": ("Secret", "name"),
    }
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in named and isinstance(value, dict) and not value.get("optional"):
                kind, field = named[name]
                # In a projected volume a Secret is named as a ConfigMap is.
                yield kind, value.get(field) or value["name"]
            elif name == "imagePullSecrets":
                yield from (("Secret", one["name"]) for one in value)
            elif name == "serviceAccountName":
                yield "ServiceAccount", value
            elif name in ("roleRef", "scaleTargetRef"):
                yield value["kind"], value["name"]
            elif name == "subjects":
                yield from ((one["kind"], one["name"]) for one in value)
            yield from references(value)


def too_late(manifests: str) -> list[str]:
    """Objects that Argo CD makes no earlier than another that needs them and has a turn of its own."""
    made = [one for one in yaml.safe_load_all(manifests) if one]
    turns = {key(one): turn(one) for one in made}
    for one in made:
        if one["kind"] == "ExternalSecret":
            turns["Secret", one["spec"]["target"]["name"]] = turn(one)
    found = []
    for one in made:
        if not {WAVE, HOOK} & one["metadata"].get("annotations", {}).keys():
            continue
        for needed in set(references(one)) - OUTSIDE:
            if needed[0] == "Secret" and needed not in turns:
                continue  # made by hand, before the first sync
            assert needed in turns, f"{key(one)} needs {needed}, which nobody makes"
            if turns[needed] >= turn(one):
                found.append(f"{needed} is made at {turns[needed]}, {key(one)} needs it at {turn(one)}")
    return found


@pytest.mark.parametrize("components", [(), *((name,) for name in COMPONENTS), COMPONENTS], ids="+".join)
@every_environment
def test_argo_cd_makes_everything_before_it_is_needed(
    environment: str, components: tuple[str, ...], tmp_path: Path
) -> None:
    manifests = rendered(environment)
    if components:
        manifests = with_components(tmp_path, *components, environment=environment)
    assert too_late(manifests) == []
    [job] = objects(manifests, "Job").values()
    needed = {kind for kind, _ in references(job)}
    assert needed == {"ConfigMap", "Secret", "ServiceAccount"}, "the search finds what a hook needs"


@every_environment
def test_photographs_come_to_where_tasks_look_for_them(environment: str) -> None:
    [container] = PHOTOGRAPHS["spec"]["containers"]
    for name, one in objects(rendered(environment), "ConfigMap").items():
        if name.startswith(("engine", "task-engine")):
            assert f"mkdir -p {one['data']['CELEBA_DIR']} &&" in container["args"][-1]
    claims = [volume.get("persistentVolumeClaim") for volume in TASK["spec"]["volumes"]]
    mounted = [volume["persistentVolumeClaim"] for volume in PHOTOGRAPHS["spec"]["volumes"][1:]]
    assert mounted == [{"claimName": "home"}]
    assert mounted[0] in claims


def test_an_object_that_comes_too_late_is_found_out() -> None:
    plain = rendered("dev").replace(f'{WAVE}: "-2"', f'{WAVE}: "-1"')
    kinds = {line.split("'")[1] for line in too_late(plain)}
    assert kinds == {"ConfigMap", "ServiceAccount"}
    before = rendered("dev").replace(f"{HOOK}: Sync", f"{HOOK}: PreSync")
    assert too_late(before), "what is no hook is made after every hook of PreSync"


@every_environment
def test_what_no_rule_allows_does_not_pass_the_network(environment: str) -> None:
    policies = objects(rendered(environment), "NetworkPolicy")
    closed = policies["nothing"]["spec"]
    assert closed["podSelector"] == {} or "matchLabels" in closed["podSelector"]
    assert set(closed["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & closed.keys()


def test_a_changed_setting_rolls_the_deployments(tmp_path: Path) -> None:
    for part in ("infra/kubernetes", "environments/dev"):
        shutil.copytree(ROOT / part, tmp_path / part)
    path = tmp_path / "environments/dev/settings.env"
    content = path.read_text()
    assert "ACCURACY_THRESHOLD=0.85" in content
    path.write_text(content.replace("ACCURACY_THRESHOLD=0.85", "ACCURACY_THRESHOLD=0.9"))
    changed = objects(kustomize(tmp_path / "environments/dev"), "Deployment")
    for name, one in objects(rendered("dev"), "Deployment").items():
        assert changed[name]["spec"]["template"] != one["spec"]["template"], name


def test_celery_takes_the_scheduler_its_access_and_scales_its_workers(tmp_path: Path) -> None:
    manifests = with_celery(tmp_path)
    assert not objects(manifests, "Role")
    assert not objects(manifests, "RoleBinding")
    scalers = objects(manifests, "HorizontalPodAutoscaler")
    assert scalers.keys() == {"airflow-worker", "serving"}
    scaler = scalers["airflow-worker"]
    deployments = objects(manifests, "Deployment")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "airflow-worker"
    assert "replicas" not in deployments["airflow-worker"]["spec"]
    assert deployments["airflow-scheduler"]["spec"]["template"]["spec"]["serviceAccountName"] == "airflow"
    own = next(
        one["data"] for name, one in objects(manifests, "ConfigMap").items() if name.startswith("engine")
    )
    assert own["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert own["AIRFLOW__CELERY__WORKER_CONCURRENCY"] == "1"
    # What waits at the broker for a worker is given up after a while; each scheduler counts for itself.
    parallelism = int(settings.load("prod", ROOT).variables["AIRFLOW__CORE__PARALLELISM"])
    tasks = deployments["airflow-scheduler"]["spec"]["replicas"] * parallelism
    assert tasks == scaler["spec"]["maxReplicas"]
    assert int(own["SCORING_SLOTS"]) == tasks - 1, "the others need not wait for the end of a batch"


def secrets_of(manifests: str) -> set[str]:
    """The names of the Secrets that any container is given, as variables or as files."""
    found = set()
    for _, pod in pods(manifests):
        found |= {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        for container in containers(pod):
            sources = container.get("envFrom", [])
            found |= {source["secretRef"]["name"] for source in sources if "secretRef" in source}
    return found


@pytest.mark.parametrize("components", [("external-secrets",), ("celery", "external-secrets")])
def test_external_secrets_bring_every_secret_that_a_pod_is_given(
    components: tuple[str, ...], tmp_path: Path
) -> None:
    manifests = with_components(tmp_path, *components)
    brought = objects(manifests, "ExternalSecret")
    of_tasks = {volume["secret"]["secretName"] for volume in TASK["spec"]["volumes"] if "secret" in volume}
    given = secrets_of(manifests) | of_tasks
    assert brought.keys() == given
    names = {"airflow", "airflow-tasks", "airflow-accounts", "airflow-verifier", "serving-tokens"}
    assert given == names
    for name, one in brought.items():
        assert one["apiVersion"] == "external-secrets.io/v1"
        assert one["metadata"]["namespace"] == "visage-prod"
        # Before the settings and the job, which has the database's password of it
        assert int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) < -2
        assert one["spec"] == {
            "refreshInterval": "1h",
            # Of the namespace: a ClusterSecretStore could read the secrets of other environments
            "secretStoreRef": {"kind": "SecretStore", "name": "visage"},
            "target": {"name": name},
            "dataFrom": [{"extract": {"key": name}}],
        }
    assert not objects(manifests, "Secret")


def test_argo_cd_makes_an_application_of_each_environment_from_main() -> None:
    documents = list(yaml.safe_load_all((ROOT / "infra/argocd/applicationset.yaml").read_text()))
    [applications] = [one for one in documents if one["kind"] == "ApplicationSet"]
    [generator] = applications["spec"]["generators"]
    [pattern] = generator["git"]["files"]
    assert sorted(path.parent.name for path in ROOT.glob(pattern["path"])) == sorted(ENVIRONMENTS)
    source = applications["spec"]["template"]["spec"]["source"]
    assert source["targetRevision"] == generator["git"]["revision"] == "main"
    policy = applications["spec"]["template"]["spec"]["syncPolicy"]
    assert policy["automated"] == {"prune": True, "selfHeal": True}
    # Else the settings that pods run with go before the pods do: their wave is an early one.
    assert "PruneLast=true" in policy["syncOptions"]
