"""The required check of every change to `main`: release files, settings, parameters and models."""

import hashlib
import posixpath
from collections.abc import Collection

from gitops.dvc import parameters
from gitops.dvc.provenance import train_command
from gitops.errors import (
    CalendarError,
    EnvironmentsError,
    GateError,
    LicencesError,
    ProvenanceError,
    ReleaseError,
    SettingsError,
)
from gitops.findings import Finding
from gitops.gates import gates
from gitops.paths import CODEOWNERS, CONTRACT, CONTRACT_SCHEMA, EVALUATION, EXPORT, FORGOTTEN, LOCK
from gitops.promotion.change import Change
from gitops.promotion.evidence import Evidence
from gitops.promotion.rules import Judgement, judge_model, judge_release
from gitops.release import (
    calendar,
    contract,
    environments,
    keys,
    licences,
    main_line,
    owners,
    settings,
    signatures,
)
from gitops.release import file as release_file
from gitops.release.environments import Environments
from gitops.release.file import Release
from gitops.release.keys import KeyList
from gitops.release.may_run import contract_fault
from gitops.release.signatures import SIGNERS
from gitops.release.snapshot import DVC_CONFIG, Snapshot
from gitops.release.state import ReleaseState
from gitops.text import instructions

_MODEL_FILES = {LOCK, EVALUATION, EXPORT}


def judge(state: ReleaseState, change: Change, evidence: Evidence) -> Judgement:
    """Judge whether a change may be merged into main; it may where there is no finding."""
    state, head, changed = state.adding(change.releases), change.head, change.changed
    _ask_early(state, head, changed, evidence)
    judgement = Judgement.from_findings(state.main_fault) if state.main_fault else Judgement()
    after, findings = _environments(state, head, changed)
    for environment in after:
        judgement += _release(state, after, environment, change, evidence)
        judgement += Judgement(tuple(_settings(after, environment, head)))
    findings += _ports(after, head)
    findings += _calendar(after, head)
    findings += _policies(after, head)
    if licences.PATH in changed:
        findings += _licences(head)
    if CONTRACT in changed:
        findings += _contract(state, head)
    findings += pipeline(evidence, state.tip, head.commit, changed)
    if contract.PATH in changed and (fault := contract_fault(head)):
        findings.append(fault)
    findings += change.leftovers
    findings += _signatures(state, after, change)
    findings += _storage(changed)
    findings += _forgotten(state, head, changed)
    if any(snapshot.contents[CODEOWNERS] is not None for snapshot in (state.main, head)):
        findings += owners.faults(head.contents[CODEOWNERS], after)
    judgement += Judgement(tuple(findings))
    if _MODEL_FILES & set(changed):
        judgement += _model(state, head, evidence)
    return judgement


def pipeline(evidence: Evidence, main: str, commit: str, changed: Collection[str]) -> list[Finding]:
    """Return the problems of the parameters, `dvc.yaml` and `dvc.lock` of a commit.

    A model that was made from another commit is no violation: main takes such a change, and dev trains from
    there; see `note`.

    Args:
        evidence: The sources about models.
        main: The newest commit of main.
        commit: The result of the merge, or the branch if there is no result.
        changed: The files that the change touches. A change of release files alone cannot break a pipeline,
            and a rollback must not wait for somebody to repair one.

    """
    if not _touches_pipeline(changed):
        return []
    findings = unreadable(evidence, main, commit)
    if findings:
        return findings
    for contradiction in evidence.provenance(commit).contradictions:
        right = f"take {LOCK} whole from one side of the merge, then train the branch"
        findings.append(
            Finding(
                LOCK,
                str(contradiction),
                right,
                rule="lock-contradiction",
                command=instructions.train("BRANCH"),
            )
        )
    return findings


def unreadable(evidence: Evidence, main: str, commit: str) -> list[Finding]:
    """Return the errors at which a stage of the commit, or DVC, would stop; `main` is that of the remote."""
    findings = list(evidence.parameter_faults(commit, main))
    try:
        evidence.provenance(commit)
    except ProvenanceError as error:
        if error.finding.subject not in {finding.subject for finding in findings}:
            findings.append(error.finding)
    return findings


