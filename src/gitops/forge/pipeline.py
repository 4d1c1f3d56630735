"""The pipeline of a forge, made from the workflows of GitHub, which are the list of steps.

Forgejo and Gitea read nearly the same files, Gitea's folder first. Left out is the rest: permissions, caches,
artifacts, the merge queue, and runs that another run starts. Nothing there keeps a secret from a branch, so
the file with the checks of a pull request has none; the secrets of the other one can be left unset.
"""

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gitops.errors import ForgeError
from gitops.forge.interface import JOBS
from gitops.text.parse import is_mapping

FOLDER = Path(".gitea/workflows")
SOURCE = Path(".github/workflows")
RUNNER = "docker"
"""The label of the runners, which the administrator of Forgejo chooses."""

_HEAD = "${{ github.event.pull_request.head.sha }}"
_SETUP = "$/.github/actions/setup"
_WITHOUT = (
    "actions/cache/",
    "actions/create-github-app-token@",
    "actions/dependency-review-action@",
    "actions/upload-artifact@",
)
_EVERY = "*/10 * * * *"
_NOTE = "# Generated from {source} by .venv/bin/gitops forge pipeline. Edit that file, then run it again.\n"


def files(root: Path) -> dict[Path, str]:
    """Return the files of the pipeline for Forgejo and Gitea, by their paths in a checkout.

    Args:
        root: The checkout with the workflows of GitHub.

    Raises:
        ForgeError: if a workflow has no job or step that the pipeline is made from.

    """
    checks, promote = (_read(root / SOURCE / name) for name in ("pull-request.yml", "promote.yml"))
    python = _setup_python(root)
    made = {
        "pull-request.yml": ("pull-request.yml", _checks(checks, python)),
        "sync.yml": ("promote.yml", _sync(promote, python)),
    }
    return {
        FOLDER / name: _NOTE.format(source=SOURCE / source) + _text(content)
        for name, (source, content) in made.items()
    }


def _checks(workflow: Mapping[str, Any], python: Mapping[str, Any]) -> dict[str, Any]:
    """Return the workflow with the jobs that check a pull request."""
    if missing := [name for name in JOBS if name not in workflow["jobs"]]:
        raise ForgeError(f"{SOURCE}/pull-request.yml: has no job {', '.join(missing)}")
    return {
        # Its name and those of its jobs are the names of the statuses that `gitops forge sync` reads.
        "name": workflow["name"],
        "on": {"pull_request": workflow["on"]["pull_request"]},
        "defaults": workflow["defaults"],
        "jobs": {name: _job(job, python) for name, job in workflow["jobs"].items()},
    }


def _sync(workflow: Mapping[str, Any], python: Mapping[str, Any]) -> dict[str, Any]:
    """Return the workflow that judges pull requests, and proposes candidates and promotions."""
    (job,) = workflow["jobs"].values()
    steps = [step for step in job["steps"] if "uses" in step and not step.get("if")]
    last = job["steps"][-1]
    keys = {name: value for name, value in last["env"].items() if value.startswith("${{ secrets.")}
    run = {
        "name": "Judge pull requests, propose candidates and promotions",
        "run": ".venv/bin/gitops forge sync --without-dvc-remote",
        "env": {**keys, "GITHUB_TOKEN": "${{ secrets.VISAGE_TOKEN }}"},
    }
    prepared = list(_steps(steps, python, target="setup-gates"))
    return {
        "name": "sync",
        "on": {"push": {"branches": ["main"]}, "schedule": [{"cron": _EVERY}], "workflow_dispatch": {}},
        "defaults": workflow["defaults"],
        "jobs": {
            "sync": {
                "name": "sync",
                "runs-on": RUNNER,
                "timeout-minutes": job["timeout-minutes"],
                "env": job["env"],
                "steps": [*prepared, run],
            }
        },
    }


def _job(job: Mapping[str, Any], python: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in job.items() if key not in ("permissions", "environment", "steps")}
    return {**kept, "runs-on": RUNNER, "steps": list(_steps(job["steps"], python))}


def _steps(
    steps: list[dict[str, Any]], python: Mapping[str, Any], target: str = ""
) -> Iterator[dict[str, Any]]:
    for step in steps:
        uses = str(step.get("uses", ""))
        if uses.startswith(_WITHOUT):
            continue
        if uses == _SETUP:
            only = {"if": step["if"]} if "if" in step else {}
            if not only:  # a later step of the same job has it
                yield {"uses": python["uses"], "with": dict(python["with"])}
            made_by = target or step.get("with", {}).get("target", "setup")
            yield {"name": "Make .venv", **only, "run": f"make {made_by}"}
            continue
        yield {key: _without_queue(value) for key, value in step.items()}


def _without_queue(value: Any) -> Any:
    if is_mapping(value):
        return {key: _without_queue(item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    return re.sub(r"\$\{\{ github\.event\.pull_request\.head\.sha \|\| .*? \}\}", _HEAD, value)


def _setup_python(root: Path) -> Mapping[str, Any]:
    action = _read(root / ".github/actions/setup/action.yml")
    return next(step for step in action["runs"]["steps"] if "actions/setup-python@" in step.get("uses", ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        # Not PyYAML, to which the key `on` is the word for true.
        return YAML(typ="safe", pure=True).load(path.read_bytes())  # pyright: ignore[reportUnknownMemberType]
    except OSError as error:
        raise ForgeError(f"{path}: {error.strerror}; run this in a checkout of the repository") from error


def _text(content: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    yaml.dump(dict(content), stream)  # pyright: ignore[reportUnknownMemberType] it has no types
    return stream.getvalue()
