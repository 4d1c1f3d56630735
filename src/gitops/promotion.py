"""Promotion and rollback: the rules, and the one-file commits that obey them.

`gitops check` holds every change of a release file against the same rules, so an edit by hand cannot do what
`gitops promote` would refuse.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise

from gitops import gate, release, settings, signature
from gitops.comparison import Compare
from gitops.difference import compare
from gitops.errors import (
    GateError,
    NothingToDoError,
    PushRejectedError,
    ReleaseError,
    RuleError,
    SettingsError,
)
from gitops.gate import Row
from gitops.release import ENVIRONMENTS, PREVIOUS, Declaration, Release
from gitops.repository import Repository
from gitops.settings import Settings
from gitops.storage import Storage
from gitops.verdict import Verdicts

NO_RELEASE = Release(commit=None)


@dataclass(frozen=True)
class Violation:
    """A broken rule: the file it is about, what is wrong, and what would be right."""

    file: str
    rule: str
    right: str

    def __str__(self) -> str:
        return f"{self.file}: {self.rule}; {self.right}"


class Ledger:
    """What `main` declares and what the environments found out, as last fetched from a remote."""

    def __init__(
        self,
        repository: Repository,
        *,
        remote: str | None = None,
        main: str = "main",
        storage: Storage | None = None,
        compare: Compare | None = None,
    ) -> None:
        """Read `main` of `remote` as last fetched; without a remote, the local reference `main`.

        `compare` is how models are compared with what runs. Without a `storage` nobody asks whether a model
        exists there.
        """
        self.repository = repository
        self.storage = storage
        self.compare = compare
        self.judged: dict[str, list[Row]] = {}
        """What the gates of each environment said last."""
        self.tip = repository.resolve(repository.branch_ref(remote, main) if remote else main)
        self.verdicts = Verdicts.load(repository, remote=remote)

    @classmethod
    def fetch(
        cls,
        repository: Repository,
        remote: str,
        *,
        main: str = "main",
        storage: Storage | None = None,
        compare: Compare | None = None,
    ) -> "Ledger":
        """Fetch from `remote` first."""
        repository.fetch(remote)
        return cls(repository, remote=remote, main=main, storage=storage, compare=compare)

    def declared(self, environment: str) -> Declaration:
        """Return what main declares now.

        :raises ReleaseError: where the file is missing or not valid.
        """
        return release.declared(self.repository, self.tip, environment)

    def present(self, environment: str) -> Release:
        """Return the release that main declares; where that is not valid, the last one that was."""
        try:
            return self.declared(environment).release
        except ReleaseError:
            found = self.history(environment)
            return found[0].release if found else NO_RELEASE

    def history(self, environment: str) -> list[Declaration]:
        """Return what main declared for an environment, newest first."""
        if environment not in self._histories:
            self._histories[environment] = release.history(self.repository, self.tip, environment)
        return self._histories[environment]

    def settings(self, environment: str) -> Settings:
        """Return an environment's settings on main: a change cannot lower the bar for itself.

        :raises SettingsError: where they are missing or not valid.
        """
        path = settings.path_of(environment)
        content = self.repository.read(self.tip, path)
        if content is None:
            raise SettingsError(f"{path}: missing on main")
        return settings.parse(content, environment)

    def judge(self, environment: str, commit: str, incumbent: str | None, *, fetch: bool = True) -> list[Row]:
        """Hold a commit's model against the gates of an environment, by its settings on main.

        Without `fetch` only what the commits record is compared: the model itself is known not to be there.

        :raises GateError: where the commit lacks the figures.
        :raises SettingsError: where the settings are missing or not valid.
        """
        compare = self.compare if fetch else None
        rows = gate.judge(self.repository, commit, incumbent, self.settings(environment), compare)
        self.judged[environment] = rows
        return rows

    @cached_property
    def trunk(self) -> frozenset[str]:
        """The commits that main pointed to, one after the other; dev ran these."""
        return frozenset(self.repository.git("rev-list", "--first-parent", self.tip).splitlines())

    @cached_property
    def _histories(self) -> dict[str, list[Declaration]]:
        return {}


@dataclass(frozen=True)
class Proposal:
    """A one-file commit on a branch of its own, ready to become a pull request."""

    environment: str
    branch: str
    commit: str
    before: Release
    after: Release
    message: str
    known: bool
    """Whether the remote already has the branch at this commit."""


def violations(
    ledger: Ledger, environment: str, after: Release, *, now: datetime | None = None
) -> list[Violation]:
    """Hold a new content of an environment's release file against all rules."""
    before = ledger.present(environment)
    return [] if after == before else list(_violations(ledger, environment, before, after, now))


