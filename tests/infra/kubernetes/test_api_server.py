"""The manifests on a real API server: fields, values, defaults, admission, access. No pod runs.

Debian and PyPI have no kube-apiserver. Without one on PATH, pytest skips these tests and prints the reason.
VISAGE_TEST_CRDS may name a folder with the CustomResourceDefinitions of operators.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.client.exceptions import ApiException

from infra.local import port
from tests.faults.server import Server
from tests.infra.kubernetes.api import Cluster
from tests.infra.kubernetes.rendering import ROOT, documents, patched, pod_of, rendered, with_components
from tests.infra.kubernetes.test_executor import DAG, start_task, started
from tests.infra.kubernetes.test_manifests import ALONE, OPERATORS, PHOTOGRAPHS, TOGETHER
from tests.infra.kubernetes.test_patches import EXAMPLES
from tests.infra.preview.conftest import make_bench
from tests.infra.preview.test_kubernetes import cluster_of, preview_of
from tests.support.command import captured
from tests.support.environments import ENVIRONMENTS
from tests.support.waiting import wait_for

MISSING = [name for name in ("kube-apiserver", "etcd") if shutil.which(name) is None]
CRDS = os.environ.get("VISAGE_TEST_CRDS")
pytestmark = [
    pytest.mark.long,
    pytest.mark.system("kubectl"),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}; no manifest was applied"),
]
Manifest = dict[str, Any]
PAGE = (ROOT / "docs/kubernetes.md").read_text()
PRIORITY = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "training"},
    "value": 1000,
}


def listed(objects: Sequence[Manifest]) -> str:
    """Return objects for kubectl, whose YAML has other numbers than Python's."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


class ControlPlane:
    """An API server with RBAC and its usual admission, and its etcd; no controller, no node.

    Args:
        folder: An empty folder.

    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._namespaces = folder, 0
        store, peers, self._port = (port.unused() for _ in range(3))
        urls = {"client": f"http://127.0.0.1:{store}", "peer": f"http://127.0.0.1:{peers}"}
        etcd = ["etcd", "--data-dir", str(folder / "etcd"), "--initial-cluster", f"default={urls['peer']}"]
        for kind, url in urls.items():
            advertise = "--advertise-client-urls" if kind == "client" else "--initial-advertise-peer-urls"
            etcd += [f"--listen-{kind}-urls", url, advertise, url]
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "account.key").write_bytes(pem)
        (folder / "tokens.csv").write_text("token,admin,admin,system:masters\n")
        server = [
            "kube-apiserver",
            f"--etcd-servers={urls['client']}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={folder / 'certificates'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'account.key'}",
            f"--service-account-signing-key-file={folder / 'account.key'}",
        ]
        self._servers = [
            Server(etcd, store, folder / "etcd.log"),
            Server(server, self._port, folder / "server.log"),
        ]
        try:
            for one in self._servers:
                one.start()
            for path in ("/readyz", "/openapi/v2"):
                wait_for(lambda path=path: self.kubectl("get", f"--raw={path}").returncode == 0, pause=1)
            assert self.apply([PRIORITY]) == ""
            if CRDS:
                self._install(Path(CRDS))
        except BaseException:
            self.close()
            raise

    def _install(self, folder: Path) -> None:
        """Install the kinds of operators."""
        kinds = [one for path in sorted(folder.glob("*.yaml")) for one in documents(path.read_text())]
        assert self.apply(kinds) == ""
        names = [f"crd/{one['metadata']['name']}" for one in kinds]
        done = self.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        assert done.returncode == 0, done.stderr

    @property
    def access(self) -> list[str]:
        """Options of kubectl for an administrator."""
        return [f"--server=https://127.0.0.1:{self._port}", "--insecure-skip-tls-verify", "--token=token"]

    def kubectl(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl as an administrator."""
        cache = f"--cache-dir={self._folder / 'cache'}"
        return captured(["kubectl", cache, *self.access, *command], input=given, timeout=120)

    def shell(self, script: str, folder: Path = ROOT) -> str:
        """Run a script whose kubectl is that of an administrator, and return its output."""
        programs = self._folder / "bin"
        programs.mkdir(exist_ok=True)
        program, options = shutil.which("kubectl"), " ".join(self.access)
        (programs / "kubectl").write_text(f'#!/bin/sh\nexec "{program}" {options} "$@"\n')
        (programs / "kubectl").chmod(0o755)
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        script = f"set -euo pipefail\n{script}"
        done = captured(["bash", "-c", script], cwd=folder, env={**os.environ, "PATH": path}, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, kind: str, namespace: str) -> dict[str, Manifest]:
        found = json.loads(self.kubectl("get", kind, f"--namespace={namespace}", "--output=json").stdout)
        return {one["metadata"]["name"]: one for one in found["items"]}

    def apply(self, objects: Sequence[Manifest]) -> str:
        """Apply objects, and return the complaint of the server, or ""."""
        given = listed(objects)
        done = self.kubectl("apply", "--server-side", "--validate=strict", "--filename=-", given=given)
        warned = [line for line in done.stderr.splitlines() if "Warning" in line]
        return done.stderr if done.returncode else "\n".join(warned)

    def start_pods(self, objects: Sequence[Manifest], namespace: str) -> dict[str, str]:
        """Ask for the pods that objects make, and return the complaint about each, or ""."""
        found = {}
        for one in objects:
            if spec := pod_of(one):
                name = one["metadata"]["name"]
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
                command = ("create", f"--namespace={namespace}", "--dry-run=server", "--validate=strict")
                done = self.kubectl(*command, "--filename=-", given=json.dumps(pod))
                found[name] = done.stderr
        return found

    def elsewhere(self, manifests: str, environment: str) -> tuple[list[Manifest], str]:
        """Return manifests in a namespace of their own, and its name; objects of operators if known."""
        self._namespaces += 1
        namespace = f"visage-{self._namespaces}"
        moved = documents(manifests.replace(f"visage-{environment}", namespace))
        return [one for one in moved if CRDS or one["kind"] not in OPERATORS], namespace

    def environment(self, manifests: str = "") -> tuple[list[Manifest], str]:
        """Apply prod in a namespace of its own."""
        objects, namespace = self.elsewhere(manifests or rendered("prod"), "prod")
        assert self.apply(objects) == ""
        return objects, namespace

    def client_of(self, namespace: str, account: str, folder: Path) -> Path:
        """Return the configuration of a client with the rights of an account."""
        token = self.kubectl("create", "token", account, f"--namespace={namespace}").stdout.strip()
        server = {"server": f"https://127.0.0.1:{self._port}", "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": "here", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def close(self) -> None:
        for one in reversed(self._servers):
            one.kill()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path_factory.mktemp("plane"))
    yield made
    made.close()


