"""Trials: the rules for a shadow or a canary beside a release, and their meaning for a promotion."""

from collections.abc import Iterator
from dataclasses import replace

from gitops.errors import SettingsError
from gitops.findings import Finding
from gitops.gates import canaries
from gitops.gates.shadows import Shadowed
from gitops.promotion.evidence import Evidence
from gitops.release import canaries as shares
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, trusted
from gitops.text import instructions


def judge_trial(
    state: ReleaseState, environment: str, after: Release, evidence: Evidence
) -> Iterator[Finding]:
    """Yield each rule that forbids the shadow or canary which a release file declares beside the release.

    Only its model runs, by the code of the release. So it needs no runtime.
    """
    findings = tuple(_beside(state, environment, after, evidence))
    yield from findings
    if after.canary and not findings:
        yield from _share(state, environment, after, evidence)


def is_smaller(before: Release, after: Release) -> bool:
    """Return whether a change takes work from the canary that runs: that needs no evidence."""
    return before.canary == after.canary and (after.share or 0) <= (before.share or 0)


def _share(state: ReleaseState, environment: str, after: Release, evidence: Evidence) -> Iterator[Finding]:
    """Yield each rule that forbids the share of a canary, or its beginning."""
    file, before = release_file.path_of(environment), state.present(environment)
    canary = state.snapshot(after.canary or "")
    if canary is None or is_smaller(before, after):
        return
    if standing := before.holds():
        remedy, way = "lift the hold first", instructions.propose("unhold", environment)
        problem = f"{environment} is held: {'; '.join(map(str, standing))}"
        yield Finding(file, problem, remedy, rule="held", command=way)
    if before.canary != after.canary:
        yield from shadowed(state, environment, canary, evidence)
        return
    yield from _enough(state, environment, canary, evidence)


def _enough(state: ReleaseState, environment: str, canary: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """Yield each rule that forbids a larger share of a canary, or its promotion."""
    try:
        settings = state.settings(environment)
    except SettingsError as error:
        yield replace(error.finding, remedy=f"{error.finding.remedy}; repair the settings on main first")
        return
    file, short = release_file.path_of(environment), canary.commit[:12]
    report = report_on(state, environment, canary, evidence)
    if missing := canaries.lacking(report, state.present(environment).share or 0, settings):
        yield Finding(file, f"the canary {short}: {missing}", "wait for CANARY_IMAGES", rule="canary")
    elif report is not None and (worse := canaries.worse(report, settings)):
        problem = f"the canary {short} does worse: {worse}"
        yield Finding(file, problem, "end it, and release a better model", rule="canary")


def after_canary(
    state: ReleaseState, environment: str, release: Snapshot, evidence: Evidence
) -> Iterator[Finding]:
    """Require that a promotion ends no canary of another model, and that its own canary passed each step."""
    present, file = state.present(environment), release_file.path_of(environment)
    if present.canary is None or present.share is None:
        return
    canary = state.snapshot(present.canary)
    if canary is None or canary.model != release.model:
        problem = f"{environment} tries the canary {present.canary[:12]}, which has another model"
        way = instructions.trial("canary", environment, None)
        yield Finding(file, problem, "end it first", rule="canary", command=way)
    elif (step := shares.next_step(present.share)) is not None:
        problem = f"the canary {present.canary[:12]} answers {present.share}%"
        yield Finding(file, problem, f"its next step is {step}%; end it to promote at once", rule="canary")
    else:
        yield from _enough(state, environment, canary, evidence)


def _beside(state: ReleaseState, environment: str, after: Release, evidence: Evidence) -> Iterator[Finding]:
    file, commit, kind = release_file.path_of(environment), after.trial or "", after.trial_kind
    short, trial = commit[:12], state.snapshot(commit)
    release = state.snapshot(after.commit) if after.commit else None
    if release is None or release.model is None:
        problem = f"{kind}: {environment} has no model to try another one beside"
        yield Finding(file, problem, "promote a release first", rule=kind)
        return
    if trial is None or commit not in state.trunk:
        yield Finding(
            file, f"{kind}: {short} is not on main", "name a commit that main pointed to", rule=kind
        )
        return
    if trial.model is None:
        yield Finding(file, f"{kind}: {short} has no model", "name a commit with a trained model", rule=kind)
        return
    if trial.model == release.model:
        yield Finding(file, f"{kind}: {short} has the model of the release", "name another commit", rule=kind)
        return
    if tag := state.verdicts.rejected(environment, commit):
        yield Finding(
            file, f"{kind}: {environment} rejected {short} ({tag.name})", "name another commit", rule=kind
        )
    if not trusted(state, environment, commit):
        earlier = " or ".join(state.environments.chain(environment))
        yield Finding(file, f"{kind}: {earlier} has not verified {short}", f"wait for {earlier}", rule=kind)
    if presence := evidence.presence(trial.lock).finding:
        yield replace(presence, subject=file)


def report_on(
    state: ReleaseState, environment: str, release: Snapshot, evidence: Evidence
) -> Shadowed | None:
    """Return the report of an environment on the model of a release beside the present one, or None.

    It is about two models: an equal model of another commit has the same report.
    """
    present = state.present(environment).commit
    incumbent = state.snapshot(present) if present else None
    if incumbent is None or release.model is None:
        return None
    models = (release.model, incumbent.model)
    reports = evidence.shadows(state.lists, environment, state.remote)
    return next((one for one in reports if (one.model_sha256, one.incumbent_sha256) == models), None)


def report_about(state: ReleaseState, environment: str, commit: str, evidence: Evidence) -> Shadowed | None:
    """Return the report of an environment on the model of a commit beside the present one, or None."""
    release = state.snapshot(commit)
    return report_on(state, environment, release, evidence) if release else None


def shadowed(
    state: ReleaseState, environment: str, release: Snapshot, evidence: Evidence
) -> Iterator[Finding]:
    """Require that an environment tried the model of a release beside its own, on enough images.

    A first release has nothing beside which it could be tried, and an equal model needs no trial.
    """
    try:
        settings = state.settings(environment)
    except SettingsError:
        return  # another rule reports it
    present = state.present(environment).commit
    incumbent = state.snapshot(present) if present else None
    needed = settings.require_shadow_images
    if not needed or incumbent is None or incumbent.model in (None, release.model):
        return
    file, short = release_file.path_of(environment), release.commit[:12]
    report = report_on(state, environment, release, evidence)
    if report is None:
        problem = f"{environment} has not tried the model of {short} beside its own"
        remedy, way = (
            "propose the trial, merge it and wait",
            instructions.trial("shadow", environment, release.commit),
        )
        yield Finding(file, problem, remedy, rule="shadow", command=way)
        return
    if report.images < needed:
        problem = f"{environment} tried {short} on {report.images} images"
        yield Finding(file, problem, f"REQUIRE_SHADOW_IMAGES asks for {needed}: wait", rule="shadow")
    if report.failed:
        problem = f"the shadow {short} failed on {report.failed} batches: {report.reason}"
        yield Finding(file, problem, "release another model, or repair the batches", rule="shadow")
    for row in report.judge(settings):
        if not row.ok:
            problem = f"the shadow {short} fails a gate on late labels of {environment}: {row}"
            yield Finding(file, problem, row.remedy or "release a better model", rule="shadow")
