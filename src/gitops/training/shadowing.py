"""Shadowing: which model an environment tries beside its release, and how its report gets to git."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitops.errors import ParseError, ReleaseError, StepError
from gitops.gates import shadows
from gitops.gates.shadows import Shadowed
from gitops.git.workspace import Origin, update_mirror
from gitops.release import signatures
from gitops.release.keys import PrivateKey
from gitops.release.load import load_state
from gitops.release.signatures import Trust
from gitops.release.state import trusted
from gitops.text import record
from gitops.text.markdown import one_line

log = logging.getLogger(__name__)

_LONGEST_REASON = 300


def declared(origin: Origin, environment: str, *, mirror: Path, signed: bool) -> str | None:
    """Return the commit of the shadow that main declares for an environment; None without one that counts.

    Args:
        origin: The repository.
        environment: The environment.
        mirror: The folder of the environment's own bare copy of `origin`.
        signed: Whether an allowed signer must have signed the change.

    Raises:
        GitError: if `origin` cannot be reached.

    """
    repository = update_mirror(origin, mirror)
    state = load_state(repository, remote=origin.url)
    try:
        declaration = state.declared(environment)
    except ReleaseError as error:
        log.warning("No shadow: %s", error)
        return None
    commit = declaration.release.shadow
    if commit is None:
        return None
    trust = Trust.load(repository, state.tip, state.environments, remote=origin.url)
    objection = state.main_fault or trust.lists.problem
    if objection is None and signed:
        objection = signatures.objection(trust, declaration)
    if objection is None and not trusted(state, environment, commit):
        objection = "main never pointed to it, no environment before verified it, or this one rejected it"
    if objection is not None:
        log.warning("The shadow %s does not count: %s", commit[:12], objection)
        return None
    return commit


def report(
    environment: str,
    commits: Sequence[str],
    models: Sequence[str],
    failed: int,
    reason: str,
    figures: Mapping[str, Any] | None,
) -> Shadowed:
    """Return the report of an environment on a shadow.

    Args:
        environment: The environment.
        commits: The commits of the shadow and of the release.
        models: The digests of their models.
        failed: The number of batches that the shadow could not score.
        reason: Why it could not score the last of them.
        figures: The output of the command `shadow`; None if it scored no batch.

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
