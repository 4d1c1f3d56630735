"""Shadowing: the model that an environment tries beside its release, its report, and its end."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitops.errors import GateError, GitError, ParseError, ReleaseError, StepError
from gitops.gates import canaries, shadows
from gitops.gates.shadows import Shadowed
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, update_mirror
from gitops.model.evaluation import evaluation
from gitops.paths import EVALUATION
from gitops.release import canaries as shares
from gitops.release import checks, signatures
from gitops.release.checks import Check
from gitops.release.file import Declaration
from gitops.release.keys import PrivateKey
from gitops.release.load import load_state
from gitops.release.settings import Settings
from gitops.release.signatures import Trust
from gitops.release.state import trusted
from gitops.release.verdicts import Verdict
from gitops.text import record
from gitops.text.markdown import one_line
from gitops.training import verification

log = logging.getLogger(__name__)

_LONGEST_REASON = 300
_SHORT = 20.0  # seconds


def declared(
    origin: Origin, environment: str, *, mirror: Path, signed: bool, waits: bool = True
) -> Declaration | None:
    """Return the declaration of main with a shadow or a canary; None without one that counts.

    Args:
        origin: The repository.
        environment: The environment.
        mirror: The folder of the environment's own bare copy of `origin`.
        signed: Whether an allowed signer must have signed the change.
        waits: Whether to wait for an `origin` that does not answer; otherwise the last known main counts.

    Raises:
        GitError: if `origin` cannot be reached, and there is no copy or it waits.

    """
    repository = update_mirror(origin, mirror) if waits else _known(origin, mirror)
    state = load_state(repository, remote=origin.url)
    try:
        declaration = state.declared(environment)
    except ReleaseError as error:
        log.warning("No shadow and no canary: %s", error)
        return None
    commit = declaration.release.trial
    if commit is None:
        return None
    trust = Trust.load(repository, state.tip, state.environments, remote=origin.url)
    objection = state.main_fault or trust.lists.problem
    if objection is None and signed:
        objection = signatures.objection(trust, declaration)
    if objection is None and not trusted(state, environment, commit):
        objection = "main never pointed to it, no environment before verified it, or this one rejected it"
    if objection is not None:
        log.warning("The %s %s does not count: %s", declaration.release.trial_kind, commit[:12], objection)
        return None
    return declaration


def _known(origin: Origin, mirror: Path) -> Repository:
    """Return the copy of `origin`, as new as it can be had in a short time."""
    try:
        return update_mirror(origin, mirror, timeout=_SHORT)
    except GitError as error:
        repository = Repository(mirror)
        if not repository.has(repository.branch_ref(origin.url, "main")):
            raise
        log.warning("main as it was fetched last counts: %s", error)
        return repository


def report(
    environment: str,
    commits: Sequence[str],
    models: Sequence[str],
    failed: int,
    reason: str,
    figures: Mapping[str, Any] | None,
    share: int | None = None,
) -> Shadowed:
    """Return the report of an environment on a shadow.

    Args:
        environment: The environment.
        commits: The commits of the shadow and of the release.
        models: The digests of their models.
        failed: The number of batches that the shadow could not score.
        reason: Why it could not score the last of them.
        figures: The output of the command `shadow`; None if it scored no batch.
        share: The share of the batches that a canary scores; None of a shadow.

    Raises:
        StepError: if the figures are not those that the command `shadow` writes.

    """
    (release, incumbent), (model_sha256, incumbent_sha256) = commits, models
    at = datetime.now(UTC).replace(microsecond=0)
    content = {
        "environment": environment,
        "release": release,
        "incumbent": incumbent,
        "model_sha256": model_sha256,
        "incumbent_sha256": incumbent_sha256,
        "at": at.isoformat(),
        "failed": failed,
        "reason": one_line(reason, longest=_LONGEST_REASON),
        "share": share,
        "figures": figures,
    }
    try:
        return record.read(Shadowed, json.dumps(content).encode())
    except ParseError as error:
        raise StepError(f"the comparison with the shadow cannot be read: {error}") from error


def publish(origin: Origin, report: Shadowed, *, mirror: Path, key: PrivateKey | None = None) -> None:
    """Push a report as a tag, signed with a key, by default that of this process.

    Raises:
        GitError: if `origin` cannot be reached or refuses.
        KeyFileError: if this process has no key.
        VerdictError: if main does not list the key.

    """
    key = key or PrivateKey.of_process()
    repository = update_mirror(origin, mirror)
    with origin.session():
        shadows.publish(repository, origin.url, report, key)


def picked(declaration: Declaration | None, names: Iterable[str]) -> dict[str, str]:
    """Return those of some batches that a canary scores, each with its commit."""
    release = declaration.release if declaration else None
    if release is None or release.canary is None or release.share is None:
        return {}
    return {name: release.canary for name in names if shares.picks(name, release.canary, release.share)}


def judge(origin: Origin, report: Shadowed, settings: Settings, *, mirror: Path) -> Verdict | None:
    """Reject a canary that fails, is too slow, or is worse by the gates; return the verdict, or None."""
    found = canaries.judge(report, settings)
    if report.share is None or not any(check.result == "failed" for check in found):
        return None
    return step_down(origin, report.environment, report.release, found, mirror=mirror)


def step_down(
    origin: Origin,
    environment: str,
    commit: str,
    found: Sequence[Check],
    *,
    mirror: Path,
    key: PrivateKey | None = None,
) -> Verdict:
    """Push the rejection of a canary, signed; from then on the release answers everything.

    Args:
        origin: The repository.
        environment: The environment.
        commit: The commit of the canary.
        found: The checks, of which one failed.
        mirror: The folder of the environment's own bare copy of `origin`.
        key: The key, by default that of this process.

    Raises:
        GitError: if `origin` cannot be reached or refuses.
        KeyFileError: if this process has no key.
        VerdictError: if main does not list the key.

    """
    content = update_mirror(origin, mirror).read(commit, EVALUATION)
    try:
        claim = evaluation(content, commit)
    except GateError:
        claim = None  # The claim is no reason to let it go on.
    reason = f"as a canary: {checks.failures(found)}"
    verdict = verification.refused(commit, environment, claim, reason, found)
    return verification.publish(origin, verdict, mirror=mirror, key=key)
