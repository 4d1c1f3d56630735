"""The manifests on a real API server: fields, values, defaults, admission, access. No pod runs.

kube-apiserver is in no package, so the tests use one from PATH, and say so where there is none. The schemas
of test_manifests.py know fields and types alone.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.local import port
from tests.faults.server import Server
from tests.infra.kubernetes.rendering import ROOT, documents, patched, pod_of, rendered, with_components
from tests.infra.kubernetes.test_manifests import ALONE, OPERATORS, TOGETHER
from tests.infra.kubernetes.test_patches import EXAMPLES
from tests.support.command import captured
from tests.support.environments import ENVIRONMENTS
from tests.support.waiting import wait_for

PROGRAMS = ("kube-apiserver", "etcd")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = [
    pytest.mark.long,
    pytest.mark.system("kubectl"),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}; no manifest was applied"),
]
Manifest = dict[str, Any]
PRIORITY = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "training"},
    "value": 1000,
}


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
            wait_for(lambda: self.kubectl("get", "--raw=/readyz").returncode == 0, seconds=240, pause=1)
            self.apply([PRIORITY])
        except BaseException:
            self.close()
            raise

    def kubectl(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl as an administrator."""
        access = [f"--server=https://127.0.0.1:{self._port}", "--insecure-skip-tls-verify", "--token=token"]
        cache = f"--cache-dir={self._folder / 'cache'}"
        return captured(["kubectl", cache, *access, *command], input=given, timeout=120)

    def apply(self, objects: Sequence[Manifest]) -> str:
        """Apply objects, and return the complaint of the server, or ""."""
        given = yaml.safe_dump_all(objects)
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
        """Return manifests in a namespace of their own, with that namespace; without objects of operators."""
        self._namespaces += 1
        namespace = f"visage-{self._namespaces}"
        moved = documents(manifests.replace(f"visage-{environment}", namespace))
        return [one for one in moved if one["kind"] not in OPERATORS], namespace

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


def test_a_changed_setting_is_applied_over_what_is_there(plane: ControlPlane, tmp_path: Path) -> None:
    literal = "AIRFLOW__CORE__PARALLELISM=7"
    more = f"configMapGenerator:\n  - {{name: engine, behavior: merge, literals: [{literal}]}}"
    objects, namespace = plane.elsewhere(rendered("prod"), "prod")
    changed = yaml.safe_load_all(patched(tmp_path, more).replace("visage-prod", namespace))
    assert plane.apply(objects) == plane.apply(list(changed)) == ""


def test_the_pod_for_photographs_is_accepted(plane: ControlPlane) -> None:
    objects, namespace = plane.elsewhere(rendered("prod"), "prod")
    assert plane.apply(objects) == ""
    photographs = documents((ROOT / "infra/kubernetes/photographs.yaml").read_text())
    assert plane.start_pods(photographs, namespace) == {"photographs": ""}


def test_accounts_may_do_what_they_need_and_nothing_else(plane: ControlPlane) -> None:
    objects, namespace = plane.elsewhere(rendered("prod"), "prod")
    other, elsewhere = plane.elsewhere(rendered("dev"), "dev")
    assert plane.apply(objects) == plane.apply(other) == ""

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
        ("cpu: ", "cpu: -", "must be greater than or equal to 0"),
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
def test_a_pod_beneath_the_standard_is_refused(plane: ControlPlane, change: Manifest) -> None:
    objects, namespace = plane.elsewhere(rendered("prod"), "prod")
    assert plane.apply(objects) == ""
    [task] = [one for one in objects if one["kind"] == "PodTemplate"]
    spec = task["template"]["spec"]
    if volumes := change.get("volumes"):
        change = {"volumes": [*spec["volumes"], *volumes]}
    lower = {**task, "template": {"spec": {**spec, **change}}}
    [complaint] = plane.start_pods([lower], namespace).values()
    assert 'violates PodSecurity "restricted' in complaint
