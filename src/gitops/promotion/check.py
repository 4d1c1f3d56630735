"""The required check of every change to `main`: release files, settings, parameters and models."""

import posixpath
from collections.abc import Collection, Iterator

from gitops.dvc import parameters
from gitops.dvc.lockfile import PIPELINE
from gitops.errors import (
    ComparisonError,
    GateError,
    LicencesError,
    ProvenanceError,
    ReleaseError,
    SettingsError,
)
from gitops.findings import Finding
from gitops.gates import gates
from gitops.gates.recorded import Records
from gitops.model import metrics
from gitops.paths import (
    CODEOWNERS,
    CONTRACT,
    CONTRACT_SCHEMA,
    DECISIONS,
    EVALUATION,
    FORGOTTEN,
    HOLDOUT,
    LOCK,
    MODEL,
)
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
    faults = pipeline(evidence, state.tip, head.commit, changed)
    findings += faults
    if PIPELINE in changed:
        findings += _undeclared(state.main, head, evidence)
    if contract.PATH in changed and (fault := contract_fault(head)):
        findings.append(fault)
    findings += change.leftovers
    findings += unsigned_changes(state, after, change)
    findings += _storage(changed)
    findings += _forgotten(state, head, changed)
    if any(snapshot.contents[CODEOWNERS] is not None for snapshot in (state.main, head)):
        findings += owners.faults(head.contents[CODEOWNERS], after)
    judgement += Judgement(tuple(findings))
    moved = PIPELINE in changed and not faults and _reads(head) != _reads(state.main)
    if moved or _MODEL_FILES & set(changed):
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
    except (GateError, LicencesError, ReleaseError, SettingsError) as error:
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


def _reads(commit: Snapshot) -> list[str | None]:
    """Return the digests of its model, images and figures, by the records that its `dvc.yaml` makes count."""
    return [_digest(commit, path) for path in (MODEL, HOLDOUT, *_FIGURES)]


def _digest(commit: Snapshot, path: str) -> str | None:
    try:
        return commit.lock.digest(path)
    except GateError:
        return None


def _made(evidence: Evidence, commit: Snapshot) -> frozenset[str] | None:
    """Return the outputs of all stages of a commit, or None where DVC cannot read them."""
    try:
        return evidence.provenance(commit.commit).made
    except ProvenanceError:
        return None


def _undeclared(main: Snapshot, head: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """Refuse a `dvc.yaml` whose stages no longer make the decisions that the next model needs."""
    before, after = _made(evidence, main), _made(evidence, head)
    if before is not None and after is not None and DECISIONS in before - after:
        yield Finding(
            PIPELINE,
            f"no stage makes {DECISIONS} any more: releases are compared by these answers",
            "leave it among the outputs of the stage that evaluates the model",
            rule="missing-decisions",
        )


def _figures(state: ReleaseState, head: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """Name the figures that are not those of the run which `dvc.lock` records."""
    main = state.main
    ours, theirs = (
        {path: md5 for path in _FIGURES if (md5 := evidence.md5(commit, path))}
        for commit in (head.commit, main.commit)
    )
    known = [path for path in _FIGURES if path in ours or path in theirs]
    recorded = {path: head.lock.digest(path) for path in known}
    made, made_before = (_made(evidence, commit) or frozenset() for commit in (head, main))
    wrong = [
        path
        for path in known
        if recorded[path] != (md5 := ours.get(path))
        # A stage that moved has no records until it runs; a figure that no stage makes any more may go.
        and (md5 is not None or path in made)
        and (recorded[path] or md5 is None or (md5 != theirs.get(path) and _digest(main, path)))
    ]
    must = DECISIONS in theirs or (head.model != main.model and DECISIONS in made | made_before)
    own = ours.get(DECISIONS)
    if must and (own is None or (recorded[DECISIONS] is None and own != theirs.get(DECISIONS))):
        wrong = [path for path in wrong if path != DECISIONS]
        yield Finding(
            DECISIONS,
            f"is missing, or has no record in {LOCK}: a release is compared by these answers",
            "leave it in dvc.yaml, and commit it",
            rule="missing-decisions",
            command="source .venv/bin/activate && dvc repro evaluate",
        )
    for path in wrong:
        md5, right = ours.get(path), recorded[path]
        if right and md5:
            problem = f"does not belong to this {LOCK} (MD5 {md5[:12]} instead of {right[:12]})"
        elif right:
            problem = f"is missing, and {LOCK} records it"
        else:
            problem = f"has no record in {LOCK}" if md5 else f"is missing, and a stage of {PIPELINE} makes it"
        remedy = "Was it edited by hand? Restore it, or run: source .venv/bin/activate && dvc repro"
        # Main may have the figures of another training
        of_main = right is not None and right == theirs.get(path)
        command = f"git checkout {state.tip[:12]} -- {path}" if of_main else ""
        yield Finding(path, problem, remedy, rule="edited-metrics", command=command)
    if head.model and not wrong:
        yield from _other_files(state, head, ours.get(EVALUATION) != theirs.get(EVALUATION))
        yield from _lost_images(main, head, evidence)


def _other_files(state: ReleaseState, head: Snapshot, evaluated: bool) -> Iterator[Finding]:
    """Name the model, or the hold-out set, that `dvc.lock` records and the evaluation is not about."""
    remedy, command = "restore it, or train again", "source .venv/bin/activate && dvc repro"
    own, main = _pair(head), _pair(state.main)
    if _contradict(own, main):
        verified = state.verdicts.verifications(state.environments.root)
        pairs = [_pair(release) for one in verified if (release := state.snapshot(one.release))]
        # A release that was loaded knows better than main, whose own pair may be wrong
        if own not in pairs and not any(_contradict(pair, main) for pair in pairs):
            problem = f"records another {MODEL} than {EVALUATION} is about"
            yield Finding(LOCK, problem, remedy, rule="edited-metrics", command=command)
    if evaluated and _digest(state.main, HOLDOUT) and head.holdout is None:
        problem = f"records no {HOLDOUT}, whose images {EVALUATION} is about"
        yield Finding(LOCK, problem, remedy, rule="edited-metrics", command=command)


def _pair(commit: Snapshot) -> tuple[str | None, str | None]:
    """Return the two digests of its model: that of its evaluation, and that of its `dvc.lock`."""
    return commit.model, _digest(commit, MODEL)


def _contradict(one: tuple[str | None, str | None], other: tuple[str | None, str | None]) -> bool:
    """Whether two models are equal by one digest, and differ by the other."""
    return None not in (*one, *other) and (one[0] == other[0]) != (one[1] == other[1])


def _lost_images(main: Snapshot, head: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """Refuse a hold-out set without images of main's beside the same model.

    Nothing would measure the next model on them.
    """
    if head.model != main.model or head.holdout == _digest(main, HOLDOUT):
        return
    records = Records(evidence.decisions, main.forgotten.and_of(head.forgotten))
    try:
        lacking = records.lacking(head, main)
    except (ComparisonError, GateError):
        return  # `_model` names those of the head, and this change cannot repair those of main
    if lacking:
        yield Finding(
            HOLDOUT,
            f"lacks {lacking} of main's images, beside the same model",
            "change it together with a training",
            rule="gate",
        )