def check(plane: ControlPlane, manifests: str, environment: str = "prod") -> list[Manifest]:
    objects, namespace = plane.elsewhere(manifests, environment)
    assert plane.apply(objects) == ""
    complaints = plane.start_pods(objects, namespace)
    assert complaints == dict.fromkeys(complaints, "")
    assert {"airflow-scheduler", "airflow-dag-processor"} < complaints.keys()
    return objects


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_accepted_and_each_of_its_pods(plane: ControlPlane, environment: str) -> None:
    check(plane, rendered(environment), environment)


@pytest.mark.parametrize("components", [*ALONE, *TOGETHER], ids="+".join)
def test_components_are_accepted(plane: ControlPlane, components: tuple[str, ...], tmp_path: Path) -> None:
    check(plane, with_components(tmp_path, *components))


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_accepted(plane: ControlPlane, example: str, tmp_path: Path) -> None:
    check(plane, patched(tmp_path, example, files={"known_hosts": "git.example.org ssh-ed25519 AAAA\n"}))


def test_a_preview_is_accepted_and_may_delete_itself_alone(plane: ControlPlane, tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    preview = preview_of(bench)
    for name in ("overlay", "secrets"):
        (tmp_path / name).mkdir()
    host = cluster_of(bench)
    objects = documents(host.render(preview, tmp_path / "overlay"))
    assert plane.apply(objects) == ""
    assert plane.apply(documents(host.make_secrets(preview, tmp_path / "secrets"))) == ""
    [namespace] = [one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"]
    complaints = plane.start_pods(objects, namespace)
    assert complaints == dict.fromkeys(complaints, "")
    user = f"--as=system:serviceaccount:{namespace}:preview-end"
    for other, answer in ((namespace, "yes"), ("default", "no")):
        asked = ("auth", "can-i", "delete", f"namespace/{other}", f"--namespace={other}", user)
        assert plane.kubectl(*asked).stdout.strip() == answer


def test_the_commands_of_the_page_change_one_environment_and_prune_its_settings(
    plane: ControlPlane, tmp_path: Path
) -> None:
    [command] = re.findall(r"^ +(kubectl apply -k .*)$", PAGE, re.M)
    for part in ("infra/kubernetes", *(f"environments/{name}" for name in ("dev", "prod"))):
        shutil.copytree(ROOT / part, tmp_path / part)
    plane.shell("kubectl create namespace visage-prod", tmp_path)
    for environment in ("dev", "prod"):
        plane.shell(command.replace("prod", environment), tmp_path)
        for kind in ("ConfigMap", "Deployment", "NetworkPolicy", "PodTemplate"):
            wanted = [one for one in documents(rendered(environment)) if one["kind"] == kind]
            found = plane.get(kind, f"visage-{environment}").keys()
            assert {one["metadata"]["name"] for one in wanted} <= found
    settings = tmp_path / "environments/prod/settings.env"
    settings.write_text(settings.read_text().replace("ACCURACY_THRESHOLD=0.85", "ACCURACY_THRESHOLD=0.9"))
    plane.shell("kubectl -n visage-prod create configmap of-somebody-else", tmp_path)
    before = {name: plane.get("configmap", f"visage-{name}").keys() for name in ("dev", "prod")}
    plane.shell(command, tmp_path)
    assert plane.get("configmap", "visage-dev").keys() == before["dev"]
    gone, new = (
        {name.partition("-")[0] for name in names}
        for names in (
            before["prod"] - plane.get("configmap", "visage-prod").keys(),
            plane.get("configmap", "visage-prod").keys() - before["prod"],
        )
    )
    assert gone == new == {"settings"}


def test_the_switch_to_celery_leaves_nothing(plane: ControlPlane, tmp_path: Path) -> None:
    _, namespace = plane.environment()
    objects, other = plane.elsewhere(with_components(tmp_path, "celery"), "prod")
    assert plane.apply(json.loads(json.dumps(objects).replace(other, namespace))) == ""
    [command] = re.findall(r"^(kubectl .* delete \{.*)$", PAGE, re.M)
    plane.shell(command.replace("visage-prod", namespace))
    for kind in ("ServiceAccount", "Role", "RoleBinding", "PodTemplate", "Deployment", "NetworkPolicy"):
        wanted = {one["metadata"]["name"] for one in objects if one["kind"] == kind}
        assert plane.get(kind, namespace).keys() == wanted, kind


def test_the_way_back_stops_everything_and_starts_it_again(plane: ControlPlane, tmp_path: Path) -> None:
    objects, namespace = plane.elsewhere(rendered("prod"), "prod")
    given = listed(objects)
    assert plane.kubectl("apply", "--filename=-", given=given).returncode == 0
    part = PAGE.partition("**An earlier image**")[2].partition("\n## ")[0]
    back, again = re.findall(r"^```sh\n(.*?)^```$", part, re.M | re.S)
    stop = back.replace("visage-prod", namespace).partition("kubectl -n " + namespace + " wait")[0]
    plane.shell(stop, tmp_path)
    assert {one["spec"]["replicas"] for one in plane.get("deployment", namespace).values()} == {0}
    jobs = plane.get("job", namespace)
    assert "airflow db downgrade --to-version VERSION" in str(jobs["downgrade"]["spec"])
    assert plane.start_pods([*jobs.values()], namespace) == {"downgrade": ""}
    assert plane.kubectl("apply", "--filename=-", given=given).returncode == 0
    plane.shell("\n".join(again.replace("visage-prod", namespace).splitlines()[1:]), tmp_path)
    replicas = {name: one["spec"]["replicas"] for name, one in plane.get("deployment", namespace).items()}
    assert min(replicas.values()) > 0, replicas


@pytest.mark.parametrize("way", [["--server-side"], []], ids=["server", "client"])
def test_manifests_are_applied_over_earlier_ones(plane: ControlPlane, way: list[str]) -> None:
    """Kubernetes refuses some combinations of a new field with the default of an earlier one."""
    objects, _ = plane.elsewhere(rendered("prod"), "prod")
    earlier = [json.loads(json.dumps(one)) for one in objects]
    for one in earlier:
        if one["kind"] == "Deployment":
            one["spec"].pop("strategy", None)
        if one["kind"] == "Namespace":
            one["metadata"]["labels"].pop("pod-security.kubernetes.io/warn")
    for manifests in (earlier, objects):
        given = listed(manifests)
        done = plane.kubectl("apply", *way, "--validate=strict", "--filename=-", given=given)
        assert done.returncode == 0, done.stderr


def test_the_pod_for_photographs_is_accepted(plane: ControlPlane) -> None:
    _, namespace = plane.environment()
    assert plane.start_pods([PHOTOGRAPHS], namespace) == {"photographs": ""}


def test_every_pod_of_an_account_gets_its_pull_secret(plane: ControlPlane, tmp_path: Path) -> None:
    [example] = [example for example in EXAMPLES if "imagePullSecrets" in example]
    objects, namespace = plane.environment(patched(tmp_path, example))
    for one in [*objects, PHOTOGRAPHS]:
        if spec := pod_of(one):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
            command = ("create", f"--namespace={namespace}", "--dry-run=server", "--output=json")
            done = plane.kubectl(*command, "--filename=-", given=json.dumps(pod))
            assert json.loads(done.stdout)["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_a_scheduler_makes_adopts_and_deletes_pods_with_the_rights_of_its_account(
    plane: ControlPlane, tmp_path: Path
) -> None:
    _, namespace = plane.environment()
    served = Cluster(plane.client_of(namespace, "airflow-scheduler", tmp_path), {})
    # Labels have 63 characters of few kinds.
    hostile = ("über_" + "x" * 200, "group.täsk" + "y" * 200, "manual__2026-01-01T00:00:00+00:00/ä")
    with started(served, 1, namespace) as executor:
        start_task(executor, *hostile)
        key = start_task(executor, DAG, "model_training.train")
        pods = plane.get("pod", namespace)
        assert len(pods) == 2
        assert {pod["spec"]["serviceAccountName"] for pod in pods.values()} == {"airflow-task"}
        assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods.values()} == {"task"}
        orphans: Any = [SimpleNamespace(queued_by_job_id=1, key=key)]
        with started(served, 2, namespace) as heir:
            assert heir.try_adopt_task_instances(orphans) == []
            heir.running.clear()  # or its end waits for the pod
        assert sorted(
            pod["metadata"]["labels"]["airflow-worker"] for pod in plane.get("pod", namespace).values()
        ) == ["1", "2"]
        assert executor.kube_scheduler
        for name in pods:
            executor.kube_scheduler.delete_pod(name, namespace)
        assert plane.get("pod", namespace) == {}

        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few", "namespace": namespace},
            "spec": {"hard": {"pods": "0"}},
        }
        assert plane.apply([quota]) == ""
        plane.kubectl(
            *("patch", "resourcequota", "few", f"--namespace={namespace}", "--subresource=status"),
            *("--type=merge", '--patch={"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}'),
        )
        # By these words Airflow tries again later.
        with pytest.raises(ApiException, match="exceeded quota"):
            start_task(executor, DAG, "model_training.train")


