"""The required check of every change to `main`: release files, settings, parameters and models."""

import posixpath
from collections.abc import Collection, Iterator

from gitops.dvc import parameters
from gitops.errors import (
    GateError,
    LicencesError,
    ReleaseError,
    SettingsError,
)
from gitops.findings import Finding
from gitops.gates import gates
from gitops.model import metrics
from gitops.paths import CODEOWNERS, CONTRACT, CONTRACT_SCHEMA, DECISIONS, EVALUATION, FORGOTTEN, LOCK
from gitops.promotion.change import Change
from gitops.promotion.evidence import Evidence
from gitops.promotion.folders import judge_folders, policies, ports, values, windows
from gitops.promotion.judgement import Judgement
from gitops.promotion.pipeline import pipeline
from gitops.promotion.rules import judge_model, judge_release
from gitops.promotion.signing import unsigned_changes
from gitops.release import (
    contract,
    licences,
    owners,
)
from gitops.release import file as release_file
from gitops.release.environments import Environments
from gitops.release.file import Release
from gitops.release.may_run import contract_fault
from gitops.release.snapshot import DVC_CONFIG, Snapshot
from gitops.release.state import ReleaseState

_FIGURES = (DECISIONS, *metrics.PATHS)
_MODEL_FILES = {LOCK, *_FIGURES}


def judge(state: ReleaseState, change: Change, evidence: Evidence) -> Judgement:
    """Judge whether a change may be merged into main; it may where there is no finding."""
    state, head, changed = state.adding(change.releases), change.head, change.changed
    _ask_early(state, head, changed, evidence)
    judgement = Judgement.from_findings(state.main_fault) if state.main_fault else Judgement()
    after, findings = judge_folders(state, head, changed)
    for environment in after:
        judgement += _release(state, after, environment, change, evidence)
        judgement += Judgement(tuple(values(after, environment, head)))
    findings += ports(after, head)
    findings += windows(after, head)
    findings += policies(after, head)
    if licences.PATH in changed:
        findings += _licences(head)
    if CONTRACT in changed:
        findings += _contract(state, head)
    findings += pipeline(evidence, state.tip, head.commit, changed)
    if contract.PATH in changed and (fault := contract_fault(head)):
        findings.append(fault)
    findings += change.leftovers
    findings += unsigned_changes(state, after, change)
    findings += _storage(changed)
    findings += _forgotten(state, head, changed)
    if any(snapshot.contents[CODEOWNERS] is not None for snapshot in (state.main, head)):
        findings += owners.faults(head.contents[CODEOWNERS], after)
    judgement += Judgement(tuple(findings))
    if _MODEL_FILES & set(changed):
        judgement += _model(state, head, evidence)
    return judgement


def _licences(head: Snapshot) -> list[Finding]:
    try:
        _ = head.licences
    except LicencesError as error:
        return [error.finding]
    return []


def _contract(state: ReleaseState, head: Snapshot) -> list[Finding]:
    """Name each fault of the data contract, judged by the schema of the commit itself."""
    content = head.contents.get(CONTRACT)
    if content is None:
        problem = "missing, so any data would be good enough"
        command = f"git checkout {state.tip[:12]} -- {CONTRACT}"
        return [Finding(CONTRACT, problem, "restore it", rule="data-contract", command=command)]
    try:
        schema = parameters.load_schema(head.contents.get(CONTRACT_SCHEMA) or b"")
        faults = parameters.faults(schema, parameters.read(content))
    except parameters.FaultError as error:
        faults = [str(error)]
    return [Finding(CONTRACT, fault, "see docs/data.md", rule="data-contract") for fault in faults]


def _forgotten(state: ReleaseState, head: Snapshot, changed: Collection[str]) -> list[Finding]:
    """Refuse a list of forgotten photographs that no stage could read, or that lacks one of main's."""
    if FORGOTTEN not in changed:
        return []
    try:
        before, after = state.main.forgotten, head.forgotten
    except ReleaseError as error:
        return [error.finding]
    missing = before.missing_in(after)
    if not missing:
        return []
    problem = f"lacks {missing} digests that main has, so their photographs could come back"
    command = f"git checkout {state.tip[:12]} -- {FORGOTTEN}"
    return [Finding(FORGOTTEN, problem, "restore it", rule="forgotten", command=command)]


def _ask_early(state: ReleaseState, head: Snapshot, changed: Collection[str], evidence: Evidence) -> None:
    """Ask the DVC remote, the slowest to answer, while everything else is judged."""
    if evidence.storage is None:
        return
    if _MODEL_FILES & set(changed):
        evidence.storage.begin(head.lock)
    for environment in state.environments.promotable:
        if release_file.path_of(environment) not in changed:
            continue
        try:
            after = head.release(environment, follows=False)
        except ReleaseError:
            continue  # reported when that file is checked
        if after and after.commit and after.hold is None and (release := state.snapshot(after.commit)):
            evidence.storage.begin(release.lock)