def note(evidence: Evidence, commit: str, changed: Collection[str], branch: str) -> str | None:
    """Return a line about a model that was made before the change itself, or None where it was not.

    Args:
        evidence: The sources about models.
        commit: As for `pipeline`.
        changed: The files that the change touches.
        branch: The branch that the training should start from.

    """
    if not _touches_pipeline(changed):
        return None
    try:
        made = evidence.provenance(commit)
    except ProvenanceError:
        return None  # `pipeline` tells
    if made.belongs or not made.trained:
        return None
    return (
        f"its model was made before this change: {made.summary}. It may be merged, but not promoted before a "
        f"training; {train_command(branch)}"
    )


def _touches_pipeline(changed: Collection[str]) -> bool:
    return not all(path.startswith("environments/") and path.endswith("/release.yaml") for path in changed)


def _environments(
    state: ReleaseState, head: Snapshot, changed: Collection[str]
) -> tuple[Environments, list[Finding]]:
    """Return the environments that main would have, and everything that is wrong with their folders."""
    findings: list[Finding] = []
    try:
        after = head.environments
    except EnvironmentsError as error:
        return state.environments, [error.finding]
    files = head.listed
    if not any(path.endswith(f"/{environments.FILE}") for path in files) and any(
        path.endswith(f"/{environments.FILE}") for path in changed
    ):
        command = f"git checkout {state.tip[:12]} -- {environments.FOLDER}"
        problem = f"no {environments.FILE} is left"
        findings.append(
            Finding(environments.FOLDER, problem, "restore them", rule="environment", command=command)
        )
    for name in state.environments:
        folder = f"{environments.FOLDER}/{name}"
        if name not in after and any(path.startswith(f"{folder}/") for path in files):
            remedy, path = (
                f"restore it, or remove the environment: git rm -r {folder}",
                environments.path_of(name),
            )
            command = f"git checkout {state.tip[:12]} -- {path}"
            findings.append(Finding(path, "missing", remedy, rule="environment", command=command))
    for path in changed:
        _, _, file = path.rpartition("/")
        folder = path.split("/")[1] if path.count("/") == 2 else ""
        ours = path.startswith(f"{environments.FOLDER}/") and file in ("release.yaml", "settings.env")
        if ours and path in files and folder not in after and folder not in state.environments:
            right = f"there are {', '.join(after)}; to make another: make new-environment"
            findings.append(Finding(path, "no such environment", right, rule="environment"))
    return after, findings


def _ports(after: Environments, head: Snapshot) -> list[Finding]:
    """Name the environments that could not run on one machine, as they have one port."""
    findings: list[Finding] = []
    taken: dict[int, str] = {}
    for environment in after:
        try:
            port = head.settings(environment).web_port
        except SettingsError:
            continue  # `_settings` tells
        holder = taken.setdefault(port, environment)
        if holder != environment:
            rule = f"WEB_PORT: {port} is that of {holder}"
            findings.append(Finding(settings.path_of(environment), rule, "choose another port", rule="port"))
    return findings


def _calendar(after: Environments, head: Snapshot) -> list[Finding]:
    try:
        unknown = head.calendar.unknown(after)
    except CalendarError as error:
        return [error.finding]
    right = f"there are {', '.join(after)}"
    return [
        Finding(calendar.PATH, f"{name}: no such environment", right, rule="calendar") for name in unknown
    ]


def _policies(after: Environments, head: Snapshot) -> list[Finding]:
    """Name the environments that nothing could ever be promoted into by their own policy."""
    findings: list[Finding] = []
    people = signatures.people(head.contents[SIGNERS] or b"")
    for name in after:
        file, needed = environments.path_of(name), after[name].approvals
        if needed > len(people):
            problem = f"approvals: {needed} are asked for, {SIGNERS} lists {len(people) or 'no'} people"
            findings.append(
                Finding(file, problem, "list who may approve, or ask for fewer", rule="approvals")
            )
        try:
            allowed = head.calendar.allows(name)
        except CalendarError:
            continue  # `_calendar` reports it
        if after[name].promotion == "in-windows" and not allowed:
            problem = f"promotion: in-windows, but {calendar.PATH} has no allow window for {name}"
            findings.append(Finding(file, problem, "add one, or write after-soak", rule="calendar"))
    return findings


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


