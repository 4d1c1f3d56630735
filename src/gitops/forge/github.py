"""GitHub's REST API, as far as releases need it.

The address and the token come from the variables that GitHub Actions gives every step, which a person can set
too: GITHUB_TOKEN, GITHUB_REPOSITORY (`owner/name`), GITHUB_API_URL and GITHUB_SERVER_URL.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from gitops.errors import ForgeError
from gitops.forge import ruleset
from gitops.forge.client import AnswerError
from gitops.forge.hub import Hub, repository_of
from gitops.forge.interface import JOBS, PullRequest
from gitops.promotion.jobs import Job

API = "https://api.github.com"
SERVER = "https://github.com"
RULESETS = Path(".github/rulesets")


class GitHub(Hub):
    """One repository on GitHub, with a token."""

    forge: ClassVar = "GitHub"
    variable: ClassVar = "GITHUB_TOKEN"
    how_to_get: ClassVar = ", for instance that of gh auth token"
    get_it: ClassVar = "export GITHUB_TOKEN=$(gh auth token)"
    headers: ClassVar = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

    def __init__(self, repository: str, token: str, *, api: str = API, pause: float = 1) -> None:
        """`repository` is `owner/name`; `pause` is the first number of seconds between attempts."""
        super().__init__(repository, token, api=api, pause=pause)

    @classmethod
    def from_environ(cls, remote_url: str = "", name: str = "") -> Self:
        """Take token, repository and address from the environment; `name` and `remote_url` name it too."""
        token = cls.token()
        server = os.environ.get("GITHUB_SERVER_URL") or SERVER
        name = name or os.environ.get("GITHUB_REPOSITORY") or repository_of(remote_url, server)
        if not name:
            raise ForgeError(
                "GITHUB_REPOSITORY: not set, and the git remote is not on GitHub; give owner/name"
            )
        return cls(name, token, api=os.environ.get("GITHUB_API_URL") or API)

    def owner_is_user(self) -> bool:
        """Return whether the repository belongs to a person, who has fewer settings than an organisation."""
        return self.get("")["owner"]["type"] == "User"

    def jobs(self, commit: str) -> Mapping[str, Job] | None:
        """Return how the jobs of `pull-request.yml` ended, or None as long as one of them has not."""
        runs = self.get(f"commits/{commit}/check-runs", per_page=100, filter="latest")["check_runs"]
        mine = [run for run in runs if run["name"] in JOBS]
        if {run["name"] for run in mine if run["status"] == "completed"} != set(JOBS):
            return None
        return {name: _worst([run for run in mine if run["name"] == name]) for name in JOBS}

    def press_merge(self, pull: PullRequest) -> None:
        """Merge it, as long as nobody pushed to it."""
        self.put(f"pulls/{pull.number}/merge", {"sha": pull.head, "merge_method": "merge"})

    def protect(self, root: Path, *, user: str | None = None, dry: bool = False) -> Iterator[tuple[str, str]]:
        """Apply the rulesets of a checkout, without the one that needs the App."""
        del user
        return ruleset.apply(self, ruleset.with_app(ruleset.load(root / RULESETS), None), dry=dry)

    def open_from(self, owner: str, branch: str) -> list[dict[str, Any]]:
        """Return the open pull requests from a branch of any of the repositories of `owner`."""
        pulls = self.pages("pulls", state="open", head=f"{owner}:{branch}", base="main")
        return [pull for pull in pulls if pull["head"]["ref"] == branch]

    def _open(self, branch: str = "") -> list[dict[str, Any]]:
        if branch:
            return self.open_from(self.owner, branch)
        return list(self.pages("pulls", state="open", base="main"))

    @cached_property
    def _login(self) -> str | None:
        try:
            return self.get("/user")["login"]
        except AnswerError as error:
            if error.status in (401, 403):
                return None  # the token of an App or a job is nobody's
            raise

    def _wrote(self, user: dict[str, Any]) -> bool:
        return user["login"] == self._login if self._login else user["type"] == "Bot"


def seconds_between(began: str | None, ended: str | None) -> float:
    """Return the seconds between two times of GitHub, 0 if one is missing."""
    if not (began and ended):
        return 0
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def _worst(runs: list[dict[str, Any]]) -> Job:
    """Return one job for the runs of a name: any that did not succeed counts."""
    jobs = [
        Job(
            result=run["conclusion"],
            seconds=seconds_between(run["started_at"], run["completed_at"]),
            url=run["html_url"] or "",
        )
        for run in runs
    ]
    return min(jobs, key=lambda job: job.result == "success")