def _release(
    state: ReleaseState,
    there: Environments,
    environment: str,
    change: Change,
    evidence: Evidence,
) -> Judgement:
    """Judge the release file of one of the environments that main would have."""
    head, changed = change.head, change.changed
    file, known = release_file.path_of(environment), state.environments
    follows = there.follows(environment)
    try:
        after = head.release(environment, follows=follows)
    except ReleaseError as error:
        return Judgement.from_findings(error.finding)
    if after is None:
        new = environment not in known
        remedy = "add it, with `commit: null`" if new else "restore it"
        command = "" if new else f"git checkout {state.tip[:12]} -- {file}"
        return Judgement.from_findings(Finding(file, "missing", remedy, rule="release-file", command=command))
    if environment in known and follows != known.follows(environment):
        # Another environment comes first now. There is nothing to promote in the same step.
        if after.commit is None:
            return Judgement()
        problem = f"{environment} followed main, and has verified nothing as a release of its own"
        return Judgement.from_findings(
            Finding(
                file,
                problem,
                "write `commit: null`; promote into it after the merge",
                rule="new-environment",
            )
        )
    if environment not in known and follows:
        return Judgement()
    if file not in changed or after == state.present(environment):
        return Judgement()
    judgement = judge_release(state, environment, after, evidence, proposers=change.authors)
    together = _together(state, environment, head, changed, after)
    if others := [path for path in changed if path not in together]:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        remedy = "put the release into a pull request of its own"
        judgement += Judgement.from_findings(
            Finding(file, f"changes together with {shown}", remedy, rule="release-alone")
        )
    return judgement


def _together(
    state: ReleaseState, environment: str, head: Snapshot, changed: Collection[str], after: Release
) -> frozenset[str]:
    """Return the files that may change together with a release file.

    They are those of its wave, where each of them gets the same release by a promotion.
    """
    files = {release_file.path_of(environment)}
    known = state.environments
    if environment not in known or not _promotes(state, environment, after):
        return frozenset(files)
    for sibling in known.wave(known[environment].wave):
        file = release_file.path_of(sibling)
        if file not in changed or known.follows(sibling):
            continue
        try:
            release = head.release(sibling, follows=False)
        except ReleaseError:
            continue  # `_release` reports it
        if release is not None and release.commit == after.commit and _promotes(state, sibling, release):
            files.add(file)
    return frozenset(files)


def _promotes(state: ReleaseState, environment: str, after: Release) -> bool:
    return after.hold is None and after.commit not in (None, state.present(environment).commit)


def _storage(changed: Collection[str]) -> list[Finding]:
    """Refuse a change that brings a model and also chooses the storage that answers for it."""
    storage = [path for path in changed if path.startswith(f"{posixpath.dirname(DVC_CONFIG)}/")]
    if not storage or not _MODEL_FILES & set(changed):
        return []
    problem = "names the DVC remote, and changes together with the model"
    return [
        Finding(
            storage[0],
            problem,
            "merge it first, in a pull request of its own",
            rule="dvc-config-with-model",
        )
    ]


def _model(state: ReleaseState, head: Snapshot, evidence: Evidence) -> Judgement:
    presence = evidence.presence(head.lock)
    findings = [presence.finding] if presence.finding else []
    rows: tuple[gates.GateResult, ...] = ()
    root = state.environments.root
    # Merging to main is a release into the environment that follows it.
    try:
        findings += _figures(state, head, evidence)
        compare = None if presence.finding else evidence.compare
        rows = judge_model(state, root, head, state.main, evidence, compare)
    except (GateError, SettingsError, LicencesError) as error:
        findings.append(error.finding)
    findings += [
        Finding(
            EVALUATION,
            f"the model fails a gate: {row}",
            row.remedy or "train a better one at profile full",
            rule="gate",
        )
        for row in rows
        if not row.ok
    ]
    return Judgement(tuple(findings), {root: rows} if rows else {}, presence.checked)


def _figures(state: ReleaseState, head: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """Name the figures that are not those of the run which `dvc.lock` records."""
    main = state.main
    ours, theirs = (
        {path: md5 for path in _FIGURES if (md5 := evidence.md5(commit, path))}
        for commit in (head.commit, main.commit)
    )
    for path in [path for path in _FIGURES if path in ours or path in theirs]:
        md5, recorded = ours.get(path), head.lock.digest(path)
        # Without a record there is nothing to compare with.
        if recorded in (md5, None):
            continue
        problem = (
            f"does not belong to this {LOCK} (MD5 {md5[:12]} instead of {recorded[:12]})"
            if md5
            else f"is missing, and {LOCK} records it"
        )
        right = "Was it edited by hand? Restore it, or run: source .venv/bin/activate && dvc repro"
        command = f"git checkout {state.tip[:12]} -- {path}" if path in theirs else ""
        yield Finding(path, problem, right, rule="edited-metrics", command=command)
    must = DECISIONS in theirs or (head.model != main.model and main.lock.has_output(DECISIONS))
    if must and (DECISIONS not in ours or head.lock.digest(DECISIONS) is None):
        yield Finding(
            DECISIONS,
            f"is missing, or has no record in {LOCK}: a release is compared by these answers",
            "leave it in dvc.yaml, and commit it",
            rule="missing-decisions",
            command="source .venv/bin/activate && dvc repro evaluate",
        )
