"""Workflow files, and which events start them."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.workflows.expression import UnknownError

WORKFLOW = {"name", "on", "permissions", "concurrency", "defaults", "jobs"}
JOB = {
    "name",
    "needs",
    "if",
    "runs-on",
    "timeout-minutes",
    "environment",
    "permissions",
    "outputs",
    "env",
    "steps",
}
STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell"}
PULL_REQUEST_TYPES = ("opened", "synchronize", "reopened")


@dataclass(frozen=True)
class Event:
    """Something that happens in a repository on GitHub: its name, and what a workflow is told of it."""

    name: str
    payload: dict[str, Any]
    ref: str
    """The full name of the reference that it is about."""
    sha: str
    head_ref: str = ""
    """The branch of a pull request."""
    fork: bool = False
    """Whether it comes from a pull request of another repository."""


@dataclass(frozen=True)
class Workflow:
    """One workflow file, of which nothing is left that this tool does not know."""

    path: str
    name: str
    on: dict[str, Any]
    concurrency: dict[str, Any]
    jobs: dict[str, dict[str, Any]]

    @property
    def own_steps(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, step) for name, job in self.jobs.items() for step in job["steps"]]

    def starts(self, event: Event) -> bool:
        """Whether an event starts it."""
        if event.name not in self.on:
            return False
        wanted = self.on[event.name] or {}
        match event.name:
            case "push":
                kind, _, name = event.ref.removeprefix("refs/").partition("/")
                key = {"heads": "branches", "tags": "tags"}[kind]
                # With one of both given, the other starts nothing.
                return key in wanted and _any(name, wanted[key])
            case "pull_request":
                types = wanted.get("types", PULL_REQUEST_TYPES)
                return event.payload["action"] in types and _any(
                    event.payload["pull_request"]["base"]["ref"], wanted["branches"]
                )
            case "workflow_run":
                run = event.payload["workflow_run"]
                return run["name"] in wanted["workflows"] and event.payload["action"] in wanted["types"]
            case "schedule":
                return {"cron": event.payload["schedule"]} in wanted
            case "workflow_dispatch":
                return True
        raise UnknownError(f"{self.path}: the event {event.name}")


def load(path: Path) -> Workflow:
    """Read a workflow file.

    :raises UnknownError: for a key that the tool does not act on.
    """
    # Not PyYAML, to which the key `on` is the word for true.
    data = YAML(typ="safe", pure=True).load(path.read_text())
    known(data, WORKFLOW, path.name)
    if data.get("permissions") != {}:
        raise UnknownError(f"{path.name}: permissions that every job gets")
    if data["defaults"] != {"run": {"shell": "bash"}}:
        raise UnknownError(f"{path.name}: defaults")
    for name, job in data["jobs"].items():
        known(job, JOB, f"{path.name}: {name}")
        for step in job["steps"]:
            known(step, STEP, f"{path.name}: {name}")
    return Workflow(
        path=f".github/workflows/{path.name}",
        name=data["name"],
        on=data["on"],
        concurrency=data["concurrency"],
        jobs=data["jobs"],
    )


def load_action(path: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Read the inputs of a composite action with their defaults, and its steps."""
    data = YAML(typ="safe", pure=True).load(path.read_text())
    known(data, {"name", "description", "inputs", "runs"}, str(path))
    known(data["runs"], {"using", "steps"}, str(path))
    if data["runs"]["using"] != "composite":
        raise UnknownError(f"{path}: not a composite action")
    for step in data["runs"]["steps"]:
        known(step, STEP, str(path))
    inputs = data.get("inputs", {})
    for name, value in inputs.items():
        known(value, {"description", "default"}, f"{path}: {name}")
    return {name: value["default"] for name, value in inputs.items()}, list(data["runs"]["steps"])


def known(data: dict[str, Any], keys: set[str], where: str) -> None:
    if strange := set(data) - keys:
        raise UnknownError(f"{where}: {', '.join(sorted(map(str, strange)))}")


def _any(name: str, patterns: list[str]) -> bool:
    for pattern in patterns:
        if set(pattern) & set("!?+[]"):
            raise UnknownError(f"{pattern}: a pattern with more than stars")
    # A single star stands for no slash, a double one for anything.
    return any(
        fnmatch.fnmatchcase(name, pattern) and ("**" in pattern or name.count("/") == pattern.count("/"))
        for pattern in patterns
    )