def test_accounts_may_do_what_they_need_and_nothing_else(plane: ControlPlane) -> None:
    objects, namespace = plane.environment()
    other, elsewhere = plane.elsewhere(rendered("dev"), "dev")
    assert plane.apply(other) == ""

    def may(account: str, verb: str, resource: str, where: str = namespace) -> bool:
        user = f"--as=system:serviceaccount:{namespace}:{account}"
        done = plane.kubectl("auth", "can-i", verb, resource, user, f"--namespace={where}")
        assert done.stdout.strip() in ("yes", "no"), done.stderr
        return done.stdout.strip() == "yes"

    accounts = {one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount"}
    assert {"airflow", "airflow-task", "airflow-scheduler"} < accounts
    for verb, resource in (("create", "pods"), ("get", "pods/log"), ("list", "pods"), ("delete", "pods")):
        assert may("airflow-scheduler", verb, resource), (verb, resource)
        assert not may("airflow-scheduler", verb, resource, elsewhere)
    for account in sorted(accounts):
        assert not may(account, "get", "secrets"), account
        assert not may(account, "list", "configmaps"), account
        assert may(account, "create", "pods") == (account == "airflow-scheduler"), account


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("replicas: 2", "replicaz: 2", "replicaz"),
        ("port: 5432", "port: 543200", "65535"),
        ("replicas: 2", "replicas: -2", "must be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_does_not_pass(plane: ControlPlane, before: str, after: str, complaint: str) -> None:
    manifests = rendered("prod")
    assert before in manifests
    objects, _ = plane.elsewhere(manifests.replace(before, after, 1), "prod")
    assert complaint in plane.apply(objects)


@pytest.mark.parametrize(
    "change",
    [
        {"hostNetwork": True},
        {"securityContext": {}},
        {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
    ],
    ids=lambda change: str(*change),
)
def test_a_pod_beneath_the_standard_is_refused_and_apply_warns(plane: ControlPlane, change: Manifest) -> None:
    objects, namespace = plane.environment()
    [task] = [one for one in objects if one["kind"] == "PodTemplate"]
    [clean] = [one for one in objects if one["kind"] == "CronJob"]
    for one in (task, clean):
        pod = pod_of(one)
        assert pod
        more = {"volumes": [*pod["volumes"], *change["volumes"]]} if "volumes" in change else change
        pod.update(more)
    [complaint] = plane.start_pods([task], namespace).values()
    assert 'violates PodSecurity "restricted' in complaint
    assert "violate PodSecurity" in plane.apply([clean])