def _violations(
    ledger: Ledger, environment: str, before: Release, after: Release, now: datetime | None
) -> Iterator[Violation]:
    file = release.path_of(environment)
    if environment not in PREVIOUS:
        yield Violation(file, "dev follows main", "leave it at `follow: main`")
        return
    if after.commit == before.commit:
        return  # A hold is set or lifted, which is always allowed.
    if after.commit is None:
        yield Violation(file, "a release is not taken away", f"run gitops rollback {environment}")
        return
    if not ledger.repository.has(after.commit):
        yield Violation(file, f"{after.commit} is no commit of this repository", "name a commit of main")
        return
    if rejected := ledger.verdicts.rejected(environment, after.commit):
        yield Violation(
            file,
            f"{environment} rejected {after.commit[:12]} ({rejected.name})",
            "release another commit, or delete that tag to give it another chance",
        )
    if after.hold is None:
        yield from _promotion(ledger, environment, before, after.commit, now)
    else:
        yield from _rollback(ledger, environment, before, after.commit)


def _promotion(
    ledger: Ledger, environment: str, before: Release, commit: str, now: datetime | None
) -> Iterator[Violation]:
    repository, file = ledger.repository, release.path_of(environment)
    short = commit[:12]
    if before.hold is not None:
        yield Violation(
            file, f"{environment} is held: {before.hold}", f"lift it first: gitops release-hold {environment}"
        )
    if commit not in ledger.trunk:
        yield Violation(file, f"{short} is not on main", "name a commit that main pointed to")
        return
    if before.commit is not None and repository.has(before.commit):
        if release.same(repository, before.commit, commit):
            yield Violation(file, f"{short} is the release that is there already", "leave the file as it is")
            return
        if not repository.is_ancestor(before.commit, commit):
            yield Violation(
                file,
                f"{short} is older than {before.commit[:12]}, which is there now",
                f"to go back run gitops rollback {environment}",
            )
    source = PREVIOUS[environment]
    if source == "dev":
        if tag := ledger.verdicts.rejected("dev", commit):
            yield Violation(file, f"dev rejected {short} ({tag.name})", "fix it on main and promote that")
    else:
        yield from _verified_there(ledger, environment, source, commit, now)
    objection = ledger.storage.objection(repository, commit) if ledger.storage else None
    if objection:
        yield Violation(file, objection.rule, objection.right)
    try:
        rows = ledger.judge(environment, commit, before.commit, fetch=objection is None)
    except (GateError, SettingsError) as error:
        yield Violation(file, str(error), "release a commit that has passed its gates")
        return
    for row in rows:
        if not row.ok:
            yield Violation(file, f"{short} fails a gate: {row}", row.remedy or "release a better model")


def _verified_there(
    ledger: Ledger, environment: str, source: str, commit: str, now: datetime | None
) -> Iterator[Violation]:
    file, short = release.path_of(environment), commit[:12]
    there = ledger.present(source).commit
    if there != commit:
        runs = there[:12] if there else "nothing yet"
        yield Violation(
            file, f"{environment} takes what {source} runs ({runs}), not {short}", f"name {runs} or wait"
        )
    if tag := ledger.verdicts.rejected(source, commit):
        yield Violation(file, f"{source} rejected {short} ({tag.name})", "promote another release")
        return
    age = ledger.verdicts.age(source, commit, now=now)
    if age is None:
        yield Violation(
            file,
            f"{source} has not verified {short}",
            f"wait for verify_release in {source}, which tags it verified/{source}/{short}",
        )
        return
    try:
        soak = timedelta(hours=ledger.settings(environment).min_soak_hours)
    except SettingsError as error:
        yield Violation(file, str(error), "repair the settings on main first")
        return
    # Without a soak no clock is compared: those of two machines are never quite equal.
    if soak and age < soak:
        yield Violation(
            file,
            f"{source} verified {short} {_hours(age)} ago",
            f"MIN_SOAK_HOURS of {environment} asks for {_hours(soak)}: wait {_hours(soak - age)}",
        )


