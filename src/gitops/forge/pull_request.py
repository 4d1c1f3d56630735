"""A pull request on GitHub: one for a branch, opened once and then kept up to date in place."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from gitops.errors import ForgeError
from gitops.forge.client import GitHub
from gitops.promotion.jobs import Job, reasons
from gitops.text import parse

log = logging.getLogger(__name__)

JOBS = ("scope", "lint", "test", "dags", "train")
"""The jobs of `pull-request.yml`, each of which has to report."""

Done = Literal["opened", "updated", "left as it is"]


@dataclass(frozen=True)
class PullRequest:
    """An open pull request into `base`."""

    number: int
    url: str
    title: str
    body: str
    head: str
    """The commit that it proposes."""
    fork: str
    """The repository that its branch is in, `owner/name`; empty where that is gone."""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Read one from an answer of GitHub."""
        head = data["head"]
        return cls(
            number=data["number"],
            url=data["html_url"],
            title=data["title"],
            body=data["body"] or "",
            head=head["sha"],
            fork=parse.mapping(head["repo"]).get("full_name", ""),
        )


def open_from(github: GitHub, owner: str, branch: str, *, base: str = "main") -> list[PullRequest]:
    """Return the open pull requests from a branch of any of the repositories of `owner`."""
    pulls = github.pages("pulls", state="open", head=f"{owner}:{branch}", base=base)
    return [PullRequest.read(pull) for pull in pulls if pull["head"]["ref"] == branch]


def find(github: GitHub, branch: str, *, base: str = "main") -> PullRequest | None:
    """Return the open pull request from a branch of the repository itself."""
    pulls = [
        pull for pull in open_from(github, github.owner, branch, base=base) if pull.fork == github.repository
    ]
    return pulls[0] if pulls else None


def keep(
    github: GitHub, branch: str, title: str, body: str, *, base: str = "main"
) -> tuple[PullRequest, Done]:
    """Open a pull request from `branch` (already pushed), or bring the open one up to date."""
    present = find(github, branch, base=base)
    if present is None:
        wanted = {"title": title, "body": body, "head": branch, "base": base}
        try:
            return PullRequest.read(github.post("pulls", wanted)), "opened"
        except ForgeError:
            # Somebody may have opened it at the same moment.
            present = find(github, branch, base=base)
            if present is None:
                raise
    # GitHub keeps line ends as the browser of whoever edited it last sent them.
    if present.title == title and present.body.replace("\r\n", "\n").strip() == body.strip():
        return present, "left as it is"
    changed = github.patch(f"pulls/{present.number}", {"title": title, "body": body})
    return PullRequest.read(changed), "updated"


def close(github: GitHub, pull_request: PullRequest, why: str) -> None:
    """Close it, with the reason as a comment. `why` is Markdown."""
    github.post(f"issues/{pull_request.number}/comments", {"body": why})
    github.patch(f"pulls/{pull_request.number}", {"state": "closed"})


MERGE_GROUP = "merge_group"


def head_of_run(github: GitHub, run: int) -> tuple[str, PullRequest | None]:
    """Return the commit that a run is about, and its pull request; a group of the merge queue has none.

    The commit is empty if the pull request has newer ones.
    """
    data = github.get(f"actions/runs/{run}")
    if data["event"] == MERGE_GROUP:
        return data["head_sha"], None
    pull = of_run(github, run)
    return (pull.head if pull else ""), pull


def of_run(github: GitHub, run: int) -> PullRequest | None:
    """Return the pull request whose newest commit a workflow run was about, or None if it moved on.

    The output of the run does not count, since the code of a fork may have written it. GitHub itself names
    the commit of which repository it was, and whose pull request that is.

    Raises:
        ForgeError: for a run of another event.

    """
    data = github.get(f"actions/runs/{run}")
    if data["event"] != "pull_request":
        raise ForgeError(f"run {run}: started by {data['event']}, not by a pull request")
    source = data["head_repository"]
    if source is None:
        return None  # the fork was deleted
    for pull in open_from(github, source["owner"]["login"], data["head_branch"]):
        if (pull.fork, pull.head) == (source["full_name"], data["head_sha"]):
            return pull
    return None


def jobs_of_run(github: GitHub, run: int) -> dict[str, Job]:
    """Return each job of JOBS of a run, by its name.

    The run is of the workflow as the pull request has it, so its jobs may have any names.
    """
    jobs = github.get(f"actions/runs/{run}/jobs", per_page=100)["jobs"]
    found: dict[str, Job] = {}
    for name in JOBS:
        mine = [_job(github, job) for job in jobs if job["name"] == name] or [Job(result="missing")]
        # Of several jobs of one name, any that did not succeed counts.
        found[name] = min(mine, key=lambda job: job.result == "success")
    return found


def _job(github: GitHub, data: dict[str, Any]) -> Job:
    result = data["conclusion"] or "missing"
    if result in ("success", "skipped", "missing"):
        found = ()
    else:
        try:
            found = reasons(github.text(f"actions/jobs/{data['id']}/logs"))
        except ForgeError as error:
            # The page of the job has the log in any case.
            log.warning("%s", error)
            found = ()
    began, ended = data["started_at"], data["completed_at"]
    took = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds() if ended else 0
    seconds = 0 if result == "skipped" else took
    return Job(result=result, seconds=seconds, url=data["html_url"] or "", reasons=found)
