"""Pull requests, comments, statuses and reviews as GitHub, Forgejo and Gitea have them in common."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from gitops.errors import ForgeError
from gitops.forge.client import AnswerError, Client
from gitops.forge.interface import STATES, VERDICT, Done, PullRequest, Status
from gitops.promotion.evidence import Evidence
from gitops.text import parse


class Hub(Client, ABC):
    """A forge whose addresses are `repos/OWNER/NAME/pulls`, `issues` and `statuses`."""

    @classmethod
    def token(cls) -> str:
        """Return the token in the environment.

        Raises:
            ForgeError: if the environment has no token.

        """
        if token := os.environ.get(cls.variable):
            return token
        raise ForgeError(f"{cls.variable}: not set; give a token{cls.how_to_get}", command=cls.get_it)

    @classmethod
    @abstractmethod
    def from_environ(cls, remote_url: str = "", name: str = "") -> Self:
        """Take token, repository and address from the environment; `name` and `remote_url` name it too."""

    def proposals(self) -> list[PullRequest]:
        """Return the open pull requests into main."""
        return [self.read(pull) for pull in self._open() if pull["base"]["ref"] == "main"]

    def find(self, branch: str) -> PullRequest | None:
        """Return the open pull request from a branch of the repository itself."""
        found = (self.read(pull) for pull in self._open(branch) if pull["base"]["ref"] == "main")
        mine = (pull for pull in found if (pull.fork, pull.branch) == (self.repository, branch))
        return next(mine, None)

    def keep(self, branch: str, title: str, body: str) -> tuple[PullRequest, Done]:
        """Open a pull request from a branch that is already pushed, or bring the open one up to date."""
        present = self.find(branch)
        if present is None:
            wanted = {"title": title, "body": body, "head": branch, "base": "main"}
            try:
                return self.read(self.post("pulls", wanted)), "opened"
            except ForgeError:
                # Somebody may have opened it at the same moment.
                present = self.find(branch)
                if present is None:
                    raise
        # Line ends are as the browser of whoever edited it last sent them.
        if present.title == title and present.body.replace("\r\n", "\n").strip() == body.strip():
            return present, "left as it is"
        changed = self.patch(f"pulls/{present.number}", {"title": title, "body": body})
        return self.read(changed), "updated"

    def close(self, pull: PullRequest, why: str) -> None:
        """Close a pull request, with the reason as a comment."""
        self.post(f"issues/{pull.number}/comments", {"body": why})
        self.patch(f"pulls/{pull.number}", {"state": "closed"})

    def merge(self, pull: PullRequest, evidence: Evidence) -> str:
        """Press the merge button, where `verdict` is good and the forge agrees."""
        del evidence  # the job that set the status had it
        status = self.statuses(pull.head).get(VERDICT)
        if status is None or status.state != "success":
            return f"{VERDICT}: {status.text if status else 'not judged yet'}"
        try:
            self.press_merge(pull)
        except AnswerError as error:
            if error.status in (405, 409):
                return str(error)
            raise
        return ""

    @abstractmethod
    def press_merge(self, pull: PullRequest) -> None:
        """Ask the forge to merge the newest commit of a pull request with a merge commit."""

    def comment(self, pull: PullRequest, mark: str, body: str) -> Done:
        """Post a comment, or replace the one of this user that has the same mark."""
        line = f"<!-- {mark} -->"
        text = f"{body.rstrip()}\n\n{line}\n"
        listed = self._comments(pull.number)
        mine = [one for one in listed if line in one["body"] and self._wrote(one["user"])]
        if not mine:
            self.post(f"issues/{pull.number}/comments", {"body": text})
            return "opened"
        if mine[-1]["body"].replace("\r\n", "\n").strip() == text.strip():
            return "left as it is"
        self.patch(f"issues/comments/{mine[-1]['id']}", {"body": text})
        return "updated"

    def set_status(self, commit: str, context: str, status: Status) -> None:
        """Show a status beside a commit."""
        body = {"state": status.state, "context": context, "description": status.text[:140]}
        self.post(f"statuses/{commit}", {**body, "target_url": status.url} if status.url else body)

    def statuses(self, commit: str) -> Mapping[str, Status]:
        """Return the newest status of each context."""
        found: dict[str, Status] = {}
        for one in self.pages(f"commits/{commit}/statuses"):  # the newest comes first
            # Forgejo calls the state of a status `status`.
            state = STATES.get(one.get("state") or one.get("status") or "", "error")
            text, url = one["description"] or "", one["target_url"] or ""
            found.setdefault(one["context"], Status(state, text, url))
        return found

    def approvals(self, pull: PullRequest) -> list[str]:
        """Return who approves the newest commit of a pull request; the author does not count."""
        last: dict[str, bool] = {}
        for review in self.pages(f"pulls/{pull.number}/reviews"):
            if review["state"] in ("APPROVED", "REQUEST_CHANGES", "CHANGES_REQUESTED", "DISMISSED"):
                fresh = review["commit_id"] == pull.head and not review.get("dismissed")
                last[parse.mapping(review["user"]).get("login", "")] = fresh and review["state"] == "APPROVED"
        return sorted(name for name, approves in last.items() if approves and name != pull.author)

    def read(self, data: dict[str, Any]) -> PullRequest:
        """Read a pull request from an answer."""
        head = data["head"]
        return PullRequest(
            number=data["number"],
            branch=head["ref"],
            url=data["html_url"],
            title=data["title"],
            body=data["body"] or "",
            head=head["sha"],
            fork=parse.mapping(head["repo"]).get("full_name", ""),
            author=parse.mapping(data["user"]).get("login", ""),
        )

    @abstractmethod
    def _open(self, branch: str = "") -> list[dict[str, Any]]:
        """Return the open pull requests, or at least those from a branch of the repository."""

    def _comments(self, number: int) -> list[dict[str, Any]]:
        return list(self.pages(f"issues/{number}/comments"))

    @abstractmethod
    def _wrote(self, user: dict[str, Any]) -> bool:
        """Return whether a comment of a user is this token's own."""


def repository_of(url: str, server: str) -> str:
    """Return `owner/name` of a git remote on a server, or '' if it is elsewhere."""
    host = re.escape(server.partition("://")[2].rstrip("/"))
    match = re.fullmatch(rf"(?:\w+://(?:[^@/]*@)?{host}/|(?:[^@/]*@)?{host}:)([^/]+/[^/]+?)(?:\.git)?/?", url)
    return match[1] if match else ""