def _rollback(ledger: Ledger, environment: str, before: Release, commit: str) -> Iterator[Violation]:
    file, short = release.path_of(environment), commit[:12]
    if before.commit is None:
        yield Violation(file, f"{environment} has no release to roll back from", "promote one")
    if commit not in {entry.commit for entry in ledger.history(environment)}:
        yield Violation(
            file, f"{environment} never ran {short}", f"roll back to one of: {_choices(ledger, environment)}"
        )


def earlier(ledger: Ledger, environment: str) -> list[str]:
    """Return what an environment can go back to, best first.

    That is what it ran before the present release and did not reject; what it verified comes first. Releases
    that somebody already rolled back from come no more.
    """
    entries = ledger.history(environment)
    present = ledger.present(environment).commit
    left = {
        older.commit
        for newer, older in pairwise(entries)
        if newer.hold is not None and newer.commit != older.commit
    }
    commits = list(dict.fromkeys(entry.commit for entry in entries if entry.commit))
    known = release.identities(ledger.repository, [*commits, *filter(None, [present])])
    ledger.verdicts.know(commits)
    found = [
        commit
        for commit in commits
        if commit not in left
        and commit in known
        and known[commit] != known.get(present or "")
        and not ledger.verdicts.rejected(environment, commit)
    ]
    return sorted(found, key=lambda commit: ledger.verdicts.verified(environment, commit) is None)


def promote(ledger: Ledger, environment: str, remote: str, *, now: datetime | None = None) -> Proposal:
    """Propose to an environment what the one before it runs. Pushes nothing.

    :raises NothingToDoError: when it has that release already.
    :raises RuleError: when a rule forbids it, with every rule that does.
    """
    _promotable(environment)
    source = PREVIOUS[environment]
    before = ledger.present(environment)
    commit = ledger.tip if source == "dev" else ledger.present(source).commit
    if commit is None:
        raise NothingToDoError(f"{source} has no release yet: nothing to promote to {environment}")
    if release.same(ledger.repository, before.commit, commit):
        raise NothingToDoError(f"{environment} already has the release of {source}, {commit[:12]}")
    after = Release(commit=commit)
    _obey(violations(ledger, environment, after, now=now))
    subject = f"Promote {commit[:12]} to {environment}"
    branch = f"promote/{environment}"
    return _propose(ledger, environment, remote, branch, before, after, subject, load_dags=True)


def rollback(
    ledger: Ledger, environment: str, remote: str, *, to: str | None = None, reason: str | None = None
) -> Proposal:
    """Propose an earlier release again, and hold promotions until somebody lifts that. Pushes nothing.

    `to` names the commit; without it, it is the last verified one before the present. `reason` is why.

    :raises RuleError: when there is nothing to go back to, or a rule forbids it.
    """
    _promotable(environment)
    before = ledger.present(environment)
    if before.commit is None:
        raise RuleError(f"{environment} has no release yet: there is nothing to roll back")
    if to is None:
        choices = [c for c in earlier(ledger, environment) if ledger.verdicts.verified(environment, c)]
        if not choices:
            raise RuleError(
                f"{environment} verified no release before {before.commit[:12]}; name one that it ran with "
                f"--to: {_choices(ledger, environment)}"
            )
        commit = choices[0]
    else:
        ran = sorted({entry.commit for entry in ledger.history(environment) if entry.commit})
        matches = [commit for commit in ran if commit.startswith(to.lower())]
        if len(matches) != 1 or len(to) < 4:
            raise RuleError(
                f"{environment} never ran {to}; --to takes one of: {_choices(ledger, environment)}"
            )
        commit = matches[0]
    if commit == before.commit:
        raise NothingToDoError(f"{environment} already has {commit[:12]}")
    hold = " ".join((reason or f"rolled back from {before.commit[:12]}").split())
    after = Release(commit=commit, hold=hold)
    _obey(violations(ledger, environment, after))
    subject = f"Roll {environment} back to {commit[:12]}"
    return _propose(ledger, environment, remote, f"rollback/{environment}", before, after, subject)


