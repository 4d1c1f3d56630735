"""Verification: an environment scores its release's own hold-out set and records whether the claim holds."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from gitops.dvc.run import call
from gitops.errors import ParseError, StepError
from gitops.git.workspace import Origin, update_mirror, workspace
from gitops.model.evaluation import Evaluation, evaluation
from gitops.paths import EVALUATION, HOLDOUT, MODEL
from gitops.release.checks import Check
from gitops.release.keys import PrivateKey
from gitops.release.verdicts import REJECTED, VERIFIED, Verdict, Verdicts, record
from gitops.text import record as records

# The same model on the same images differs between processors in the last bits of a score, which moves a
# decision or two in ten thousand; ten times that is another model or another set of images.
TOLERANCE = 0.002


def pending(origin: Origin, release: str, environment: str, *, mirror: Path) -> str | None:
    """Return why there is nothing to verify, or None where `release` waits for its verdict in `environment`.

    `mirror` is the folder of the environment's own bare copy of `origin`; it is made where it is missing.

    Raises:
        GitError: if `origin` cannot be reached.

    """
    repository = update_mirror(origin, mirror)
    if repository.read(release, EVALUATION) is None:
        return "this release has no model yet"
    verdicts = Verdicts.of_environment(repository, origin.url, environment, commits=(release,))
    if verdicts.verified(environment, release):
        return f"already verified in {environment}"
    if verdicts.rejected(environment, release):
        return f"already rejected in {environment}"
    return None


def publish(origin: Origin, verdict: Verdict, *, mirror: Path, key: PrivateKey | None = None) -> None:
    """Push a verdict as a tag, signed with a key, by default that of this process; again changes nothing.

    Raises:
        GitError: if `origin` cannot be reached or refuses.
        KeyFileError: if this process has no key.
        VerdictError: if the key is not listed on main.

    """
    key = key or PrivateKey.of_process()
    repository = update_mirror(origin, mirror)
    with origin.session():
        record(repository, origin.url, verdict, key)


def verify(origin: Origin, release: str, environment: str, *, home: Path) -> Verdict:
    """Score the hold-out of `release` (40 hex digits) with its model, here, and compare with its claim.

    A model that cannot be scored at all is rejected; a model that cannot be fetched is no verdict.

    Raises:
        StepError: if the model or the hold-out cannot be fetched.
        GitError: if `origin` cannot be reached.

    """
    with workspace(origin, release, home) as space:
        claim = evaluation(space.repository.read(release, EVALUATION), release)
        call(["dvc", "pull", MODEL, HOLDOUT], space.path, timedelta(hours=1))
        out = space.path / "verification.json"
        command = ["python", "-m", "face_attributes", "evaluate"]
        options = ["--model", MODEL, "--holdout", HOLDOUT, "--out", str(out)]
        try:
            call([*command, *options], space.path, timedelta(hours=1))
        except StepError as error:
            return _verdict(release, environment, claim, None, reason=str(error))
        try:
            measured = records.read(Evaluation, out.read_bytes())
        except ParseError as error:
            raise StepError(f"the evaluation that {release[:12]} wrote cannot be read: {error}") from error
    return judge(release, environment, claim, measured)


def judge(release: str, environment: str, claim: Evaluation, measured: Evaluation) -> Verdict:
    """Compare the accuracy measured here with the claim of `metrics/evaluation.json`."""
    reasons: list[str] = []
    if measured.model_sha256 != claim.model_sha256:
        reasons.append(
            f"the model is {measured.model_sha256[:12]}, {EVALUATION} is about {claim.model_sha256[:12]}"
        )
    if measured.samples != claim.samples:
        reasons.append(f"the hold-out has {measured.samples} images, {EVALUATION} speaks of {claim.samples}")
    difference = abs(measured.mean_accuracy - claim.mean_accuracy)
    if difference > TOLERANCE and not math.isclose(difference, TOLERANCE):
        reasons.append(f"mean accuracy is {difference:.4f} off, {TOLERANCE} is allowed")
    check = Check(
        name="mean accuracy",
        value=f"{measured.mean_accuracy:.4f} on {measured.samples} images",
        limit=f"{claim.mean_accuracy:.4f}, {TOLERANCE} off at most",
        result="failed" if reasons else "passed",
    )
    return _verdict(release, environment, claim, measured, reason="; ".join(reasons), checks=[check])


def refused(
    release: str, environment: str, claim: Evaluation | None, reason: str, checks: Sequence[Check]
) -> Verdict:
    """Return the rejection of a release for a reason other than its accuracy, which was not measured."""
    return _verdict(release, environment, claim, None, reason=reason, checks=checks)


def _verdict(
    release: str,
    environment: str,
    claim: Evaluation | None,
    measured: Evaluation | None,
    *,
    reason: str,
    checks: Sequence[Check] = (),
) -> Verdict:
    return Verdict.model_validate(
        {
            "verdict": REJECTED if reason else VERIFIED,
            "environment": environment,
            "release": release,
            "claimed_accuracy": claim.mean_accuracy if claim else None,
            "measured_accuracy": measured.mean_accuracy if measured else None,
            "onnxruntime": version("onnxruntime"),
            "samples": measured.samples if measured else 0,
            "at": datetime.now(UTC),
            "reason": reason,
            "checks": tuple(checks),
            "model_sha256": measured.model_sha256 if measured else None,
        }
    )
