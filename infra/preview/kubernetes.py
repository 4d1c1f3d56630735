"""A preview on Kubernetes: a namespace with a repository, a database and keys of its own.

`kubectl` writes it, with the rights of whoever runs this. Models and data come from the bucket of the
environments, with a key that may only read it: PREVIEW_AWS_ACCESS_KEY_ID and PREVIEW_AWS_SECRET_ACCESS_KEY in
the shell or in `.env`.
"""

import base64
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from dotenv import dotenv_values

from gitops.errors import ParseError
from gitops.git.repository import Repository
from gitops.release import environments, settings
from gitops.release.environments import Environments
from gitops.release.keys import PrivateKey
from gitops.text import record as records
from infra.local import files
from infra.local.errors import EngineError
from infra.local.screen import Screen, Step
from infra.preview import release
from infra.preview.host import Running, Tool
from infra.preview.record import Preview, name_of
from infra.preview.release import Place

_PORT = 8080
_READER = "PREVIEW_"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_ENDPOINT = "AWS_ENDPOINT_URL_S3"
_RECORD = "visage/preview"
_BASE = "infra/kubernetes"
_TOOL = Tool("kubectl", "install it", "kubectl cluster-info")


class KubernetesHost:
    """The previews of a cluster: that of the present context of `kubectl`.

    Args:
        repository: The checkout, whose manifests they get.
        shell: The variables of the user's shell.

    """

    def __init__(self, repository: Repository, shell: Mapping[str, str] = os.environ) -> None:
        self._repository = repository
        self._checkout = repository.path.resolve()
        self._shell = shell

    def up(self, branch: str, commit: str, hours: float, step: Step) -> Running:
        """Start the preview of a branch at a commit, or bring it to that commit."""
        preview = Preview(branch=branch, commit=commit, port=_PORT, since=datetime.now(UTC), hours=hours)
        known = preview.name in {one.preview.name for one in self.all(preview.since)}
        with tempfile.TemporaryDirectory(prefix="visage-preview-") as folder:
            manifests = self.render(preview, Path(folder))
            if not known:
                manifests = "---\n".join([manifests, self.make_secrets(preview, Path(folder))])
        step.transient("manifests")
        self._kubectl("apply", "--filename", "-", given=manifests)
        in_it = ("--namespace", _namespace(preview))
        step.transient("repository")
        self._kubectl(*in_it, "rollout", "status", "deployment/git", "--timeout=10m")
        # The key is that of the first time, and main lists it.
        release.declare(self._repository, preview, self._verifiers(preview), self.place(preview))
        step.transient("processes")
        self._kubectl(*in_it, "rollout", "status", "deployment", "--timeout=15m")
        return self._running(preview, "up")

    def down(self, branch: str, screen: Screen) -> bool:
        """Delete the namespace of the preview of a branch. Return whether there was one."""
        name = name_of(branch)
        if name not in {one.preview.name for one in self.all(datetime.now(UTC))}:
            return False
        with screen.step(f"Take {name} down"):
            self._kubectl("delete", "namespace", f"visage-{name}", "--timeout=10m")
        return True

    def all(self, now: datetime) -> list[Running]:
        """Return all previews of the cluster."""
        listed = self._kubectl("get", "namespaces", "--selector", f"{_RECORD}=true", "--output", "json")
        found: list[Running] = []
        for item in json.loads(listed)["items"]:
            try:
                preview = records.read(Preview, item["metadata"]["annotations"][_RECORD].encode())
            except (KeyError, ParseError) as error:
                raise EngineError(f"namespace {item['metadata']['name']}: no preview: {error}") from error
            over = preview.is_over(now) or item["status"]["phase"] != "Active"
            found.append(self._running(preview, "ending" if over else "up"))
        return found

    def render(self, preview: Preview, folder: Path) -> str:
        """Return the manifests of a preview, without its Secrets.

        Args:
            preview: The preview.
            folder: An empty folder, for the overlay.

        """
        shutil.copytree(self._checkout / _BASE, folder / _BASE)
        for path, content in release.files(self._repository, preview, None).items():
            if content is not None:
                files.write(folder / path, content.decode())
        root = Environments.from_folder(self._checkout).root
        overlay = self._checkout / environments.path_of(root, "kustomization.yaml")
        images = yaml.safe_load(overlay.read_text("utf-8")).get("images", [])
        place = folder / settings.path_of(preview.name)
        files.write(place.with_name("kustomization.yaml"), json.dumps(_overlay(preview, images), indent=2))
        return self._kubectl("kustomize", str(place.parent))

    def make_secrets(self, preview: Preview, folder: Path) -> str:
        """Return new Secrets for a preview, none of which another environment has.

        Args:
            preview: The preview.
            folder: A folder for the key of its verdicts.

        Raises:
            EngineError: There is no key that may only read the bucket.

        """
        path = self._checkout / ".env"
        own = {**(dotenv_values(path, interpolate=False) if path.is_file() else {}), **self._shell}
        if missing := [_READER + name for name in _KEYS if not own.get(_READER + name)]:
            problem = f"{missing[0]}: not set; a preview needs a key that may only read the bucket"
            raise EngineError(f"{problem}; set it in the shell or in {path}")
        storage = {name: own[_READER + name] for name in _KEYS}
        if own.get(_ENDPOINT):
            storage[_ENDPOINT] = own[_ENDPOINT]
        key = folder / "verifier_key"
        PrivateKey.create(key)
        password = secrets.token_hex(24)
        fernet = base64.urlsafe_b64encode(os.urandom(32)).decode()
        database = f"postgresql+psycopg2://airflow:{password}@database/airflow"
        made = {
            "airflow": {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database, "AIRFLOW__CORE__FERNET_KEY": fernet},
            "airflow-accounts": {"passwords.json": json.dumps({"airflow": secrets.token_urlsafe(12)})},
            "airflow-api": {
                "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
            },
            "airflow-git": {
                "AIRFLOW_CONN_GIT_DEFAULT": json.dumps({"conn_type": "git", "host": "git://git/origin.git"})
            },
            "airflow-storage": storage,
            "airflow-verifier": {"verifier_key": key.read_text()},
            "preview-database": {"password": password},
            "serving-tokens": {"tokens": f"preview {secrets.token_urlsafe(24)}\n"},
        }
        # JSON, since Kubernetes reads numbers in YAML that Python takes for text.
        return "---\n".join(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name, "namespace": _namespace(preview)},
                    "stringData": content,
                }
            )
            + "\n"
            for name, content in made.items()
        )

    def place(self, preview: Preview) -> Place:
        """Return the repository of a preview, which `kubectl` reaches."""
        pod = f"kubectl --namespace {_namespace(preview)} exec --stdin deployment/git --container git"
        return Place(f"ext::{pod} -- %S /srv/origin.git")

    def _verifiers(self, preview: Preview) -> bytes:
        options = ("--output", "jsonpath={.data.verifier_key}")
        listed = self._kubectl(
            "--namespace", _namespace(preview), "get", "secret", "airflow-verifier", *options
        )
        return PrivateKey(base64.b64decode(listed), preview.name).line(preview.name)

    def _running(self, preview: Preview, state: Literal["up", "ending"]) -> Running:
        shown = f"kubectl -n {_namespace(preview)} get secret airflow-accounts -o jsonpath={{.data}}"
        url = f"http://{preview.name}.localhost:{_PORT}"
        way = f"kubectl -n {_namespace(preview)} port-forward service/airflow-webserver {_PORT}:{_PORT}"
        return Running(preview, url, state, f"password: {shown}; open it: {way}")

    def _kubectl(self, *arguments: str, given: str = "") -> str:
        return _TOOL.run(["kubectl", *arguments], given=given)


def _namespace(preview: Preview) -> str:
    return f"visage-{preview.name}"


def _overlay(preview: Preview, images: list[dict[str, Any]]) -> dict[str, Any]:
    annotated = [
        {"op": "add", "path": "/metadata/annotations", "value": {_RECORD: preview.model_dump_json()}},
        {"op": "add", "path": "/metadata/labels/visage~1preview", "value": "true"},
    ]
    values = {
        "AIRFLOW__API__BASE_URL": f"http://{preview.name}.localhost:{_PORT}",
        "PREVIEW_UNTIL": f"{preview.until.timestamp():.0f}",
    }
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": _namespace(preview),
        "resources": ["../../infra/kubernetes/base"],
        "components": ["../../infra/kubernetes/preview"],
        "configMapGenerator": [
            {"name": "settings", "envs": ["settings.env"]},
            {
                "name": "engine",
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in values.items()],
            },
        ],
        "images": images,
        "patches": [{"target": {"kind": "Namespace"}, "patch": json.dumps(annotated)}],
    }
