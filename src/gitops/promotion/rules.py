"""The rules that a change of a release file obeys, whoever made it and however."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from gitops.errors import (
    CalendarError,
    GateError,
    LicencesError,
    NoModelError,
    ProvenanceError,
    RuleError,
    SettingsError,
)
from gitops.findings import Finding
from gitops.gates import gates, licence
from gitops.gates.comparison import Compare
from gitops.gates.gates import GateResult
from gitops.promotion.approved import approved
from gitops.promotion.evidence import Evidence
from gitops.promotion.trials import after_canary, is_smaller, judge_trial, shadowed
from gitops.release import file as release_file
from gitops.release import runtimes
from gitops.release.file import Release
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, earlier
from gitops.text import instructions


@dataclass(frozen=True)
class Judgement:
    """The result of judging a change.

    Attributes:
        findings: Everything that forbids it.
        gates: The results of the gates, for each environment that would get another model.
        models_checked: False where the existence of a model was not checked, as no DVC remote is configured.

    """

    findings: tuple[Finding, ...] = ()
    gates: Mapping[str, tuple[GateResult, ...]] = field(default_factory=dict[str, tuple[GateResult, ...]])
    models_checked: bool = True

    def __add__(self, other: "Judgement") -> "Judgement":
        return Judgement(
            (*self.findings, *other.findings),
            {**self.gates, **other.gates},
            self.models_checked and other.models_checked,
        )

    @classmethod
    def from_findings(cls, *findings: Finding) -> Self:
        return cls(findings)


class RefusedError(RuleError):
    """A change that rules forbid, with its whole judgement."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(*judgement.findings)
        self.judgement = judgement


def judge_model(
    state: ReleaseState,
    environment: str,
    model: Snapshot,
    incumbent: Snapshot | None,
    evidence: Evidence,
    compare: Compare | None,
) -> tuple[GateResult, ...]:
    """Judge a commit's model by the gates of an environment, with its settings on main.

    Raises:
        GateError: where the commit lacks the figures.
        SettingsError: where the settings are missing or not valid.
        LicencesError: where the licences on main are not valid.

    """
    settings, verified = state.settings(environment), state.verdicts.verifications(environment)
    releases = {
        verdict.release: release for verdict in verified if (release := state.snapshot(verdict.release))
    }
    best = gates.anchor(model, verified, releases, settings.max_mean_loss)
    named = gates.named(
        state.snapshot(settings.anchor_release) if settings.anchor_release else None, settings
    )
    rows = gates.judge(model, incumbent, settings, compare, best, named, evidence.decisions)
    batches = evidence.batches(model.commit)
    return (*rows, licence.judge(state.main.licences, model.source, batches, settings.use))


