"""The rules that a change of a release file obeys, whoever made it and however."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from gitops.dvc import provenance
from gitops.dvc.provenance import train_command
from gitops.dvc.remote import Presence, Storage
from gitops.errors import GateError, ProvenanceError, RuleError, SettingsError
from gitops.findings import Finding
from gitops.gates import gates
from gitops.gates.comparison import Compare
from gitops.gates.gates import Row
from gitops.git.repository import Repository
from gitops.promotion.may_run import may_run
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.state import Ledger, earlier
from gitops.text import instructions


@dataclass(frozen=True)
class Evidence:
    """The sources that a judgement asks about models.

    Attributes:
        storage: The DVC remote; None where nobody asks whether a model exists there.
        compare: The comparison of two models; None where only recorded accuracies are compared.

    """

    storage: Storage | None = None
    compare: Compare | None = None

    def presence(self, repository: Repository, commit: str) -> Presence:
        """Return whether the model of a commit can be fetched."""
        return self.storage.presence(repository, commit) if self.storage else Presence()


NO_EVIDENCE = Evidence()


@dataclass(frozen=True)
class Judgement:
    """The result of judging a change.

    Attributes:
        findings: Everything that forbids it.
        gates: The results of the gates, for each environment that would get another model.
        models_checked: False where the existence of a model was not checked, as no DVC remote is configured.

    """

    findings: tuple[Finding, ...] = ()
    gates: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    models_checked: bool = True

    def __add__(self, other: "Judgement") -> "Judgement":
        return Judgement(
            (*self.findings, *other.findings),
            {**self.gates, **other.gates},
            self.models_checked and other.models_checked,
        )

    @classmethod
    def of(cls, *findings: Finding) -> Self:
        return cls(findings)


class RefusedError(RuleError):
    """A change that rules forbid, with its whole judgement."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(*judgement.findings)
        self.judgement = judgement


def judge_model(
    ledger: Ledger, environment: str, commit: str, incumbent: str | None, compare: Compare | None
) -> tuple[Row, ...]:
    """Judge a commit's model by the gates of an environment, with its settings on main.

    Raises:
        GateError: where the commit lacks the figures.
        SettingsError: where the settings are missing or not valid.

    """
    settings = ledger.settings(environment)
    best = gates.anchor(ledger.repository, ledger.verdicts, environment, commit, settings)
    return tuple(gates.judge(ledger.repository, commit, incumbent, settings, compare, best))


def judge_release(
    ledger: Ledger,
    environment: str,
    after: Release,
    evidence: Evidence = NO_EVIDENCE,
    *,
    now: datetime | None = None,
) -> Judgement:
    """Judge a new content of an environment's release file.

    Args:
        ledger: The state that main declares.
        environment: The environment.
        after: The new content.
        evidence: The sources about models.
        now: The time at which a soak is measured; by default the present.

    """
    before = ledger.present(environment)
    file = release_file.path_of(environment)
    if after == before:
        return Judgement()
    if environment not in ledger.environments:
        remedy = "write `commit: null`; promote into it after the merge"
        return Judgement.of(Finding(file, f"{environment} is not on main yet", remedy))
    if ledger.environments.follows(environment):
        return Judgement.of(Finding(file, f"{environment} follows main", "leave it at `follow: main`"))
    if after.commit == before.commit:
        return Judgement()  # A hold is set or lifted, which is always allowed.
    if after.commit is None:
        remedy = f"run {instructions.brief('rollback', environment)}"
        return Judgement.of(Finding(file, "a release is not taken away", remedy))
    if not ledger.repository.has(after.commit):
        return Judgement.of(
            Finding(file, f"{after.commit} is no commit of this repository", "name a commit of main")
        )
    fault = may_run(ledger, environment, after.commit)
    found = Judgement.of(fault) if fault else Judgement()
    if after.hold is not None:
        return found + Judgement(tuple(_rollback(ledger, environment, before, after.commit)))
    if after.commit not in ledger.trunk:
        # Commits that a merged branch brought are on main too, but main never pointed to them.
        remedy = "name a commit that main pointed to"
        return Judgement.of(Finding(file, f"{after.commit[:12]} is not on main", remedy))
    return found + _promotion(ledger, environment, before, after.commit, evidence, now)


