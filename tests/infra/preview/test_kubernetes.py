"""Previews on Kubernetes: their manifests, and a repository behind `kubectl exec`. No cluster is asked."""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops.git.repository import Repository
from gitops.release.environments import Environments
from gitops.release.keys import PrivateKey
from infra.local.errors import EngineError
from infra.preview import release
from infra.preview.kubernetes import KubernetesHost
from infra.preview.record import Preview, name_of
from tests.infra.kubernetes.rendering import objects, pods
from tests.infra.kubernetes.test_manifests import MINORS, validate
from tests.infra.preview.conftest import BRANCH, Bench, make_bench

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"PREVIEW_AWS_ACCESS_KEY_ID": "reader", "PREVIEW_AWS_SECRET_ACCESS_KEY": "read"}
NAMESPACE = f"visage-{name_of(BRANCH)}"
# Runs the command of `kubectl exec` here; /srv/origin.git is a folder beside it.
KUBECTL = """\
#!/usr/bin/env python3
import os, subprocess, sys
words = sys.argv[1:]
pod = ["exec", "--stdin", "deployment/git", "--container", "git", "--"]
assert words[:8] == ["--namespace", os.environ["EXPECTED"], *pod]
program, path = words[8:]
assert path == "/srv/origin.git"
sys.exit(subprocess.run([program, os.environ["ORIGIN"]]).returncode)
"""


def cluster_of(bench: Bench) -> KubernetesHost:
    shutil.copytree(ROOT / "infra/kubernetes", bench.layout.checkout / "infra/kubernetes")
    return KubernetesHost(bench.checkout, KEYS)


@pytest.fixture
def cluster(bench: Bench) -> KubernetesHost:
    return cluster_of(bench)


@dataclass(frozen=True)
class Rendered:
    """A preview, its manifests, and two sets of Secrets."""

    preview: Preview
    manifests: str
    secrets: tuple[str, str]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    folder = tmp_path_factory.mktemp("rendered")
    bench = make_bench(folder)
    cluster, preview = cluster_of(bench), preview_of(bench)
    for name in ("overlay", "one", "two"):
        (folder / name).mkdir()
    manifests = cluster.render(preview, folder / "overlay")
    first, second = (cluster.make_secrets(preview, folder / name) for name in ("one", "two"))
    return Rendered(preview, manifests, (first, second))


def preview_of(bench: Bench) -> Preview:
    commit = bench.push({"dags/more.py": b"MORE = 1\n"})
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return Preview(branch=BRANCH, commit=commit, port=8080, since=since, hours=8)


@pytest.mark.long
def test_kubernetes_knows_every_field_of_a_preview(rendered: Rendered, tmp_path: Path) -> None:
    validate("---\n".join([rendered.manifests, rendered.secrets[0]]), MINORS[-1], tmp_path)


def test_a_preview_is_a_namespace_of_its_own(rendered: Rendered) -> None:
    preview, manifests = rendered.preview, rendered.manifests
    documents: list[dict[str, Any]] = [one for one in yaml.safe_load_all(manifests) if one]
    (namespace,) = [one["metadata"] for one in documents if one["kind"] == "Namespace"]
    assert namespace["name"] == NAMESPACE
    assert namespace["labels"]["visage/preview"] == "true"
    assert Preview.model_validate_json(namespace["annotations"]["visage/preview"]) == preview
    assert {one["metadata"]["namespace"] for one in documents if one["kind"] != "Namespace"} == {NAMESPACE}
    assert not [one for one in documents if one["kind"].startswith("Cluster")]
    settings = next(
        one["data"] for name, one in objects(manifests, "ConfigMap").items() if name.startswith("settings")
    )
    assert settings["VISAGE_ENVIRONMENT"] == preview.name


def test_a_tag_that_looks_like_a_number_stays_a_tag(
    cluster: KubernetesHost, bench: Bench, tmp_path: Path
) -> None:
    """Kubernetes reads numbers in YAML that Python takes for text."""
    root = Environments.from_folder(bench.layout.checkout).root
    overlay = bench.layout.checkout / f"environments/{root}/kustomization.yaml"
    assert "newTag: 0.1.0" in overlay.read_text()
    overlay.write_text(overlay.read_text().replace("newTag: 0.1.0", 'newTag: "1234e56"'))
    (tmp_path / "overlay").mkdir()
    manifests = cluster.render(preview_of(bench), tmp_path / "overlay")
    assert "image: registry.invalid/OWNER/visage-airflow:1234e56\n" in manifests


