"""The manifests of an environment on Kubernetes: those of its release, with the settings of main.

A release fixes `infra/kubernetes` and the overlay of each environment. Settings come from main. Both are put
together as a folder that Kustomize builds: by Argo CD from the branch `deploy/<env>`, or by kubectl.
"""

import difflib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml

from gitops import isolation
from gitops.errors import ManifestsError, ParseError
from gitops.git.repository import Repository
from gitops.paths import MANIFESTS
from gitops.release import environments, runtimes, settings
from gitops.release.file import Release
from gitops.text import parse

OVERLAY = "kustomization.yaml"
IMAGE = "visage-airflow"
"""The name of the image in the base; an overlay gives it another one."""

_OF_MAIN = (environments.FILE, "release.yaml", "settings.env", "verifiers")
_TIMEOUT = 60.0
_LONGEST = 400
"""Lines of a difference."""

Files = Mapping[str, bytes]


def assemble(repository: Repository, main: str, environment: str, release: Release) -> dict[str, bytes]:
    """Return the files that Kustomize builds for a release in an environment; none if it has no overlay.

    Args:
        repository: The repository.
        main: The newest commit of main, whose settings count.
        environment: The environment.
        release: Its release. Without a commit, all comes from main.

    """
    commit = release.commit or main
    folder = f"{environments.FOLDER}/{environment}"
    overlay = f"{folder}/{OVERLAY}"
    if repository.read(commit, overlay) is None:
        commit = main  # The environment is newer than the release
    paths = [
        path
        for path in repository.files(commit, MANIFESTS, folder)
        if path.startswith(f"{MANIFESTS}/") or PurePosixPath(path).name not in _OF_MAIN
    ]
    if overlay not in paths:
        return {}
    wanted = [*((commit, path) for path in paths), (main, settings.path_of(environment))]
    contents = repository.read_all(wanted)
    files = {
        path: content for (_, path), content in zip(wanted, contents, strict=True) if content is not None
    }
    files[OVERLAY] = _whole(environment, release.runtime, files[overlay])
    return files


def _whole(environment: str, runtime: str | None, overlay: bytes) -> bytes:
    """Return the kustomization of the whole: the overlay, with the image that the release file names."""
    whole: dict[str, object] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{environments.FOLDER}/{environment}"],
    }
    if runtime and runtime.startswith("sha256:"):
        name = _image(environment, overlay)
        known = [{"op": "add", "path": f"/data/{runtimes.VARIABLE}", "value": runtime}]
        target = {"kind": "ConfigMap", "name": "engine"}
        whole["images"] = [{"name": name, "newName": name, "digest": runtime}]
        whole["patches"] = [{"target": target, "patch": yaml.safe_dump(known)}]
    return yaml.safe_dump(whole, sort_keys=False).encode()


def _image(environment: str, overlay: bytes) -> str:
    """Return the name that an overlay gives to the image."""
    try:
        content = parse.yaml_value(overlay, parse.MANIFEST)
    except ParseError as error:
        path = f"{environments.FOLDER}/{environment}/{OVERLAY}"
        raise ManifestsError(error.place(path), str(error), "repair it") from error
    images = content.get("images") if isinstance(content, dict) else None
    for image in images if isinstance(images, list) else []:
        name = image.get("newName") if isinstance(image, dict) and image.get("name") == IMAGE else None
        if isinstance(name, str):
            return name
    return IMAGE


def can_render() -> bool:
    """Return whether there is a command here that renders manifests."""
    return bool(_command())


def _command() -> list[str]:
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    kustomize = shutil.which("kustomize")
    return [kustomize, "build"] if kustomize else []


def render(files: Files) -> str:
    """Return the manifests as Kustomize builds them.

    Raises:
        ManifestsError: where Kustomize is not here, or refuses the files.

    """
    command = _command()
    if not command:
        problem, right = "neither kubectl nor kustomize is on PATH", "install kubectl"
        raise ManifestsError("manifests", problem, right)
    with tempfile.TemporaryDirectory(prefix="gitops-manifests-") as folder:
        for path, content in files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        # A base may name another repository. Kustomize would fetch it with the keys of this machine's user,
        # and Argo CD would build another one than the commit fixes: in its place here it has no network.
        program = Path(command[0])
        with isolation.isolated(isolation.Place(readable=(Path(folder), program.resolve()))) as place:
            try:
                done = isolation.run(
                    [str(program.resolve()), *command[1:], folder], place, Path("/"), _TIMEOUT
                )
            except subprocess.TimeoutExpired as error:
                problem = f"Kustomize takes longer than {_TIMEOUT:.0f} s"
                raise ManifestsError("manifests", problem, "try it again") from error
    if done.status:
        reason = done.complaints.replace(f"{folder}/", "").strip().splitlines() or ["it gives no reason"]
        problem = f"Kustomize refuses them: {reason[-1][:300]}"
        raise ManifestsError("manifests", problem, "repair them on main")
    if len(done.output) >= isolation.MOST:
        raise ManifestsError("manifests", f"more than {isolation.MOST:,} characters", "shorten them on main")
    return done.output


def difference(before: Files, after: Files) -> str:
    """Return the difference of the rendered manifests; "" without one.

    Where no Kustomize is here, the files that it would build are compared.

    Raises:
        ManifestsError: where Kustomize refuses one of them.

    """
    if before == after:
        return ""
    lines: list[str] = []
    if can_render():
        lines = _lines("manifests", render(before) if before else "", render(after) if after else "")
    else:
        for path in sorted(before.keys() | after.keys()):
            old, new = (side.get(path, b"").decode("utf-8", "replace") for side in (before, after))
            lines += _lines(path, old, new)
    more = len(lines) - _LONGEST
    return "\n".join([*lines[:_LONGEST], *([f"... and {more} more lines"] if more > 0 else [])])


def _lines(path: str, before: str, after: str) -> list[str]:
    sides = before.splitlines(), after.splitlines()
    return list(difflib.unified_diff(*sides, f"before/{path}", f"after/{path}", lineterm=""))
