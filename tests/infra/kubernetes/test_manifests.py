"""The manifests of the environments as kubectl makes them, with components; no cluster is asked."""

import re
import shutil
import sys
from collections.abc import Iterator, Set
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes.utils import parse_quantity

from gitops.release import settings
from tests.infra.kubernetes.rendering import (
    ROOT,
    containers,
    documents,
    kustomize,
    objects,
    patched,
    pods,
    rendered,
    with_components,
)
from tests.support.command import captured
from tests.support.environments import ENVIRONMENTS

MINORS = ("1.35", "1.36", "1.37")
# A pod that a person makes, not Kustomize.
PHOTOGRAPHS = yaml.safe_load((ROOT / "infra/kubernetes/photographs.yaml").read_text())
# Objects of operators, whose schemas this test does not have.
OPERATORS = {"ExternalSecret", "HTTPRoute", "ScaledObject", "ServiceMonitor", "TriggerAuthentication"}
COMPONENTS = tuple(
    sorted(
        path.parent.name
        for path in ROOT.glob("infra/kubernetes/*/kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == "Component"
        and path.parent.name != "preview"  # `gitops preview up` writes an overlay and Secrets for it
    )
)
# keda scales the workers of celery, which has no pods for single tasks.
ALONE = tuple((name,) for name in COMPONENTS if name != "keda")
TOGETHER = (("celery", "keda"), tuple(name for name in COMPONENTS if name not in ("celery", "keda")))

pytestmark = pytest.mark.system("kubectl")
every_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)
HOURS = re.compile(r"execution_timeout=timedelta\(hours=(\d+)\)")
every_component = pytest.mark.parametrize("components", [*ALONE, *TOGETHER], ids="+".join)


def with_celery(tmp_path: Path) -> str:
    return with_components(tmp_path, "celery")


def validate(manifests: str, minor: str, tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(one for one in documents(manifests) if one["kind"] not in OPERATORS))
    tool = Path(sys.executable).with_name("kubernetes-validate")
    found = captured([tool, "--strict", "--quiet", "--kubernetes-version", minor, path])
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("minor", MINORS)
@every_environment
def test_kubernetes_knows_every_field(environment: str, minor: str, tmp_path: Path) -> None:
    validate(rendered(environment), minor, tmp_path)


@every_component
def test_kubernetes_knows_every_field_of_components(components: tuple[str, ...], tmp_path: Path) -> None:
    validate(with_components(tmp_path, *components), MINORS[-1], tmp_path)


@pytest.mark.parametrize("minor", MINORS)
def test_kubernetes_knows_every_field_of_a_single_pod(minor: str, tmp_path: Path) -> None:
    validate(yaml.safe_dump(PHOTOGRAPHS), minor, tmp_path)


def test_a_misspelt_field_does_not_pass(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="replica"):
        validate(rendered("dev").replace("  replicas: 2", "  replicaz: 2", 1), MINORS[-1], tmp_path)