def _signatures(state: ReleaseState, after: Environments, change: Change) -> list[Finding]:
    """Return the changes that an environment with signed releases would refuse after the merge."""
    head, changed = change.head, change.changed
    findings: list[Finding] = []
    signers = state.lists.signers
    listed = head.contents[SIGNERS] is not None
    if state.lists.problem:
        findings.append(
            Finding(main_line.SUBJECT, state.lists.problem, "see docs/releases.md", rule="signers")
        )
    to_be_signed: list[str] = []
    for environment in state.environments:
        if _asks(state.main, environment):
            to_be_signed += [release_file.path_of(environment), environments.path_of(environment)]
            if not _asks(head, environment):
                to_be_signed.append(settings.path_of(environment))
    for environment in after:
        file, asked = settings.path_of(environment), _asks(head, environment)
        if asked and not listed:
            problem = f"requires signed releases, but there is no {SIGNERS}"
            findings.append(Finding(file, problem, f"add {SIGNERS}", rule="signers"))
        if _overrides(head, environment, after) and release_file.path_of(environment) in changed:
            to_be_signed.append(release_file.path_of(environment))
            if not signers:
                problem = f"override: there is no {SIGNERS} of the people who may write it"
                findings.append(
                    Finding(release_file.path_of(environment), problem, "wait for a window", rule="override")
                )
        if listed and not asked and environment in after.last_wave:
            findings.append(
                Finding(
                    file,
                    f"{SIGNERS} lists who may release, but {environment} does not require signatures",
                    "write REQUIRE_SIGNED_RELEASES=true",
                    rule="signers",
                )
            )
    right, sign = "sign it, then propose or commit it again", "git config commit.gpgSign true"
    for path in dict.fromkeys(to_be_signed):
        if why := change.unsigned.get(path):
            findings.append(Finding(path, why, right, rule="unsigned", command=sign))
    for path in (SIGNERS, *map(keys.path_of, after)):
        if path not in changed:
            continue
        if why := change.refused.get(path):
            findings.append(Finding(path, why, right, rule="unsigned", command=sign))
        content = head.contents.get(path) if path != SIGNERS else None
        for problem in KeyList.read(content).problems if content else ():
            findings.append(Finding(path, problem, "see docs/releases.md", rule="key"))
    return findings


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


def _asks(commit: Snapshot, environment: str) -> bool:
    try:
        return commit.settings(environment).require_signed_releases
    except SettingsError:
        return False  # another rule reports their problems


def _overrides(commit: Snapshot, environment: str, there: Environments) -> bool:
    try:
        release = commit.release(environment, follows=there.follows(environment))
    except ReleaseError:
        return False  # `_release` reports it
    return release is not None and release.override is not None


def _settings(after: Environments, environment: str, head: Snapshot) -> list[Finding]:
    try:
        declared = head.settings(environment)
    except SettingsError as error:
        return [error.finding]
    if declared.require_signed_models and after.follows(environment):
        problem = f"REQUIRE_SIGNED_MODELS: no environment verifies a model before {environment}"
        return [Finding(settings.path_of(environment), problem, "write false", rule="unsigned-model")]
    if declared.require_signed_releases and after.follows(environment):
        problem = f"REQUIRE_SIGNED_RELEASES: {environment} follows main, signed or not"
        return [Finding(settings.path_of(environment), problem, "write false", rule="signers")]
    return []


def _model(state: ReleaseState, head: Snapshot, evidence: Evidence) -> Judgement:
    presence = evidence.presence(head.lock)
    findings = [presence.finding] if presence.finding else []
    rows: tuple[gates.GateResult, ...] = ()
    root = state.environments.root
    # Merging to main is a release into the environment that follows it.
    try:
        findings += _edited(head)
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


def _edited(head: Snapshot) -> list[Finding]:
    """Name the figures that are not those of the run which `dvc.lock` records."""
    findings: list[Finding] = []
    for path in (EVALUATION, EXPORT):
        content = head.contents[path]
        recorded = head.lock.digest(path) if content is not None else None
        # Without metrics no gate passes; without a record there is nothing to compare them with.
        if content is None or recorded is None:
            continue
        if (md5 := hashlib.md5(content, usedforsecurity=False).hexdigest()) != recorded:
            problem = f"does not belong to this {LOCK} (MD5 {md5[:12]} instead of {recorded[:12]})"
            right = "Was it edited by hand? Restore it, or run .venv/bin/dvc repro"
            command = f"git checkout main -- {path}"
            findings.append(Finding(path, problem, right, rule="edited-metrics", command=command))
    return findings
