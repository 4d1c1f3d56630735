"""Deployments on GitHub: the front page of a repository shows the verified release of each environment."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gitops.forge.github import GitHub
from gitops.release.state import ReleaseState


@dataclass(frozen=True)
class Deployment:
    """The last verdict of an environment on the release that main declares for it.

    Attributes:
        environment: Its name.
        commit: The release.
        state: `success` if the environment verified it, `failure` if it rejected it.
        text: A description of at most 140 characters, which GitHub takes.
        last: Whether the environment is of the last wave, which GitHub calls production.

    """

    environment: str
    commit: str
    state: Literal["success", "failure"]
    text: str
    last: bool


def of_state(state: ReleaseState) -> Iterator[Deployment]:
    """Yield the deployment of each environment that has judged the release that main declares for it."""
    environments = state.environments
    for name in environments:
        commit = state.wanted(name)
        last = name in environments.last_wave
        if tag := state.verdicts.rejected(name, commit):
            yield Deployment(name, tag.commit, "failure", f"{name} rejected it: {tag.name}", last)
        elif verdict := state.verdicts.verified(name, commit):
            text = f"{name} verified it"
            if verdict.measured_accuracy is not None:
                text += f": mean accuracy {verdict.measured_accuracy:.4f} on {verdict.samples} images"
            yield Deployment(name, verdict.release, "success", text, last)


def keep(github: GitHub, wanted: Deployment) -> bool:
    """Make the newest deployment of an environment the wanted one; return whether that changed anything."""
    newest = github.get("deployments", environment=wanted.environment, per_page=1)
    if newest and newest[0]["sha"] == wanted.commit:
        number = newest[0]["id"]
        statuses = github.get(f"deployments/{number}/statuses", per_page=1)
        if statuses and statuses[0]["state"] == wanted.state:
            return False
    else:
        body: dict[str, object] = {
            "ref": wanted.commit,
            "environment": wanted.environment,
            "description": "The release that main declares",
            "production_environment": wanted.last,
            # The verdict of the environment counts, and not the checks of a merge that is over.
            "auto_merge": False,
            "required_contexts": [],
        }
        number = github.post("deployments", body)["id"]
    status = {"state": wanted.state, "description": wanted.text[:140]}
    github.post(f"deployments/{number}/statuses", status)
    return True