def test_the_pods_of_a_preview_are_as_confined_as_those_of_an_environment(rendered: Rendered) -> None:
    for _, pod in pods(rendered.manifests):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_the_pods_of_a_preview_reach_its_own_repository_and_database_alone(rendered: Rendered) -> None:
    policies = objects(rendered.manifests, "NetworkPolicy")
    for name, component in (("to-git", "git"), ("to-database", "database")):
        (rule,) = policies[name]["spec"]["egress"]
        (place,) = rule["to"]
        assert place["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
    assert policies["to-notices"]["spec"]["egress"] == []


def test_a_preview_may_delete_its_own_namespace_and_nothing_else(rendered: Rendered) -> None:
    manifests = rendered.manifests
    assert objects(manifests, "Role")["preview-end"]["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["delete"]}
    ]
    pod = objects(manifests, "CronJob")["preview-end"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    until = next(one for one in pod["containers"][0]["env"] if one["name"] == "UNTIL")
    source = until["valueFrom"]["configMapKeyRef"]
    engine = objects(manifests, "ConfigMap")[source["name"]]["data"]
    assert engine[source["key"]] == str(int(datetime(2026, 3, 1, 20, tzinfo=UTC).timestamp()))


@pytest.mark.long
@pytest.mark.parametrize(("now", "deleted"), [(99.0, []), (100.0, ["visage-preview-x"])])
def test_the_end_deletes_the_namespace_in_time(
    now: float, deleted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program runs as it is, with the client of Kubernetes that the image has."""
    from kubernetes import client, config

    calls: list[str] = []
    monkeypatch.setattr(config, "load_incluster_config", lambda: None)
    monkeypatch.setattr(client.CoreV1Api, "delete_namespace", lambda _, name: calls.append(name))
    monkeypatch.setattr("time.time", lambda: now)
    monkeypatch.setenv("UNTIL", "100")
    monkeypatch.setenv("NAMESPACE", "visage-preview-x")
    manifests = yaml.safe_load_all((ROOT / "infra/kubernetes/preview/end.yaml").read_text())
    job = next(one for one in manifests if one["kind"] == "CronJob")
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    exec(container["args"][2], {})  # noqa: S102 (the program of the manifest)
    assert calls == deleted


def test_the_secrets_of_a_preview_are_its_own(rendered: Rendered) -> None:
    first, second = (
        {one["metadata"]["name"]: one["stringData"] for one in yaml.safe_load_all(text)}
        for text in rendered.secrets
    )
    assert first["airflow-storage"] == {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "read"}
    assert json.loads(first["airflow-git"]["AIRFLOW_CONN_GIT_DEFAULT"])["host"] == "git://git/origin.git"
    for name in first.keys() - {"airflow-storage", "airflow-git"}:
        for key, value in first[name].items():
            assert value != second[name][key], (name, key)
    named = {
        one["secretRef"]["name"]
        for _, pod in pods(rendered.manifests)
        for container in pod["containers"]
        for one in container.get("envFrom", [])
        if "secretRef" in one and not one["secretRef"].get("optional")
    }
    assert named <= first.keys()


def test_without_a_key_that_may_only_read_there_is_no_preview(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="PREVIEW_AWS_ACCESS_KEY_ID: not set"):
        KubernetesHost(bench.checkout, {}).make_secrets(preview_of(bench), tmp_path)


def test_the_release_goes_into_the_repository_through_kubectl(
    cluster: KubernetesHost, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = Repository(tmp_path)
    origin.git("init", "--quiet", "--bare", "origin.git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kubectl").write_text(KUBECTL)
    (tmp_path / "bin/kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("EXPECTED", NAMESPACE)
    monkeypatch.setenv("ORIGIN", str(tmp_path / "origin.git"))
    preview = preview_of(bench)
    key = PrivateKey.create(tmp_path / "key").line(preview.name)
    first = release.declare(bench.checkout, preview, key, cluster.place(preview))
    assert Repository(tmp_path / "origin.git").resolve("main") == first
    assert release.declare(bench.checkout, preview, key, cluster.place(preview)) == first
    moved = preview.model_copy(update={"commit": bench.push({"dags/less.py": b""})})
    second = release.declare(bench.checkout, moved, key, cluster.place(preview))
    assert Repository(tmp_path / "origin.git").resolve("main^1") == first != second
