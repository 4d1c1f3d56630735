"""Every example of docs/kubernetes-patches.md is valid, and does what it is for."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.kubernetes.rendering import ROOT, objects, patched, pod_of
from tests.infra.kubernetes.test_manifests import (
    COMPONENTS,
    MINORS,
    check_addresses,
    check_references,
    check_selected,
    check_standard,
    secrets_of,
    validate,
)

pytestmark = pytest.mark.system("kubectl")

PAGE = (ROOT / "docs/kubernetes-patches.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
MADE_BY_PEOPLE = {("Secret", "registry"), ("Secret", "extra"), ("PersistentVolumeClaim", "home")}


def made_with(tmp_path: Path, word: str) -> str:
    """The manifests of prod with the one example that has a word in it."""
    [example] = [example for example in EXAMPLES if word in example]
    return patched(tmp_path, example)


def task(manifests: str) -> dict[str, Any]:
    found = pod_of(objects(manifests, "PodTemplate")["task"])
    assert found
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_valid_as_it_is(example: str, tmp_path: Path) -> None:
    manifests = patched(
        tmp_path / "tree", example, files={"known_hosts": "git.example.org ssh-ed25519 AAAA\n"}
    )
    validate(manifests, MINORS[-1], tmp_path)
    check_standard(manifests)
    check_references(manifests, MADE_BY_PEOPLE)
    check_selected(manifests)
    check_addresses(manifests)


def test_every_component_is_on_the_page() -> None:
    table = PAGE.partition("## Components")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([a-z-]+)`", table)) == set(COMPONENTS)


def test_the_pods_of_tasks_are_patched_like_others(tmp_path: Path) -> None:
    manifests = made_with(tmp_path, "tolerations")
    pod = task(manifests)
    assert pod["nodeSelector"] == {"pool": "training"}
    for account in objects(manifests, "ServiceAccount").values():
        assert account["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["tolerations"] == [{"key": "training", "operator": "Exists", "effect": "NoSchedule"}]


def test_one_image_by_its_digest_is_that_of_tasks_too(tmp_path: Path) -> None:
    [container] = task(made_with(tmp_path, "digest: sha256"))["containers"]
    assert container["image"].startswith("registry.example.org/vision/visage-airflow@sha256:")


@pytest.mark.parametrize("word", ["ingressClassName", "kind: HTTPRoute"])
def test_people_come_by_https(word: str, tmp_path: Path) -> None:
    manifests = made_with(tmp_path, word)
    assert "airflow.example.com" not in manifests
    [engine] = [one["data"] for name, one in objects(manifests, "ConfigMap").items() if "engine" in name]
    assert engine["AIRFLOW__API__BASE_URL"] == "https://airflow.example.org"
    # The cookie of its session, whatever the proxy forwards
    assert engine["AIRFLOW__FAB__COOKIE_SECURE"] == "True"
    pod = pod_of(objects(manifests, "Deployment")["airflow-api-server"])
    assert pod
    [container] = pod["containers"]
    assert "--proxy-headers" in container["args"]
    assert {"name": "FORWARDED_ALLOW_IPS", "value": "*"} in container["env"]


def test_known_hosts_reach_the_pods_that_use_git(tmp_path: Path) -> None:
    [example] = [example for example in EXAMPLES if "known_hosts" in example]
    manifests = patched(tmp_path, example, files={"known_hosts": "git.example.org ssh-ed25519 AAAA\n"})
    [name] = [name for name in objects(manifests, "ConfigMap") if name.startswith("git-")]
    assert objects(manifests, "ConfigMap")[name]["data"] == {
        "known_hosts": "git.example.org ssh-ed25519 AAAA\n"
    }
    processor = pod_of(objects(manifests, "Deployment")["airflow-dag-processor"])
    for pod in (task(manifests), processor):
        assert pod
        assert {"name": "git", "configMap": {"name": name}} in pod["volumes"]
        [container] = pod["containers"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert f'"known_hosts_file": "{mounted["git"]}/known_hosts"' in PAGE


def test_logs_in_a_bucket_need_no_claim(tmp_path: Path) -> None:
    manifests = made_with(tmp_path, "remote-logs")
    assert objects(manifests, "PersistentVolumeClaim").keys() == {"home", "bundles"}
    assert "claimName: logs" not in manifests


def test_the_image_can_have_the_providers_that_the_page_names() -> None:
    [(option, others)] = re.findall(r"`--build-arg EXTRAS=([a-z-]+)` \(([^)]*)\)", PAGE)
    named = {option, *re.findall(r"`([a-z-]+)`", others)}
    assert named == {"amazon", "google", "microsoft-azure"}
    assert named <= set(metadata.metadata("apache-airflow").get_all("Provides-Extra") or ())


@pytest.mark.parametrize("others", [(), ("celery",), ("remote-logs",)], ids="+".join)
def test_whatever_uses_the_bucket_has_an_identity(others: tuple[str, ...], tmp_path: Path) -> None:
    [example] = [yaml.safe_load(example) for example in EXAMPLES if "workload-identity" in example]
    first = [f"../../infra/kubernetes/{name}" for name in others]
    manifests = patched(tmp_path, yaml.safe_dump({**example, "components": [*first, *example["components"]]}))
    accounts = objects(manifests, "ServiceAccount")
    policy = objects(manifests, "NetworkPolicy")["to-identity"]["spec"]
    [expression] = policy["podSelector"]["matchExpressions"]
    found = set()
    for one in yaml.safe_load_all(manifests):
        if (pod := pod_of(one)) and "airflow-storage" in secrets_of(pod):
            labels = (one.get("template") or one["spec"]["template"])["metadata"]["labels"]
            component = labels["app.kubernetes.io/component"]
            found.add(component)
            assert accounts[pod["serviceAccountName"]]["metadata"].get("annotations"), component
            assert component in expression["values"]
            assert labels["azure.workload.identity/use"] == "true", component
    assert {"dag-processor", "serving"} < found
    [rule] = policy["egress"]
    # The metadata server of Google, and the agent of EKS Pod Identity
    addresses = {peer["ipBlock"]["cidr"] for peer in rule["to"]}
    assert {"169.254.169.254/32", "169.254.170.23/32"} <= addresses
    assert 80 in [port["port"] for port in rule["ports"]]


def test_volumes_of_one_node_keep_all_pods_together(tmp_path: Path) -> None:
    manifests = made_with(tmp_path, "read-write-once")
    for claim in objects(manifests, "PersistentVolumeClaim").values():
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    for one in yaml.safe_load_all(manifests):
        if pod := pod_of(one):
            [term] = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            template = one.get("template") or one["spec"].get("template")
            template = template or one["spec"]["jobTemplate"]["spec"]["template"]
            selected = term["labelSelector"]["matchLabels"].items()
            # Else the first pod of all would wait for another.
            assert selected <= template["metadata"]["labels"].items()