def judge_release(
    state: ReleaseState,
    environment: str,
    after: Release,
    evidence: Evidence,
    *,
    proposers: Collection[str] = (),
    now: datetime | None = None,
) -> Judgement:
    """Judge a new content of an environment's release file.

    Args:
        state: The state that main declares.
        environment: The environment.
        after: The new content.
        evidence: The sources about models.
        proposers: The addresses of the authors of the promotion, who cannot approve it.
        now: The time at which a soak is measured; by default the present.

    """
    before = state.present(environment)
    file = release_file.path_of(environment)
    if after == before:
        return Judgement()
    if environment not in state.environments:
        remedy = "write `commit: null`; promote into it after the merge"
        return Judgement.from_findings(
            Finding(file, f"{environment} is not on main yet", remedy, rule="new-environment")
        )
    if state.environments.follows(environment):
        return Judgement.from_findings(
            Finding(file, f"{environment} follows main", "leave it at `follow: main`", rule="follows-main")
        )
    if (after.commit, after.runtime) == (before.commit, before.runtime):
        # A hold is set or lifted, which is always allowed, and a shadow or a canary is taken away.
        if after.trial is None or (after.trial, after.share) == (before.trial, before.share):
            return Judgement()
        judgement = Judgement(tuple(judge_trial(state, environment, after, evidence)))
        if after.canary and not is_smaller(before, after):
            judgement += Judgement(tuple(_closed(state, environment, now)))
        return judgement
    if after.trial is not None:
        kind = "shadow" if after.shadow else "canary"
        remedy = f"take the line `{kind}` out: it was beside another release"
        return Judgement.from_findings(Finding(file, f"{kind}: the release changes", remedy, rule=kind))
    if after.commit is None:
        return Judgement.from_findings(
            Finding(
                file,
                "a release is not removed, only replaced",
                "go back to an earlier one",
                rule="release-removed",
                command=instructions.propose("rollback", environment),
            )
        )
    release = state.snapshot(after.commit)
    if release is None:
        return Judgement.from_findings(
            Finding(
                file,
                f"{after.commit} is no commit of this repository",
                "name a commit of main",
                rule="not-on-main",
            )
        )
    faults = state.may_run(environment, after.commit), state.lost_data(environment, after.commit)
    judgement = Judgement.from_findings(*(fault for fault in faults if fault))
    if after.hold is not None:
        findings = (
            *_rollback(state, environment, before, after, after.commit),
            *_licences(state, environment, release, evidence),
        )
        return judgement + Judgement(findings)
    if after.commit not in state.trunk:
        # Commits that a merged branch brought are on main too, but main never pointed to them.
        remedy = "name a commit that main pointed to"
        return Judgement.from_findings(
            Finding(file, f"{after.commit[:12]} is not on main", remedy, rule="not-on-main")
        )
    if after.override is None:
        judgement += Judgement(tuple(_closed(state, environment, now)))
    if state.environments[environment].approvals:
        approvals = approved(state, environment, after.commit, evidence, proposers)
        if not approvals.enough:
            problem = f"{after.commit[:12]} has {approvals} for {environment}"
            way = instructions.approve(environment, after.commit)
            judgement += Judgement.from_findings(
                Finding(file, problem, approvals.remedy, rule="approvals", command=way)
            )
    return judgement + _promotion(state, environment, before, after.runtime, release, evidence, now)


def _promotion(
    state: ReleaseState,
    environment: str,
    before: Release,
    runtime: str | None,
    release: Snapshot,
    evidence: Evidence,
    now: datetime | None,
) -> Judgement:
    file, commit, short = release_file.path_of(environment), release.commit, release.commit[:12]
    findings: list[Finding] = []
    if standing := before.holds(now):
        remedy, way = "lift the hold first", instructions.propose("unhold", environment)
        if len(standing) > 1:
            ways = [instructions.lift(environment, hold.reason) for hold in standing]
            remedy, way = f"lift each hold first: {' and '.join(ways)}, each merged", ways[0]
        problem = f"{environment} is held: {'; '.join(map(str, standing))}"
        findings.append(Finding(file, problem, remedy, rule="held", command=way))
    if before.runtime is not None and runtime is None:
        problem, right = (
            "names no runtime any more",
            f"keep `runtime: {before.runtime}`, or promote another one",
        )
        findings.append(Finding(file, problem, right, rule="runtime-removed"))
    incumbent = state.snapshot(before.commit) if before.commit else None
    if incumbent is not None:
        if state.has(environment, commit, runtime):
            findings.append(
                Finding(
                    file,
                    f"{environment} has the release {short} already",
                    "leave the file as it is",
                    rule="already-there",
                )
            )
            return Judgement(tuple(findings))
        if incumbent.commit in state.parents and not state.is_ancestor(incumbent.commit, commit):
            problem = f"{short} is older than {incumbent.commit[:12]}, which is there now"
            command = instructions.propose("rollback", environment)
            findings.append(
                Finding(file, problem, "to go back, roll back", rule="older-release", command=command)
            )
    findings += _verified_before(state, environment, commit, runtime, now)
    findings += _made_from(evidence, environment, commit)
    findings += shadowed(state, environment, release, evidence)
    findings += after_canary(state, environment, release, evidence)
    presence = evidence.presence(release.lock)
    if presence.finding:
        findings.append(replace(presence.finding, subject=file))
    rows: tuple[GateResult, ...] = ()
    try:
        # A model that is known to be gone cannot be compared: the accuracies that commits record are.
        compare = None if presence.finding else evidence.compare
        rows = judge_model(state, environment, release, incumbent, evidence, compare)
    except (GateError, SettingsError, LicencesError) as error:
        findings.append(_without_figures(error, environment, short))
    findings += [
        Finding(file, f"{short} fails a gate: {row}", row.remedy or "release a better model", rule="gate")
        for row in rows
        if not row.ok
    ]
    if any(finding.rule == NoModelError.rule and finding.command for finding in findings):
        # No environment can verify it, and no remote can have its model: one reason is enough.
        follows = {"not-verified-yet", "dvc-remote"}
        findings = [
            finding
            for finding in findings
            if finding.rule not in follows and (finding.command or finding.rule != NoModelError.rule)
        ]
    return Judgement(tuple(findings), {environment: rows} if rows else {}, presence.checked)