def release_hold(ledger: Ledger, environment: str, remote: str) -> Proposal:
    """Propose to allow promotions into an environment again. Pushes nothing.

    :raises NothingToDoError: when nothing holds it.
    """
    _promotable(environment)
    before = ledger.present(environment)
    if before.hold is None:
        raise NothingToDoError(f"{environment} is not held")
    after = Release(commit=before.commit)
    _obey(violations(ledger, environment, after))
    subject = f"Lift the hold on {environment}"
    return _propose(ledger, environment, remote, f"release-hold/{environment}", before, after, subject)


def push(ledger: Ledger, remote: str, proposal: Proposal) -> None:
    """Push a proposal to its branch, in the place of an earlier one that `ledger` knew.

    :raises PushRejectedError: when somebody else was quicker, or the remote does not let this user push.
    """
    if proposal.known:
        return
    reference = f"refs/heads/{proposal.branch}"
    known = _on_remote(ledger.repository, remote, proposal.branch)
    try:
        ledger.repository.push(remote, {reference: proposal.commit}, leases={reference: known})
    except PushRejectedError as error:
        if ledger.repository.remote_refs(remote, reference).get(reference) == known:
            raise
        raise PushRejectedError(
            f"{proposal.branch}: somebody else has just pushed or merged it; run the same again to see what "
            f"is left to do"
        ) from error


def describe(repository: Repository, before: str | None, after: str | None, *, load_dags: bool = True) -> str:
    """Tell in bounded text what changes between two releases.

    :param load_dags: Load the DAG files to tell tasks and schedules apart, which takes seconds.
    """
    if before is not None and not repository.has(before):
        before = None
    head = [f"Release: {_short(before)} -> {_short(after)}"]
    head.append(f"Accuracy: {_accuracy(repository, before)} -> {_accuracy(repository, after)}")
    found = compare(repository, before, after, load_dags=load_dags, environments=False)
    return "\n".join([*head, found.text()])


def _propose(
    ledger: Ledger,
    environment: str,
    remote: str,
    branch: str,
    before: Release,
    after: Release,
    subject: str,
    *,
    load_dags: bool = False,
) -> Proposal:
    repository = ledger.repository
    hold = f"Hold: {before.hold or 'none'} -> {after.hold or 'none'}\n" if before.hold != after.hold else ""
    described = describe(repository, before.commit, after.commit, load_dags=load_dags)
    message = f"{subject}\n\n{hold}{described}\n"
    files = {release.path_of(environment): release.render(after, environment)}
    sign = repository.signs()
    commit = repository.commit_files(ledger.tip, files, message, sign=sign)
    existing = _on_remote(repository, remote, branch)
    known = (
        existing is not None
        and _equal(repository, existing, commit)
        and (not sign or signature.signed(repository, existing))
    )
    return Proposal(
        environment, branch, existing if known and existing else commit, before, after, message, known
    )


def _equal(repository: Repository, one: str, other: str) -> bool:
    def content(commit: str) -> str:
        return repository.git("show", "--no-patch", "--format=%T %P", commit)

    return content(one) == content(other)


def _on_remote(repository: Repository, remote: str, branch: str) -> str | None:
    reference = repository.branch_ref(remote, branch)
    return repository.resolve(reference) if repository.has(reference) else None


def _promotable(environment: str) -> None:
    if environment not in ENVIRONMENTS:
        raise RuleError(f"{environment}: no such environment; there are {', '.join(ENVIRONMENTS)}")
    if environment not in PREVIOUS:
        raise RuleError(f"{environment} follows main: merge, or revert, there")


def _obey(broken: list[Violation]) -> None:
    if broken:
        raise RuleError("\n".join(map(str, broken)))


def _choices(ledger: Ledger, environment: str) -> str:
    return ", ".join(commit[:12] for commit in earlier(ledger, environment)) or "none, it ran nothing before"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "no release"


def _accuracy(repository: Repository, commit: str | None) -> str:
    if commit is None:
        return "none"
    try:
        return f"{gate.evaluation(repository, commit).mean_accuracy:.4f}"
    except GateError:
        return "none"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
