"""What the marketplace's actions that the workflows use do, as they document it."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.command import captured
from tests.workflows.expression import UnknownError

if TYPE_CHECKING:
    from tests.workflows.runner import Job

Inputs = dict[str, str]
_PINNED = 40


def effect_of(uses: str) -> Callable[["Job", Inputs], dict[str, str]]:
    """Return what an action does: a function of a job and the inputs, that returns the outputs.

    :raises UnknownError: for an action that is not known here, or not pinned to a commit.
    """
    name, _, version = uses.partition("@")
    if len(version) != _PINNED or name not in _EFFECTS:
        raise UnknownError(f"uses: {uses}")
    return _EFFECTS[name]


def _checkout(job: "Job", inputs: Inputs) -> dict[str, str]:
    _known(inputs, {"ref", "fetch-depth", "persist-credentials"})
    if inputs["persist-credentials"] != "false":
        raise UnknownError("a checkout that leaves the token behind")
    deep = inputs.get("fetch-depth", "1") == "0"
    url = f"{job.run.forge.url}/{job.run.repository}"

    def git(*arguments: str) -> str:
        # By askpass, so that nothing of the token stays in the checkout.
        done = captured(
            ["git", "-c", "credential.helper=", *arguments],
            cwd=job.workspace,
            env=job.base | {"GIT_ASKPASS": str(job.askpass), "JOB_TOKEN": job.token},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", url)
    wanted = inputs.get("ref") or job.run.event.sha
    depth = [] if deep else ["--depth=1"]
    git("fetch", "--quiet", "--no-tags", *depth, "origin", wanted)
    # What is fetched next writes FETCH_HEAD too.
    commit = git("rev-parse", "FETCH_HEAD")
    if deep:
        git("fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    if len(wanted) == _PINNED:
        git("checkout", "--quiet", "--detach", wanted)
    else:
        git("checkout", "--quiet", "-B", wanted, commit)
    return {"commit": git("rev-parse", "HEAD"), "ref": wanted}


def _setup_python(job: "Job", inputs: Inputs) -> dict[str, str]:
    _known(inputs, {"python-version"})
    if inputs["python-version"] != f"{sys.version_info[0]}.{sys.version_info[1]}":
        raise UnknownError(f"Python {inputs['python-version']}")
    folder = job.folder / "python"
    folder.mkdir(exist_ok=True)
    # The interpreter that the virtual environment of the tests was made with.
    found = Path(sys.base_prefix) / "bin" / f"python{inputs['python-version']}"
    (folder / found.name).symlink_to(found)
    job.add_path(folder)
    return {"python-version": inputs["python-version"]}


def _cache(job: "Job", inputs: Inputs) -> dict[str, str]:
    _known(inputs, {"path", "key", "restore-keys"})
    targets = [
        job.workspace / line.replace("~", job.base["HOME"], 1) for line in inputs["path"].split("\n") if line
    ]
    caches = job.run.forge.caches
    keys = [inputs["key"]] if inputs["key"] in caches else []
    for prefix in inputs.get("restore-keys", "").split():
        keys += [key for key in reversed(caches) if key.startswith(prefix)]
    for number, target in enumerate(targets):
        if keys and (kept := caches[keys[0]] / str(number)).is_dir():
            shutil.copytree(kept, target, dirs_exist_ok=True)

    def save() -> None:
        present = [target.is_dir() for target in targets]
        if inputs["key"] in caches or not any(present):
            return
        kept = job.run.folder / "caches" / str(len(caches))
        for number, target in enumerate(targets):
            if present[number]:
                shutil.copytree(target, kept / str(number))
        caches[inputs["key"]] = kept

    job.afterwards.append(save)
    return {"cache-hit": "true" if keys[:1] == [inputs["key"]] else "false"}


def _upload(job: "Job", inputs: Inputs) -> dict[str, str]:
    _known(inputs, {"name", "path", "if-no-files-found"})
    paths = [job.workspace / line for line in inputs["path"].split("\n") if line.strip()]
    present = [path for path in paths if path.exists()]
    if not present and inputs["if-no-files-found"] == "error":
        raise AssertionError(f"No files were found with the provided path: {inputs['path']}")
    key = (job.run.number, inputs["name"])
    if key in job.run.forge.artifacts:
        raise AssertionError(f"an artifact {inputs['name']} already exists on this run")
    kept = job.run.folder / "artifacts" / inputs["name"]
    kept.mkdir(parents=True)
    # A folder alone is left out of the names, and so is what all paths have in common.
    for path in present:
        if path.is_dir():
            shutil.copytree(path, kept if len(present) == 1 else kept / path.name, dirs_exist_ok=True)
        else:
            shutil.copy2(path, kept / path.name)
    job.run.forge.artifacts[key] = kept
    return {}


def _download(job: "Job", inputs: Inputs) -> dict[str, str]:
    _known(inputs, {"name", "path", "run-id", "github-token"})
    number = int(inputs.get("run-id", job.run.number))
    if number != job.run.number:
        token = job.run.forge.tokens[inputs["github-token"]]
        assert token.may("actions", "read"), "Resource not accessible by integration"
    found = job.run.forge.artifacts.get((number, inputs["name"]))
    assert found is not None, f"Artifact not found for name: {inputs['name']}"
    target = Path(inputs["path"])
    shutil.copytree(found, target if target.is_absolute() else job.workspace / target, dirs_exist_ok=True)
    return {"download-path": str(target)}


def _app_token(job: "Job", inputs: Inputs) -> dict[str, str]:
    permissions = {
        key.removeprefix("permission-"): value
        for key, value in inputs.items()
        if key.startswith("permission-")
    }
    _known({k: v for k, v in inputs.items() if not k.startswith("permission-")}, {"client-id", "private-key"})
    assert permissions, "a token with all that the App may do"
    if (inputs["client-id"], inputs["private-key"]) != job.run.app:
        raise AssertionError("The App cannot be logged into")
    return {"token": job.run.forge.token("visage[bot]", permissions), "app-slug": "visage"}


def _setup_cml(job: "Job", inputs: Inputs) -> dict[str, str]:
    _known(inputs, {"version", "vega"})
    assert inputs["version"] == "0.20.6", "the stand-in does what this version does"
    assert inputs["vega"] == "false", "Vega does not install on the Node of today"
    job.add_command("cml")
    return {}


_EFFECTS: dict[str, Callable[["Job", Inputs], dict[str, str]]] = {
    "actions/checkout": _checkout,
    "actions/setup-python": _setup_python,
    "actions/cache": _cache,
    "actions/upload-artifact": _upload,
    "actions/download-artifact": _download,
    "actions/create-github-app-token": _app_token,
    "iterative/setup-cml": _setup_cml,
}


def _known(inputs: Inputs, names: set[str]) -> None:
    if strange := set(inputs) - names:
        raise UnknownError(f"inputs {', '.join(sorted(strange))}")