def _verified_before(
    state: ReleaseState, environment: str, commit: str, runtime: str | None, now: datetime | None
) -> Iterator[Finding]:
    """Require the verdict of every environment before this one, and that those directly before it run it."""
    file, short, environments = release_file.path_of(environment), commit[:12], state.environments
    sources = environments.before(environment)
    for source in sources:
        # The environment that follows main ran whatever main was, one commit after the other.
        there = commit if environments.follows(source) else state.present(source).commit
        # Of several environments each may have the same release under a commit of its own.
        if there != commit and not (len(sources) > 1 and state.same(there, commit)):
            runs = there[:12] if there else "nothing yet"
            yield Finding(
                file,
                f"{environment} takes the release of {source} ({runs}), not {short}",
                f"name {runs}, or wait until {source} runs {short}",
                rule="other-release-before",
            )
    missing = False
    for earlier_one in environments.chain(environment):
        if tag := state.verdicts.rejected(earlier_one, commit):
            on_main = environments.follows(earlier_one)
            right = "fix it on main and promote that" if on_main else "promote another release"
            yield Finding(file, f"{earlier_one} rejected {short} ({tag.name})", right, rule="rejected")
            missing = True
        elif state.verdicts.verified(earlier_one, commit) is None:
            yield Finding(
                file,
                f"{earlier_one} has not verified {short} yet",
                f"wait for verify_release in {earlier_one}, usually under two minutes",
                rule="not-verified-yet",
                command=instructions.promote(environment)[0],
            )
            missing = True
    if missing:
        return
    yield from _on_the_runtime(state, environment, commit, runtime)
    try:
        soak = timedelta(hours=state.settings(environment).min_soak_hours)
    except SettingsError as error:
        yield replace(error.finding, remedy=f"{error.finding.remedy}; repair the settings on main first")
        return
    for source in sources:
        age = state.verdicts.age(source, commit, now=now)
        # Without a soak no clock is compared: those of two machines are never quite equal.
        if soak and age is not None and age < soak:
            yield Finding(
                file,
                f"{source} verified {short} {_hours(age)} ago",
                f"MIN_SOAK_HOURS of {environment} requires {_hours(soak)}: wait {_hours(soak - age)}",
                rule="soak",
            )


def _on_the_runtime(
    state: ReleaseState, environment: str, commit: str, runtime: str | None
) -> Iterator[Finding]:
    """Require a verdict on the runtime that comes, or that the environment has by its own last verdict."""
    sources = state.environments.before(environment)
    if runtime is not None:
        if not any(state.verdicts.verified_by_name(source, commit, runtime) for source in sources):
            names = " and ".join(sources)
            problem = f"{names} has not verified {commit[:12]} on the runtime {runtimes.short(runtime)}"
            right = f"wait until {names} runs it, and has verified the release there"
            yield Finding(release_file.path_of(environment), problem, right, rule="other-runtime")
        return
    needed = state.verdicts.runtime(environment)
    if needed is None or any(state.verdicts.verified_on(source, commit, needed) for source in sources):
        return
    others = (state.verdicts.every(source, commit) for source in sources)
    known = [verdicts[-1].runtime for verdicts in others if verdicts and verdicts[-1].runtime]
    names = " and ".join(sources)
    yield Finding(
        release_file.path_of(environment),
        f"{names} verified {commit[:12]} on {' and '.join(map(str, known))}, and {environment} has {needed}",
        f"bring {names} and {environment} to one runtime, and wait for the next verdict",
        rule="other-runtime",
    )


