"""A run of a workflow on GitHub Actions: how long its jobs took, what people read of it."""

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from gitops.errors import ForgeError, GitopsError
from gitops.forge.client import GitHub

OUTCOMES = ("success", "failure", "cancelled", "skipped")
_LONGEST_SUMMARY = 1024 * 1024
_LONGEST_DESCRIPTION = 140
_STATES: dict[str, Literal["success", "failure", "error"]] = {"success": "success", "failure": "failure"}


def seconds(github: GitHub, run: int) -> dict[str, float]:
    """Return how long each job of a run took that has ended and was not skipped."""
    found: dict[str, float] = {}
    for job in github.pages(f"actions/runs/{run}/jobs", key="jobs", filter="latest"):
        if job["status"] != "completed" or job["conclusion"] == "skipped":
            continue
        began, ended = (datetime.fromisoformat(job[key]) for key in ("started_at", "completed_at"))
        found[str(job["name"])] = max(0.0, (ended - began).total_seconds())
    return found


def mark(github: GitHub, commit: str, context: str, outcome: str, description: str, url: str) -> None:
    """Put a status beside a commit, where a pull request shows it; `outcome` is that of a step.

    :raises ForgeError: for an outcome that there is none of, or where GitHub refuses.
    """
    if outcome not in OUTCOMES:
        raise ForgeError(f"{outcome}: no outcome of a step; there are {', '.join(OUTCOMES)}")
    body = {
        "state": _STATES.get(outcome, "error"),
        "context": context,
        "description": description[:_LONGEST_DESCRIPTION],
        "target_url": url,
    }
    github.post(f"statuses/{commit}", body)


def summarise(file: Path) -> None:
    """Show a file of Markdown on the page of the job.

    :raises GitopsError: outside GitHub Actions, or for a file that it would not show.
    """
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        raise GitopsError("GITHUB_STEP_SUMMARY: not set; only a step of GitHub Actions has a summary")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise GitopsError(f"{file}: {error.strerror}") from error
    if len(content) > _LONGEST_SUMMARY:
        raise GitopsError(f"{file}: {len(content)} bytes; a summary takes {_LONGEST_SUMMARY}")
    with Path(target).open("ab") as summary:
        summary.write(content)