def _promotion(
    ledger: Ledger,
    environment: str,
    before: Release,
    commit: str,
    evidence: Evidence,
    now: datetime | None,
) -> Judgement:
    repository, file, short = ledger.repository, release_file.path_of(environment), commit[:12]
    found: list[Finding] = []
    if before.hold is not None:
        remedy = f"lift it first: {instructions.brief('release-hold', environment)}"
        found.append(Finding(file, f"{environment} is held: {before.hold}", remedy))
    if before.commit is not None and repository.has(before.commit):
        if release_file.same(repository, before.commit, commit):
            found.append(
                Finding(file, f"{short} is the release that is there already", "leave the file as it is")
            )
            return Judgement(tuple(found))
        if not repository.is_ancestor(before.commit, commit):
            problem = f"{short} is older than {before.commit[:12]}, which is there now"
            remedy = f"to go back run {instructions.brief('rollback', environment)}"
            found.append(Finding(file, problem, remedy))
    found += _verified_before(ledger, environment, commit, now)
    found += _made_from(ledger, environment, commit)
    presence = evidence.presence(repository, commit)
    if presence.finding:
        found.append(replace(presence.finding, subject=file))
    rows: tuple[Row, ...] = ()
    try:
        # A model that is known to be gone cannot be compared: the accuracies that commits record are.
        compare = None if presence.finding else evidence.compare
        rows = judge_model(ledger, environment, commit, before.commit, compare)
    except (GateError, SettingsError) as error:
        found.append(Finding(file, str(error), "release a commit that has passed its gates"))
    found += [
        Finding(file, f"{short} fails a gate: {row}", row.remedy or "release a better model")
        for row in rows
        if not row.ok
    ]
    return Judgement(tuple(found), {environment: rows} if rows else {}, presence.checked)


def _verified_before(
    ledger: Ledger, environment: str, commit: str, now: datetime | None
) -> Iterator[Finding]:
    """Require the verdict of every environment before this one, and that those directly before it run it."""
    file, short, environments = release_file.path_of(environment), commit[:12], ledger.environments
    sources = environments.before(environment)
    for source in sources:
        # The environment that follows main ran whatever main was, one commit after the other.
        there = commit if environments.follows(source) else ledger.present(source).commit
        # Of several environments each may have the same release under a commit of its own.
        if there != commit and not (len(sources) > 1 and release_file.same(ledger.repository, there, commit)):
            runs = there[:12] if there else "nothing yet"
            yield Finding(
                file, f"{environment} takes what {source} runs ({runs}), not {short}", f"name {runs} or wait"
            )
    missing = False
    for earlier_one in environments.chain(environment):
        if tag := ledger.verdicts.rejected(earlier_one, commit):
            on_main = environments.follows(earlier_one)
            right = "fix it on main and promote that" if on_main else "promote another release"
            yield Finding(file, f"{earlier_one} rejected {short} ({tag.name})", right)
            missing = True
        elif ledger.verdicts.verified(earlier_one, commit) is None:
            yield Finding(
                file,
                f"{earlier_one} has not verified {short} yet",
                f"wait for verify_release in {earlier_one}, a minute or two: .venv/bin/gitops status",
            )
            missing = True
    if missing:
        return
    try:
        soak = timedelta(hours=ledger.settings(environment).min_soak_hours)
    except SettingsError as error:
        yield Finding(file, str(error), "repair the settings on main first")
        return
    for source in sources:
        age = ledger.verdicts.age(source, commit, now=now)
        # Without a soak no clock is compared: those of two machines are never quite equal.
        if soak and age is not None and age < soak:
            yield Finding(
                file,
                f"{source} verified {short} {_hours(age)} ago",
                f"MIN_SOAK_HOURS of {environment} asks for {_hours(soak)}: wait {_hours(soak - age)}",
            )


def _made_from(ledger: Ledger, environment: str, commit: str) -> Iterator[Finding]:
    """Refuse a release whose model was made from another commit's parameters, code or data."""
    file, short = release_file.path_of(environment), commit[:12]
    try:
        found = provenance.of_commit(ledger.repository, commit)
    except ProvenanceError as error:
        yield Finding(file, str(error), "repair it on main and promote that")
        return
    # Without a model there is nothing to say of it; the gates refuse that.
    if found.trained and not found.belongs:
        yield Finding(
            file,
            f"{short} has the model of an earlier commit: {found.summary}",
            f"{train_command('main')}, merge its candidate and promote that",
        )


def _rollback(ledger: Ledger, environment: str, before: Release, commit: str) -> Iterator[Finding]:
    file, short = release_file.path_of(environment), commit[:12]
    if before.commit is None:
        yield Finding(file, f"{environment} has no release to roll back from", "promote one")
    if commit not in {entry.commit for entry in ledger.history(environment)}:
        yield Finding(
            file, f"{environment} never ran {short}", f"roll back to one of: {choices(ledger, environment)}"
        )


def choices(ledger: Ledger, environment: str) -> str:
    """Name what an environment can go back to, best first."""
    return ", ".join(commit[:12] for commit in earlier(ledger, environment)) or "none, it ran nothing before"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
