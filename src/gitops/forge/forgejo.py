"""Forgejo and Gitea, whose REST APIs are alike.

The address and the token come from FORGEJO_TOKEN, FORGEJO_URL and FORGEJO_REPOSITORY, or from the git remote.
In a job of Forgejo Actions the variables with GitHub's names have the address and the repository.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

from gitops.errors import ForgeError
from gitops.forge import ruleset
from gitops.forge.client import AnswerError
from gitops.forge.github import RULESETS
from gitops.forge.hub import Hub, repository_of
from gitops.forge.interface import JOBS, VERDICT, PullRequest
from gitops.promotion.jobs import Job
from gitops.text.parse import is_mapping

PATH = "/api/v1"
DEPLOYMENTS = "deploy/**"
"""The branches with the manifests of environments."""
_JOB = re.compile(r"pull request / (\w+) \(pull_request\)")
_SKIPPED = re.compile(r"(?:has been )?skipped", re.IGNORECASE)
_SERVER = re.compile(r"(?:https?|ssh)://(?:[^@/]*@)?([^/:]+)(?::\d+)?/|(?:[^@/]*@)([^/:]+):")


class Forgejo(Hub):
    """One repository on Forgejo or Gitea, with a token."""

    forge: ClassVar = "Forgejo"
    variable: ClassVar = "FORGEJO_TOKEN"
    how_to_get: ClassVar = " with the scopes write:repository, write:issue, read:user"
    scheme: ClassVar = "token"
    page_size: ClassVar = ("limit", 50)

    @classmethod
    def token(cls) -> str:
        """Return the token in the environment; a job of Forgejo Actions has it under GitHub's name."""
        if in_a_job() and (token := os.environ.get("GITHUB_TOKEN")):
            return token
        return super().token()

    @classmethod
    def from_environ(cls, remote_url: str = "", name: str = "") -> Self:
        """Take token, repository and address from the environment; `name` and `remote_url` name it too."""
        token = cls.token()
        here = os.environ.get
        server = here("FORGEJO_URL") or here("GITHUB_SERVER_URL") or server_of(remote_url)
        server = server.rstrip("/")
        named = here("FORGEJO_REPOSITORY") or here("GITHUB_REPOSITORY")
        name = name or named or repository_of(remote_url, server)
        if not (server and name):
            raise ForgeError(
                "FORGEJO_URL, FORGEJO_REPOSITORY: not set, and the git remote names neither; give "
                "https://git.example.org and owner/name"
            )
        return cls(name, token, api=server + PATH)

    def jobs(self, commit: str) -> Mapping[str, Job] | None:
        """Return how the jobs of the generated pipeline ended, or None as long as one of them has not.

        Forgejo Actions shows each job as a status; it may show one only when it ends.
        """
        found: dict[str, Job] = {}
        for context, status in self.statuses(commit).items():
            if (match := _JOB.fullmatch(context)) and match[1] in JOBS and status.state != "pending":
                result = "skipped" if _SKIPPED.match(status.text) else status.state
                found[match[1]] = Job(result=result, url=status.url)
        return found if len(found) == len(JOBS) else None

    def press_merge(self, pull: PullRequest) -> None:
        """Merge it, as long as nobody pushed to it."""
        self.post(f"pulls/{pull.number}/merge", {"Do": "merge", "head_commit_id": pull.head})

    def protect(self, root: Path, *, user: str | None = None, dry: bool = False) -> Iterator[tuple[str, str]]:
        """Apply the ruleset `main` of a checkout, as far as a branch protection can, and that of manifests.

        Merges are merge commits, and a merge that `gitops merge` pushes closes its pull request. The branches
        `promote/**` stay open: a proposal is pushed by force, which no protected branch takes.

        Args:
            root: The checkout.
            user: Who pushes the branches `deploy/**`; by default the present one, or that of the token.
            dry: Whether to change nothing.

        """
        merges = {
            "allow_merge_commits": True,
            "allow_squash_merge": False,
            "allow_rebase": False,
            "allow_rebase_explicit": False,
            "default_delete_branch_after_merge": True,
        }
        if ruleset.covers(self.get(""), merges):
            yield "merges", "up to date"
        else:
            if not dry:
                # Of these two no answer shows the present value.
                self.patch("", {**merges, "allow_manual_merge": True, "autodetect_manual_merge": True})
            yield "merges", "different" if dry else "changed"
        yield "main", self._protect("main", _protection(ruleset.load(root / RULESETS)), dry=dry)
        known: Mapping[str, Any] = self._protected(DEPLOYMENTS) or {}
        users: list[str] = [user] if user else known.get("push_whitelist_usernames") or [self._login]
        manifests = {
            "enable_push": True,
            "enable_push_whitelist": True,
            "push_whitelist_usernames": users,
            "push_whitelist_deploy_keys": False,
        }
        yield DEPLOYMENTS, self._protect(DEPLOYMENTS, manifests, dry=dry)

    def _protected(self, name: str) -> Any:
        """Return the branch protection of a name, or None."""
        try:
            return self.get(f"branch_protections/{quote(name, safe='')}")
        except AnswerError as error:
            if error.status != 404:
                raise
            return None

    def _protect(self, name: str, wanted: Mapping[str, Any], *, dry: bool) -> str:
        present = self._protected(name)
        if present is None:
            if not dry:
                self.post("branch_protections", {"rule_name": name, **wanted})
            return "missing" if dry else "made"
        if ruleset.covers(present, wanted):
            return "up to date"
        if not dry:
            self.patch(f"branch_protections/{quote(name, safe='')}", wanted)
        return "different" if dry else "changed"

    def _open(self, branch: str = "") -> list[dict[str, Any]]:
        del branch  # Forgejo has no such filter
        return list(self.pages("pulls", state="open"))

    def _comments(self, number: int) -> list[dict[str, Any]]:
        return self.get(f"issues/{number}/comments")  # all of them, without pages

    @cached_property
    def _login(self) -> str:
        return self.get("/user")["login"]

    def _wrote(self, user: dict[str, Any]) -> bool:
        return user["login"] == self._login


def in_a_job() -> bool:
    """Return whether this is a job of Forgejo Actions or Gitea Actions."""
    return (os.environ.get("GITHUB_API_URL") or "").rstrip("/").endswith(PATH)


def server_of(url: str) -> str:
    """Return the address of the web server that a git remote is on, or '' if it is a path."""
    if url.startswith(("http://", "https://")):
        return re.sub(r"^(https?://)(?:[^@/]*@)?([^/]+).*", r"\1\2", url)
    match = _SERVER.match(url)
    return f"https://{match[1] or match[2]}" if match else ""


def _protection(rulesets: list[ruleset.Ruleset]) -> dict[str, Any]:
    """Return the branch protection for the rules of main."""
    (main,) = [one for one in rulesets if one.name == "main"]
    rules = {rule.type: rule.parameters for rule in main.rules}
    reviews, checks = rules["pull_request"], rules["required_status_checks"]
    contexts = [check["context"] for check in checks["required_status_checks"] if is_mapping(check)]
    if VERDICT not in contexts:
        raise ForgeError(f"{RULESETS}/main.json: does not ask for the status {VERDICT}")
    return {
        "enable_push": False,
        "required_approvals": reviews["required_approving_review_count"],
        "dismiss_stale_approvals": reviews["dismiss_stale_reviews_on_push"],
        "block_on_rejected_reviews": True,
        "block_on_outdated_branch": checks["strict_required_status_checks_policy"],
        "enable_status_check": True,
        "status_check_contexts": contexts,
    }
