"""The manifests of environments as kubectl makes them; no cluster is asked."""

import functools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[3]
OVERLAY = "kustomization.yaml"


def kustomize(folder: Path) -> str:
    return captured(["kubectl", "kustomize", str(folder)], check=True).stdout


@functools.cache
def rendered(environment: str) -> str:
    return kustomize(ROOT / "environments" / environment)


def patched(tmp_path: Path, more: str, environment: str = "prod", files: Mapping[str, str] = {}) -> str:
    """The manifests of an environment whose kustomization.yaml has more in it: its lists get longer."""
    folder = Path("environments") / environment
    for part in ("infra/kubernetes", folder):
        shutil.copytree(ROOT / part, tmp_path / part)
    overlay = tmp_path / folder / OVERLAY
    content = yaml.safe_load(overlay.read_text())
    for name, value in yaml.safe_load(more).items():
        if name == "images":
            # An image has one entry, which the reader changes.
            kept = [one for one in content[name] if one["name"] not in {other["name"] for other in value}]
            content[name] = [*kept, *value]
        else:
            content[name] = [*content.get(name, []), *value] if isinstance(value, list) else value
    overlay.write_text(yaml.safe_dump(content))
    for name, text in files.items():
        (tmp_path / folder / name).write_text(text)
    return kustomize(tmp_path / folder)


def with_components(tmp_path: Path, *names: str, environment: str = "prod") -> str:
    """The manifests of an environment with components, added as their comments say."""
    listed = ", ".join(f"../../infra/kubernetes/{name}" for name in names)
    return patched(tmp_path, f"components: [{listed}]", environment)


def documents(manifests: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(manifests) if document]


def objects(manifests: str, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in documents(manifests) if one["kind"] == kind}


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The specification of the pods that an object makes."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Pod":
            return spec
        case "PodTemplate":
            return manifest["template"]["spec"]
        case "Deployment" | "Job":
            return spec["template"]["spec"]
        case "CronJob":
            return spec["jobTemplate"]["spec"]["template"]["spec"]
    return None


def pods(manifests: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pods of an environment, and the one that a person makes: name, specification."""
    photographs = yaml.safe_load((ROOT / "infra/kubernetes/photographs.yaml").read_text())
    for one in [*documents(manifests), photographs]:
        if pod := pod_of(one):
            yield one["metadata"]["name"], pod


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]