def check_standard(manifests: str) -> None:
    for name, pod in pods(manifests):
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
def test_pods_keep_to_the_restricted_standard(environment: str) -> None:
    check_standard(rendered(environment))
    [namespace] = objects(rendered(environment), "Namespace").values()
    assert namespace["metadata"]["name"] == f"visage-{environment}"
    for mode in ("enforce", "warn"):
        assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert "Delete=false" in namespace["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]


@every_component
def test_components_keep_to_the_restricted_standard(components: tuple[str, ...], tmp_path: Path) -> None:
    check_standard(with_components(tmp_path, *components))


@every_environment
def test_containers_have_limits_and_ask_for_no_more(environment: str) -> None:
    for name, pod in pods(rendered(environment)):
        for container in containers(pod):
            for part in ("limits", "requests"):
                disk = {"ephemeral-storage"} if name == "task" else set()
                assert container["resources"][part].keys() == {"cpu", "memory"} | disk, (
                    f"{name}: {container['name']}"
                )


def test_an_environment_requests_as_much_as_the_page_states() -> None:
    page = " ".join((ROOT / "docs/kubernetes.md").read_text().split())
    cpu, memory = re.findall(r"One environment requests ([\d.]+) CPU and (\d+) GiB", page)[0]
    standing = {"cpu": Decimal(0), "memory": Decimal(0)}
    scaled = objects(rendered("prod"), "HorizontalPodAutoscaler")
    for name, one in objects(rendered("prod"), "Deployment").items():
        least = scaled[name]["spec"]["minReplicas"] if name in scaled else one["spec"].get("replicas", 1)
        for container in one["spec"]["template"]["spec"]["containers"]:
            for resource, amount in container["resources"]["requests"].items():
                standing[resource] += least * parse_quantity(amount)
    assert standing == {"cpu": Decimal(cpu), "memory": int(memory) * 1024**3}
    [task] = objects(rendered("prod"), "PodTemplate").values()
    asked = task["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert f"A task requests {asked['cpu']} CPU, {asked['memory'][:-2]} GiB of memory" in page
    assert f"and {asked['ephemeral-storage'][:-2]} GiB of disk" in page


@every_environment
def test_deployments_are_probed_and_spread_over_disruptions(environment: str) -> None:
    budgets = objects(rendered(environment), "PodDisruptionBudget")
    deployments = objects(rendered(environment), "Deployment")
    assert budgets.keys() == deployments.keys()
    for name, one in deployments.items():
        [container] = one["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), name
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= (
            one["spec"]["template"]["metadata"]["labels"].items()
        ), name


@every_environment
def test_one_pod_at_a_time_writes_the_checkouts(environment: str) -> None:
    for name, one in objects(rendered(environment), "Deployment").items():
        [container] = one["spec"]["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        if "bundles" in mounts and not mounts["bundles"].get("readOnly"):
            assert name == "airflow-dag-processor"
            assert one["spec"]["replicas"] == 1
            assert one["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


@every_environment
def test_readiness_is_that_of_the_work(environment: str) -> None:
    deployments = objects(rendered(environment), "Deployment")
    for name, one in deployments.items():
        pod = one["spec"]["template"]["spec"]
        [container] = pod["containers"]
        if name in ("airflow-api-server", "serving"):
            continue  # it writes nothing, and answers itself
        command = container["readinessProbe"]["exec"]["command"]
        written = set(command[command.index("--writes") + 1 :])
        claims = {volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
        mounted = [mount for mount in container["volumeMounts"] if mount["name"] in claims]
        assert written == {mount["mountPath"] for mount in mounted if not mount.get("readOnly")}, name
        assert ("--dags" in command) == (name == "airflow-dag-processor")


@every_environment
def test_few_may_talk_to_kubernetes(environment: str) -> None:
    manifests = rendered(environment)
    allowed = {"airflow-scheduler", "airflow-clean"}
    bindings = objects(manifests, "RoleBinding")
    assert bindings.keys() == objects(manifests, "Role").keys() == allowed
    for name, binding in bindings.items():
        assert [one["name"] for one in binding["subjects"]] == [binding["roleRef"]["name"]] == [name]
    accounts = {name: pod["serviceAccountName"] for name, pod in pods(manifests)}
    assert {name for name, account in accounts.items() if account in allowed} == allowed
    with_token = {
        name
        for name, pod in pods(manifests)
        if any("serviceAccountToken" in str(volume.get("projected")) for volume in pod["volumes"])
    }
    assert with_token == allowed
    for role in objects(manifests, "Role").values():
        assert all("*" not in str(rule) and "secrets" not in str(rule) for rule in role["rules"])


SECRETS = {
    "airflow-api-server": {"airflow", "airflow-api"},
    "airflow-scheduler": {"airflow", "airflow-api", "airflow-accounts"},
    "airflow-dag-processor": {
        "airflow",
        "airflow-git",
        "airflow-storage",
        "airflow-notices",
        "airflow-verifier",
    },
    "airflow-triggerer": {"airflow", "airflow-notices"},
    "airflow-clean": {"airflow"},
    "airflow-drill": {"airflow"},
    # Neither the database nor Airflow's keys
    "task": {"airflow-git", "airflow-storage", "airflow-notices", "airflow-verifier"},
    "photographs": set(),
    "serving": {"airflow-git", "airflow-storage", "serving-tokens"},
    "airflow-worker": {"airflow", "airflow-git", "airflow-storage", "airflow-notices", "airflow-verifier"},
}


def test_each_pod_has_the_secrets_that_it_needs(tmp_path: Path) -> None:
    for manifests in (rendered("prod"), with_celery(tmp_path)):
        for name, pod in pods(manifests):
            assert secrets_of(pod) == SECRETS[name], name
            mounted = {
                mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]
            }
            assert ("git" in mounted) == ("airflow-git" in SECRETS[name]), name


def test_the_page_lists_the_secrets_of_each_pod() -> None:
    table = (
        (ROOT / "docs/kubernetes.md").read_text().partition("| pod | its Secrets |")[2].partition("\n\n")[0]
    )
    found = {
        row.split("|")[1]: set(re.findall("`([a-z-]+)`", row.split("|")[2])) for row in table.split("\n")[2:]
    }
    names = {"a task": "task", "the CronJob `airflow-clean`": "airflow-clean", "serving": "serving"}
    listed = {names.get(pod.strip(), f"airflow-{pod.strip()}"): secrets for pod, secrets in found.items()}
    assert listed == {name: SECRETS[name] for name in listed}
    assert {name for name, _ in pods(rendered("prod"))} - listed.keys() == {"photographs"}


def test_pods_reach_the_database_if_they_have_its_password(tmp_path: Path) -> None:
    manifests = with_components(tmp_path, "celery", "drill")
    [expression] = objects(manifests, "NetworkPolicy")["to-database"]["spec"]["podSelector"][
        "matchExpressions"
    ]
    knowing = {name.removeprefix("airflow-") for name, secrets in SECRETS.items() if "airflow" in secrets}
    assert set(expression["values"]) == knowing


@pytest.mark.parametrize("components", [(), ("celery",)], ids="+".join)
def test_a_process_starts_again_when_its_secrets_change(components: tuple[str, ...], tmp_path: Path) -> None:
    """The liveness probe compares the variables with the mounted Secrets, which kubelet keeps up to date."""
    for name, one in objects(with_components(tmp_path, *components), "Deployment").items():
        pod = one["spec"]["template"]["spec"]
        [container] = pod["containers"]
        [folder] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets"]
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
        given = [source["secretRef"] for source in container["envFrom"] if "secretRef" in source]
        assert [source["secret"] for source in volume["projected"]["sources"]] == given, name
        assert f"--secrets {folder}" in " ".join(container["livenessProbe"]["exec"]["command"]), name


@every_environment
def test_one_image_with_a_version_runs_everything(environment: str) -> None:
    images = {container["image"] for _, pod in pods(rendered(environment)) for container in containers(pod)}
    [image] = images
    repository, _, tag = image.rpartition(":")
    assert repository
    assert tag != "latest"
    # Else the pods of tasks would have another one.
    assert "WORKER_CONTAINER" not in rendered(environment)


@every_environment
def test_the_settings_are_those_of_the_other_engines(environment: str) -> None:
    declared = settings.load(environment, ROOT).variables
    maps = objects(rendered(environment), "ConfigMap")
    [found] = [name for name in maps if name.startswith("settings")]
    assert maps[found]["data"] == declared
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
        assert engine.startswith("engine")
        assert last.startswith("settings")
    check_addresses(rendered(environment))


def check_addresses(manifests: str) -> None:
    [own] = [
        one["data"] for name, one in objects(manifests, "ConfigMap").items() if name.startswith("engine")
    ]
    address, tasks = (
        urlsplit(own[name]) for name in ("AIRFLOW__API__BASE_URL", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL")
    )
    assert address.scheme in ("http", "https")
    assert address.hostname
    assert not address.path.endswith("/")
    # The api-server answers tasks below the path of people's address alone.
    assert tasks.path == f"{address.path}/execution/"
    for ingress in objects(manifests, "Ingress").values():
        [rule] = ingress["spec"]["rules"]
        assert rule["host"] in (address.hostname, "airflow.example.com")
        assert rule["http"]["paths"][0]["path"] == (address.path or "/")


def check_selected(manifests: str) -> None:
    """Kubectl leaves out an object that the selector of the page does not take."""
    [(name, value)] = re.findall(
        r"kubectl apply -k .* -l (\S+)=(\S+)", (ROOT / "docs/kubernetes.md").read_text()
    )
    for one in documents(manifests):
        assert one["metadata"].get("labels", {}).get(name) == value, key(one)


@every_environment
def test_the_command_of_the_page_applies_every_object(environment: str) -> None:
    check_selected(rendered(environment))


@every_component
def test_the_command_of_the_page_applies_every_object_of_components(
    components: tuple[str, ...], tmp_path: Path
) -> None:
    check_selected(with_components(tmp_path, *components))


@every_environment
def test_everything_that_is_referred_to_is_made_here_or_is_a_known_secret(environment: str) -> None:
    check_references(rendered(environment))
    assert not objects(rendered(environment), "Secret")


@every_component
def test_everything_that_a_component_refers_to_is_made(components: tuple[str, ...], tmp_path: Path) -> None:
    check_references(with_components(tmp_path, *components))


def check_references(manifests: str, further: Set[tuple[str, str]] = frozenset()) -> None:
    made = {key(one) for one in [*documents(manifests), PHOTOGRAPHS]} | OUTSIDE | further
    made |= {("Secret", name) for names in SECRETS.values() for name in names}
    for one in [*documents(manifests), PHOTOGRAPHS]:
        assert set(references(one)) <= made, key(one)


WAVE, HOOK = "argocd.argoproj.io/sync-wave", "argocd.argoproj.io/hook"
PHASES = ("PreSync", "Sync", "PostSync")
# They come from outside, before the first sync. Whoever opens the way in or scales adds two.
OUTSIDE = {
    ("ConfigMap", "kube-root-ca.crt"),
    ("Secret", "airflow-tls"),
    ("Secret", "airflow-keda"),
    ("Secret", "airflow-verifier"),
}


def key(one: dict[str, Any]) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def turn(one: dict[str, Any]) -> tuple[int, int]:
    """When Argo CD makes an object: phase, then wave. It waits for a hook to end before the next wave."""
    said = one["metadata"].get("annotations", {})
    return PHASES.index(said.get(HOOK, "Sync")), int(said.get(WAVE, "0"))


def references(node: Any, *, optional: bool = False) -> Iterator[tuple[str, str]]:
    """The objects that an object names, wherever in it: kind, name.

    With `optional`, also those that may be missing.
    """
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
            yield from references(item, optional=optional)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in named and isinstance(value, dict) and (optional or not value.get("optional")):
                kind, field = named[name]
                # In a projected volume a Secret is named as a ConfigMap is.
                yield kind, value.get(field) or value["name"]
            elif name == "imagePullSecrets":
                yield from (("Secret", one["name"]) for one in value)
            elif name == "serviceAccountName":
                yield "ServiceAccount", str(value)
            elif name in ("roleRef", "scaleTargetRef"):
                yield value.get("kind", "Deployment"), value["name"]
            elif name == "secretTargetRef":
                yield from (("Secret", one["name"]) for one in value)
            elif name == "subjects":
                yield from ((one["kind"], one["name"]) for one in value)
            yield from references(value, optional=optional)


def secrets_of(pod: dict[str, Any]) -> set[str]:
    return {name for kind, name in references(pod, optional=True) if kind == "Secret"}


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


@every_environment
def test_nothing_waits_for_a_turn_so_argo_cd_and_kubectl_make_the_same(environment: str) -> None:
    manifests = rendered(environment)
    assert too_late(manifests) == []
    assert {turn(one) for one in documents(manifests)} == {(1, 0)}
    # A job cannot be changed, so kubectl could not apply another setting.
    assert not objects(manifests, "Job")


@every_component
def test_components_come_in_order(components: tuple[str, ...], tmp_path: Path) -> None:
    assert too_late(with_components(tmp_path, *components)) == []


def test_an_object_that_comes_too_late_is_found_out(tmp_path: Path) -> None:
    more = """
    patches:
      - target: {kind: Deployment, name: airflow-scheduler}
        patch: |-
          - {op: add, path: /metadata/annotations, value: {argocd.argoproj.io/sync-wave: "-1"}}
    """
    kinds = {line.split("'")[1] for line in too_late(patched(tmp_path, more))}
    assert kinds == {"ConfigMap", "PersistentVolumeClaim", "ServiceAccount"}


@every_environment
def test_photographs_come_to_where_tasks_look_for_them(environment: str) -> None:
    [container] = PHOTOGRAPHS["spec"]["containers"]
    for name, one in objects(rendered(environment), "ConfigMap").items():
        if name.startswith("engine"):
            assert f"mkdir -p {one['data']['CELEBA_DIR']} &&" in container["args"][-1]
    task = dict(pods(rendered(environment)))["task"]
    claims = [volume.get("persistentVolumeClaim") for volume in task["volumes"]]
    mounted = [volume["persistentVolumeClaim"] for volume in PHOTOGRAPHS["spec"]["volumes"][1:]]
    assert mounted == [{"claimName": "home"}]
    assert mounted[0] in claims


@every_environment
def test_what_no_rule_allows_does_not_pass_the_network(environment: str) -> None:
    policies = objects(rendered(environment), "NetworkPolicy")
    closed = policies["nothing"]["spec"]
    assert closed["podSelector"] == {} or "matchLabels" in closed["podSelector"]
    assert set(closed["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & closed.keys()


def test_a_changed_setting_rolls_the_deployments_and_reaches_the_next_task(tmp_path: Path) -> None:
    for part in ("infra/kubernetes", "environments/dev"):
        shutil.copytree(ROOT / part, tmp_path / part)
    path = tmp_path / "environments/dev/settings.env"
    content = path.read_text()
    assert "ACCURACY_THRESHOLD=0.85" in content
    path.write_text(content.replace("ACCURACY_THRESHOLD=0.85", "ACCURACY_THRESHOLD=0.9"))
    changed = kustomize(tmp_path / "environments/dev")
    before = dict(pods(rendered("dev")))
    for name, pod in pods(changed):
        assert (pod == before[name]) == (name == "photographs"), name


def test_celery_takes_the_scheduler_its_access_and_has_a_worker_for_each_task(tmp_path: Path) -> None:
    manifests = with_celery(tmp_path)
    assert objects(manifests, "Role").keys() == {"airflow-clean"}
    assert objects(manifests, "RoleBinding").keys() == {"airflow-clean"}
    deployments = objects(manifests, "Deployment")
    workers = deployments["airflow-worker"]["spec"]
    assert deployments["airflow-scheduler"]["spec"]["template"]["spec"]["serviceAccountName"] == "airflow"
    own = next(
        one["data"] for name, one in objects(manifests, "ConfigMap").items() if name.startswith("engine")
    )
    assert own["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert own["AIRFLOW__CELERY__WORKER_CONCURRENCY"] == "1"
    # What waits at the broker for a worker is given up after a while; each scheduler counts for itself.
    parallelism = int(settings.load("prod", ROOT).variables["AIRFLOW__CORE__PARALLELISM"])
    tasks = deployments["airflow-scheduler"]["spec"]["replicas"] * parallelism
    assert tasks == workers["replicas"]
    longest = max(int(hours) for page in ROOT.glob("dags/*.py") for hours in HOURS.findall(page.read_text()))
    assert workers["template"]["spec"]["terminationGracePeriodSeconds"] > longest * 3600
    assert int(own["SCORING_SLOTS"]) == tasks - 1, "the others need not wait for the end of a batch"


def test_keda_starts_a_worker_for_each_task_and_stops_all(tmp_path: Path) -> None:
    manifests = with_components(tmp_path, "celery", "keda")
    assert "replicas" not in objects(manifests, "Deployment")["airflow-worker"]["spec"]
    [scaler] = objects(manifests, "ScaledObject").values()
    assert scaler["spec"]["scaleTargetRef"] == {"name": "airflow-worker"}
    assert (scaler["spec"]["minReplicaCount"], scaler["spec"]["maxReplicaCount"]) == (0, 4)
    [trigger] = scaler["spec"]["triggers"]
    [authentication] = objects(manifests, "TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication
    assert "'queued', 'running'" in trigger["metadata"]["query"]


@pytest.mark.parametrize("components", [("external-secrets",), ("celery", "external-secrets")])
def test_external_secrets_bring_every_secret_that_a_pod_is_given(
    components: tuple[str, ...], tmp_path: Path
) -> None:
    manifests = with_components(tmp_path, *components)
    brought = objects(manifests, "ExternalSecret")
    given = {name for _, pod in pods(manifests) for name in secrets_of(pod)}
    # Tasks of Celery run in its workers.
    assert brought.keys() == given
    for name, one in brought.items():
        assert one["apiVersion"] == "external-secrets.io/v1"
        assert one["metadata"]["namespace"] == "visage-prod"
        assert one["spec"] == {
            "refreshInterval": "1h",
            # Of the namespace: a ClusterSecretStore could read the secrets of other environments
            "secretStoreRef": {"kind": "SecretStore", "name": "visage"},
            "target": {"name": name},
            "dataFrom": [{"extract": {"key": name}}],
        }
    assert not objects(manifests, "Secret")


def test_argo_cd_makes_an_application_of_the_branch_of_each_environment() -> None:
    documents = list(yaml.safe_load_all((ROOT / "infra/argocd/applicationset.yaml").read_text()))
    [applications] = [one for one in documents if one["kind"] == "ApplicationSet"]
    [generator] = applications["spec"]["generators"]
    [pattern] = generator["git"]["files"]
    assert sorted(path.parent.name for path in ROOT.glob(pattern["path"])) == sorted(ENVIRONMENTS)
    source = applications["spec"]["template"]["spec"]["source"]
    assert generator["git"]["revision"] == "main"
    assert source == {**source, "targetRevision": "deploy/{{ .path.basename }}", "path": "."}
    assert "templatePatch" not in applications["spec"]
    policy = applications["spec"]["template"]["spec"]["syncPolicy"]
    assert policy["automated"] == {"prune": True, "selfHeal": True}
    # Else the settings that pods run with go before the pods do: their wave is an early one.
    assert "PruneLast=true" in policy["syncOptions"]
