"""A pull request on GitHub: one for a branch, opened once and then kept up to date in place."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from gitops.errors import ForgeError
from gitops.forge.client import GitHub
from gitops.text import parse

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


def job_results(github: GitHub, run: int) -> dict[str, str]:
    """Return how each job of a pull request's run ended, by its name; `missing` where it has no such job.

    The run is of the workflow as the pull request has it, so its jobs may have any names.
    """
    jobs = github.get(f"actions/runs/{run}/jobs", per_page=100)["jobs"]
    ended = {name: {job["conclusion"] or "missing" for job in jobs if job["name"] == name} for name in JOBS}
    # Of several jobs of one name, any that did not succeed counts.
    return {name: next(iter(results - {"success"} or results), "missing") for name, results in ended.items()}
