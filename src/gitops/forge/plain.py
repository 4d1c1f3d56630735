"""A plain git server, as a forge: a proposal is a branch, and the text about it is in git notes.

Notes are on the references `refs/notes/visage/*`, by commit: `description`, `visage-report` and
`status-<context>`. To read them: `git fetch origin 'refs/notes/*:refs/notes/*'`, and then
`git log --notes='visage/*'`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gitops.errors import PushRejectedError, RuleError
from gitops.forge.interface import STATES, Done, Forge, PullRequest, Status
from gitops.git.repository import Repository
from gitops.promotion.evidence import Evidence
from gitops.promotion.jobs import Job
from gitops.promotion.merge import merge
from gitops.release.signatures import SIGNERS, verify

NOTES = "refs/notes/visage"
RESERVED = ("main", "run", "preview")
_ATTEMPTS = 3
_STATUS = re.compile(r"(?P<state>\w+): (?P<text>.*)(?:\n(?P<url>\S+))?\n?")


class PlainGit(Forge):
    """One repository on a plain git server, as seen from a checkout."""

    def __init__(self, repository: Repository, remote: str) -> None:
        self._repository, self._remote = repository, remote
        self.repository = repository.remote_url(remote)

    def proposals(self) -> list[PullRequest]:
        """Return the branches that main does not have; run/*, of training runs, does not count."""
        self._repository.fetch(self._remote)
        namespace = f"{self._repository.namespace(self._remote)}/heads/"
        main = self._repository.resolve(f"{namespace}main")
        listed = self._repository.git("for-each-ref", "--format=%(refname)", namespace).splitlines()
        branches = [ref.removeprefix(namespace) for ref in listed]
        return [
            self._read(branch)
            for branch in branches
            if branch.partition("/")[0] not in RESERVED
            and not self._repository.is_ancestor(f"{namespace}{branch}", main)
        ]

    def find(self, branch: str) -> PullRequest | None:
        """Return the proposal of a branch."""
        return next((pull for pull in self.proposals() if pull.branch == branch), None)

    def keep(self, branch: str, title: str, body: str) -> tuple[PullRequest, Done]:
        """Note the description of a branch that is already pushed."""
        self._repository.fetch(self._remote)
        pull = self._read(branch)
        return pull, self._note("description", pull.head, f"{title}\n\n{body.strip()}\n")

    def merge(self, pull: PullRequest, evidence: Evidence) -> str:
        """Merge a branch as `gitops merge` does."""
        try:
            merge(self._repository, self._remote, pull.branch, evidence=evidence)
        except (RuleError, PushRejectedError) as error:
            return " ".join(str(error).split())
        return ""

    def close(self, pull: PullRequest, why: str) -> None:
        """Delete the branch, as long as nobody pushed to it; the reason is a note on its commit."""
        self._note("closed", pull.head, f"{why}\n")
        reference = f"refs/heads/{pull.branch}"
        self._repository.push(self._remote, {reference: None}, leases={reference: pull.head})

    def comment(self, pull: PullRequest, mark: str, body: str) -> Done:
        """Note a text on the newest commit of a proposal; `mark` is the name of the notes."""
        return self._note(re.sub(r"[^\w-]+", "-", mark), pull.head, body)

    def set_status(self, commit: str, context: str, status: Status) -> None:
        """Note a status on a commit."""
        lines = [f"{status.state}: {' '.join(status.text.split())}", *filter(None, [status.url])]
        self._note(f"status-{context}", commit, "\n".join(lines) + "\n")

    def statuses(self, commit: str) -> Mapping[str, Status]:
        """Return the status of each context that is noted on a commit."""
        prefix = f"{NOTES}/status-"
        found: dict[str, Status] = {}
        for reference in self._repository.remote_refs(self._remote, f"{prefix}*"):
            content = (self._repository.read(self._tip(reference) or "", commit) or b"").decode()
            if match := _STATUS.fullmatch(content):
                state = STATES.get(match["state"], "error")
                found[reference.removeprefix(prefix)] = Status(state, match["text"], match["url"] or "")
        return found

    def jobs(self, commit: str) -> Mapping[str, Job] | None:
        """Return no job: a plain git server runs none."""
        del commit
        return {}

    def approvals(self, pull: PullRequest) -> list[str]:
        """Return the author of the newest commit, if a person that main lists as a signer has signed it."""
        signers = self._repository.read(self._repository.branch_ref(self._remote, "main"), SIGNERS)
        signed = signers is not None and verify(self._repository, pull.head, signers) is None
        return [pull.author] if signed else []

    def protect(self, root: Path, *, user: str | None = None, dry: bool = False) -> Iterator[tuple[str, str]]:
        """Return the rule that is left to the administrator: git has no rules but those of its hooks."""
        del root, user, dry
        yield "main", "left to the server: let only those push to main who merge with .venv/bin/gitops merge"

    def _read(self, branch: str) -> PullRequest:
        commit = self._repository.commit_info(self._repository.branch_ref(self._remote, branch))
        body = self._repository.git("show", "--no-patch", "--format=%b", commit.id)
        author = self._repository.git("show", "--no-patch", "--format=%ae", commit.id)
        url = f"{self.repository} {branch}"
        return PullRequest(0, branch, url, commit.subject, body, commit.id, author=author)

    def _note(self, name: str, commit: str, text: str) -> Done:
        """Note a text on a commit. Somebody else may push a note at the same moment."""
        reference = f"{NOTES}/{name}"
        for attempt in range(1, _ATTEMPTS + 1):
            tip = self._tip(reference)
            present = self._repository.read(tip, commit) if tip else None
            if present == text.encode():
                return "left as it is"
            made = self._repository.commit_files(tip, {commit: text.encode()}, f"Note {name}\n")
            try:
                self._repository.push(self._remote, {reference: made}, leases={reference: tip})
            except PushRejectedError:
                if attempt == _ATTEMPTS:
                    raise
                continue
            return "opened" if present is None else "updated"
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _tip(self, reference: str) -> str | None:
        tip = self._repository.remote_refs(self._remote, reference).get(reference)
        if tip and not self._repository.has(tip):
            self._repository.fetch_refs(self._remote, reference)
        return tip
