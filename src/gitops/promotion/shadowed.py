"""Shadowed: the rules for trying a model beside a release, and the gate that it is for a promotion."""

from collections.abc import Iterator
from dataclasses import replace

from gitops.errors import SettingsError
from gitops.findings import Finding
from gitops.gates.shadows import Shadowed
from gitops.promotion.evidence import Evidence
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState, trusted
from gitops.text import instructions


def judge_shadow(
    state: ReleaseState, environment: str, after: Release, evidence: Evidence
) -> Iterator[Finding]:
    """Yield each rule that forbids the shadow which a release file declares beside the present release.

    Only its model runs, by the code of the release. So it needs no runtime.
    """
    file, commit = release_file.path_of(environment), after.shadow or ""
    short, shadow = commit[:12], state.snapshot(commit)
    release = state.snapshot(after.commit) if after.commit else None
    if release is None or release.model is None:
        problem = f"shadow: {environment} has no model to try another one beside"
        yield Finding(file, problem, "promote a release first", rule="shadow")
        return
    if shadow is None or commit not in state.trunk:
        yield Finding(
            file, f"shadow: {short} is not on main", "name a commit that main pointed to", rule="shadow"
        )
        return
    if shadow.model is None:
        yield Finding(
            file, f"shadow: {short} has no model", "name a commit with a trained model", rule="shadow"
        )
        return
    if shadow.model == release.model:
        yield Finding(
            file, f"shadow: {short} has the model of the release", "name another commit", rule="shadow"
        )
        return
    if tag := state.verdicts.rejected(environment, commit):
        yield Finding(
            file, f"shadow: {environment} rejected {short} ({tag.name})", "name another commit", rule="shadow"
        )
    if not trusted(state, environment, commit):
        earlier = " or ".join(state.environments.chain(environment))
        yield Finding(
            file, f"shadow: {earlier} has not verified {short}", f"wait for {earlier}", rule="shadow"
        )
    if presence := evidence.presence(shadow.lock).finding:
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
        remedy, way = "propose the trial, merge it and wait", instructions.shadow(environment, release.commit)
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
