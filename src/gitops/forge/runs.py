"""Runs of `pull-request.yml` on GitHub: the commit that each was about, and how its jobs ended."""

import logging
from typing import Any

from gitops.errors import ForgeError
from gitops.forge.github import GitHub, seconds_between
from gitops.forge.interface import JOBS, PullRequest
from gitops.promotion.jobs import Job, reasons

log = logging.getLogger(__name__)

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
    pulls = github.open_from(source["owner"]["login"], data["head_branch"])
    for pull in map(github.read, pulls):
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
    seconds = 0 if result == "skipped" else seconds_between(data["started_at"], data["completed_at"])
    return Job(result=result, seconds=seconds, url=data["html_url"] or "", reasons=found)