def _closed(state: ReleaseState, environment: str, now: datetime | None) -> Iterator[Finding]:
    """Refuse a promotion outside of the windows of main's calendar."""
    file = release_file.path_of(environment)
    try:
        closed = state.main.calendar.closed(environment, now or datetime.now(UTC))
    except CalendarError as error:
        yield replace(error.finding, remedy="repair it on main first")
        return
    if closed:
        yield Finding(
            file, f"promotions into {environment} are closed: {closed}", "promote it then", rule="closed"
        )


def _made_from(evidence: Evidence, environment: str, commit: str) -> Iterator[Finding]:
    """Refuse a release whose model was made from another commit's parameters, code or data."""
    file, short = release_file.path_of(environment), commit[:12]
    try:
        made = evidence.provenance(commit)
    except ProvenanceError as error:
        problem = f"{error.finding.subject} of {short}: {error.finding.problem}"
        yield Finding(file, problem, "repair it on main and promote that", rule="pipeline")
        return
    # Without a model there is nothing to report; the gates refuse it.
    if made.trained and not made.belongs:
        yield Finding(
            file,
            f"{short} has the model of an earlier commit: {made.summary}",
            "train main, merge its candidate and promote that",
            rule="model-of-another-commit",
            command=instructions.train("main"),
        )


def _rollback(
    state: ReleaseState, environment: str, before: Release, after: Release, commit: str
) -> Iterator[Finding]:
    file, short = release_file.path_of(environment), commit[:12]
    known = {entry.release.runtime for entry in state.history(environment) if entry.commit == commit}
    if after.runtime not in known | {before.runtime}:
        problem = f"{environment} never ran {short} on the runtime {runtimes.short(after.runtime)}"
        right = f"name {' or '.join(sorted(map(runtimes.short, known))) or runtimes.short(before.runtime)}"
        yield Finding(file, problem, right, rule="rollback-target")
    if before.commit is None:
        yield Finding(
            file, f"{environment} has no release to roll back from", "promote one", rule="rollback-target"
        )
    if commit not in state.ran(environment):
        yield Finding(
            file,
            f"{environment} never ran {short}",
            f"roll back to one of: {choices(state, environment)}",
            rule="rollback-target",
        )


def _licences(
    state: ReleaseState, environment: str, release: Snapshot, evidence: Evidence
) -> Iterator[Finding]:
    """Refuse to go back to a model whose data do not allow the use of the environment."""
    if release.model is None:
        return
    try:
        use, licences = state.settings(environment).use, state.main.licences
    except (SettingsError, LicencesError):
        return  # nobody must wait for a repair of them to go back; the bundle decides
    if forbidden := licences.forbidden(release.source, evidence.batches(release.commit), use):
        problem = f"USE={use}, and {release.commit[:12]} has the model of other data: {forbidden[0]}"
        yield Finding(
            release_file.path_of(environment), problem, "go back to another release", rule="licence"
        )


def _without_figures(
    error: GateError | SettingsError | LicencesError, environment: str, short: str
) -> Finding:
    """Return the finding about a release whose figures, or whose environment's settings, cannot be read."""
    if not isinstance(error, NoModelError):
        return error.finding
    return Finding(
        release_file.path_of(environment),
        f"{short} has no trained model yet",
        "train one and merge its candidate, or run make up",
        rule=error.finding.rule,
        command=instructions.train("main"),
    )


def choices(state: ReleaseState, environment: str) -> str:
    """Return the releases that an environment can go back to, best first."""
    return (
        ", ".join(commit[:12] for commit in earlier(state, environment))
        or f"none: {environment} has had no other release"
    )


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
