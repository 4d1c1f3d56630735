"""The rules that a change of a release file obeys, whoever made it and however."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitops.dvc import provenance
from gitops.dvc.provenance import train_command
from gitops.errors import GateError, ProvenanceError, SettingsError
from gitops.promotion import instructions
from gitops.release import contract
from gitops.release import file as release_file
from gitops.release.file import PREVIOUS, Release
from gitops.release.state import Ledger, earlier


@dataclass(frozen=True)
class Violation:
    """A broken rule: the file it is about, what is wrong, and what would be right."""

    file: str
    rule: str
    right: str

    def __str__(self) -> str:
        line = f"{self.file}: {self.rule}; {self.right}"
        # Names of files are anybody's words, and a terminal or a log of GitHub takes some for commands.
        return "".join(letter if letter.isprintable() else "?" for letter in line)


def violations(
    ledger: Ledger, environment: str, after: Release, *, now: datetime | None = None
) -> list[Violation]:
    """Hold a new content of an environment's release file against all rules."""
    before = ledger.present(environment)
    return [] if after == before else list(_violations(ledger, environment, before, after, now))


def _violations(
    ledger: Ledger, environment: str, before: Release, after: Release, now: datetime | None
) -> Iterator[Violation]:
    file = release_file.path_of(environment)
    if environment not in PREVIOUS:
        yield Violation(file, "dev follows main", "leave it at `follow: main`")
        return
    if after.commit == before.commit:
        return  # A hold is set or lifted, which is always allowed.
    if after.commit is None:
        yield Violation(
            file, "a release is not taken away", f"run {instructions.brief('rollback', environment)}"
        )
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
    if objection := contract.objection(ledger.repository, after.commit):
        yield Violation(file, objection, "roll out a runtime that has it first")
    if after.hold is None:
        yield from _promotion(ledger, environment, before, after.commit, now)
    else:
        yield from _rollback(ledger, environment, before, after.commit)


def _promotion(
    ledger: Ledger, environment: str, before: Release, commit: str, now: datetime | None
) -> Iterator[Violation]:
    repository, file = ledger.repository, release_file.path_of(environment)
    short = commit[:12]
    if before.hold is not None:
        yield Violation(
            file,
            f"{environment} is held: {before.hold}",
            f"lift it first: {instructions.brief('release-hold', environment)}",
        )
    if commit not in ledger.trunk:
        yield Violation(file, f"{short} is not on main", "name a commit that main pointed to")
        return
    if before.commit is not None and repository.has(before.commit):
        if release_file.same(repository, before.commit, commit):
            yield Violation(file, f"{short} is the release that is there already", "leave the file as it is")
            return
        if not repository.is_ancestor(before.commit, commit):
            yield Violation(
                file,
                f"{short} is older than {before.commit[:12]}, which is there now",
                f"to go back run {instructions.brief('rollback', environment)}",
            )
    yield from _verified_before(ledger, environment, commit, now)
    yield from _made_from(ledger, environment, commit)
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


def _verified_before(
    ledger: Ledger, environment: str, commit: str, now: datetime | None
) -> Iterator[Violation]:
    """Require the verdict of every environment before this one, and that the last of them runs it."""
    file, short, source = release_file.path_of(environment), commit[:12], PREVIOUS[environment]
    # dev runs main, and with it whatever main was, one after the other.
    there = commit if source == "dev" else ledger.present(source).commit
    if there != commit:
        runs = there[:12] if there else "nothing yet"
        yield Violation(
            file, f"{environment} takes what {source} runs ({runs}), not {short}", f"name {runs} or wait"
        )
    missing = False
    for earlier_one in chain(environment):
        if tag := ledger.verdicts.rejected(earlier_one, commit):
            right = "fix it on main and promote that" if earlier_one == "dev" else "promote another release"
            yield Violation(file, f"{earlier_one} rejected {short} ({tag.name})", right)
            missing = True
        elif ledger.verdicts.verified(earlier_one, commit) is None:
            yield Violation(
                file,
                f"{earlier_one} has not verified {short} yet",
                f"wait for verify_release in {earlier_one}, a minute or two: .venv/bin/gitops status",
            )
            missing = True
    age = ledger.verdicts.age(source, commit, now=now)
    if missing or age is None:
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


def chain(environment: str) -> list[str]:
    """Return the environments that a release passes before this one, the first one first."""
    found: list[str] = []
    while environment in PREVIOUS:
        environment = PREVIOUS[environment]
        found.insert(0, environment)
    return found


def _made_from(ledger: Ledger, environment: str, commit: str) -> Iterator[Violation]:
    """Refuse a release whose model was made from another commit's parameters, code or data."""
    file, short = release_file.path_of(environment), commit[:12]
    try:
        found = provenance.of_commit(ledger.repository, commit)
    except ProvenanceError as error:
        yield Violation(file, str(error), "repair it on main and promote that")
        return
    # Without a model there is nothing to say of it; the gates refuse that.
    if found.trained and not found.belongs:
        yield Violation(
            file,
            f"{short} has the model of an earlier commit: {found.summary}",
            f"{train_command('main')}, merge its candidate and promote that",
        )


def _rollback(ledger: Ledger, environment: str, before: Release, commit: str) -> Iterator[Violation]:
    file, short = release_file.path_of(environment), commit[:12]
    if before.commit is None:
        yield Violation(file, f"{environment} has no release to roll back from", "promote one")
    if commit not in {entry.commit for entry in ledger.history(environment)}:
        yield Violation(
            file, f"{environment} never ran {short}", f"roll back to one of: {choices(ledger, environment)}"
        )


def choices(ledger: Ledger, environment: str) -> str:
    """Name what an environment can go back to, best first."""
    return ", ".join(commit[:12] for commit in earlier(ledger, environment)) or "none, it ran nothing before"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
