"""The rules that a change of a release file obeys, whoever made it and however."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from gitops.errors import (
    CalendarError,
    GateError,
    LicencesError,
    NoModelError,
    ReleaseError,
    SettingsError,
)
from gitops.findings import Finding
from gitops.gates import anchors, gates, licence
from gitops.gates.comparison import Compare
from gitops.gates.gates import GateResult
from gitops.promotion.approved import approved
from gitops.promotion.evidence import Evidence
from gitops.promotion.judgement import Judgement
from gitops.promotion.migrations import migration
from gitops.promotion.pipeline import made_from
from gitops.promotion.trials import after_canary, is_smaller, judge_trial, shadowed
from gitops.promotion.verified import verified_before
from gitops.release import file as release_file
from gitops.release import runtimes
from gitops.release.file import Release
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, earlier
from gitops.text import instructions


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
        ReleaseError: where a list of forgotten photographs is not valid.
        SettingsError: where the settings are missing or not valid.
        LicencesError: where the licences on main are not valid.

    """
    settings, verified = state.settings(environment), state.verdicts.verifications(environment)
    releases = {
        verdict.release: release for verdict in verified if (release := state.snapshot(verdict.release))
    }
    best = anchors.best(model, verified, releases, settings.max_mean_loss, evidence.decisions)
    named = anchors.named(
        state.snapshot(settings.anchor_release) if settings.anchor_release else None, settings
    )
    forgotten = state.main.forgotten.and_of(model.forgotten)
    rows = gates.judge(model, incumbent, settings, compare, best, named, evidence.decisions, forgotten)
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
    state = state.on(environment, after.runtime)
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
        kind = after.trial_kind
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
    migrated = migration(state, environment, before, after)
    judgement = Judgement(
        tuple(fault for fault in faults if fault), migrations=(migrated,) if migrated else ()
    )
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
    findings += verified_before(state, environment, commit, runtime, now)
    findings += made_from(evidence, environment, commit)
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
    except (GateError, LicencesError, ReleaseError, SettingsError) as error:
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
    error: GateError | LicencesError | ReleaseError | SettingsError, environment: str, short: str
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
