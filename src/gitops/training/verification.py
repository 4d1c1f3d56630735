"""Verification: an environment scores its release's own hold-out set and records whether the claim holds."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from gitops import disk
from gitops.dvc.run import call
from gitops.errors import KilledError, ParseError, StepError, TimeLimitError
from gitops.git.workspace import Origin, update_mirror, workspace
from gitops.model import decisions
from gitops.model.decisions import Decisions
from gitops.model.evaluation import Evaluation, evaluation
from gitops.paths import EVALUATION, HOLDOUT, MODEL
from gitops.release import checks
from gitops.release.checks import Check
from gitops.release.keys import PrivateKey
from gitops.release.runtimes import Runtime
from gitops.release.verdicts import REJECTED, VERIFIED, Verdict, Verdicts, record
from gitops.text import record as records
from gitops.text.record import Record
from gitops.training import reverification

# The same model on the same images differs between processors in the last bits of a score, which moves a
# decision or two in ten thousand; ten times that is another model or another set of images.
TOLERANCE = 0.002
_COMMANDS = "src/face_attributes/cli.py"
_DETAILED = re.compile(rb"^    details: Annotated\[", re.MULTILINE)
"""The option of the evaluation, which has the name of its parameter."""


def knows_details(commands: bytes) -> bool:
    """Return whether the evaluation of a release has the option `--details`, by the file of its commands."""
    return _DETAILED.search(commands) is not None


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
    verified = verdicts.every(environment, release)
    present, doubted = Runtime.present(), verdicts.doubted(environment, release)
    if verified and not reverification.due(verified, present, datetime.now(UTC), doubted=doubted)[0]:
        return f"already verified in {environment}"
    if verdicts.rejected(environment, release):
        return f"already rejected in {environment}"
    return None


def publish(origin: Origin, verdict: Verdict, *, mirror: Path, key: PrivateKey | None = None) -> Verdict:
    """Push a verdict as a tag, signed with a key, by default that of this process; again changes nothing.

    Returns:
        The verdict as it was pushed: a further verification of a release has a tag of its runtime, and so has
        a rejection on a runtime on which the environment never verified it.

    Raises:
        GitError: if `origin` cannot be reached or refuses.
        KeyFileError: if this process has no key.
        VerdictError: if the key is not listed on main.

    """
    key = key or PrivateKey.of_process()
    repository, environment = update_mirror(origin, mirror), verdict.environment
    known = Verdicts.of_environment(repository, origin.url, environment, commits=(verdict.release,))
    earlier, runtime = known.every(environment, verdict.release), verdict.runtime
    if verdict.verdict == VERIFIED:
        again = bool(earlier) and earlier[0].at != verdict.at
    else:
        # Where it was verified as well, the runtime is not the reason.
        there = [one.runtime for one in earlier if one.runtime is not None]
        again = bool(there) and runtime is not None and not any(map(runtime.same_image, there))
    if again:
        verdict = verdict.model_copy(update={"again": True})
    with origin.session():
        record(repository, origin.url, verdict, key)
    return verdict


class Speed(Record):
    """Contents of `latency.json` of a verification."""

    p50_ms: float = Field(ge=0, le=1e9)


def verify(
    origin: Origin, release: str, environment: str, *, home: Path, mirror: Path | None = None
) -> Verdict:
    """Score the hold-out of `release` (40 hex digits) with its model, here, and compare with its claim.

    The decisions are compared with those that the release records, and the latency with that of the
    verification before, which is read from `mirror`, the environment's own bare copy of `origin`.

    A model that cannot be scored at all is rejected; a model that cannot be fetched is no verdict. Nor is
    there one if the environment itself is ill: its disk is full, no program starts, the evaluation takes too
    long, or the system killed it, as it does when memory runs out. The next run tries again.

    Raises:
        StepError: if the model or the hold-out cannot be fetched, or the environment is ill.
        GitError: if `origin` cannot be reached.

    """
    with workspace(origin, release, home) as space:
        claim = evaluation(space.repository.read(release, EVALUATION), release)
        call(["dvc", "pull", MODEL, HOLDOUT], space.path, timedelta(hours=1))
        out = space.path / "verification.json"
        details = space.path / "verification"
        details.mkdir()
        command = ["python", "-m", "face_attributes", "evaluate"]
        options = ["--model", MODEL, "--holdout", HOLDOUT, "--out", str(out)]
        # A release of before has no such option.
        detailed = knows_details(space.repository.read(release, _COMMANDS) or b"")
        more = ["--details", str(details)] if detailed else []
        try:
            call([*command, *options, *more], space.path, timedelta(hours=1))
        except StepError as error:
            if ill := _illness(space.path, error):
                raise StepError(f"no verdict on {release[:12]}: {ill}") from error
            return _verdict(release, environment, claim, None, reason=str(error))
        try:
            measured = records.read(Evaluation, out.read_bytes())
            answers = records.read_file(Decisions, details / "decisions.json") if detailed else None
            speed = records.read_file(Speed, details / "latency.json").p50_ms if detailed else None
        except (OSError, ParseError) as error:
            raise StepError(f"the evaluation that {release[:12]} wrote cannot be read: {error}") from error
        recorded = decisions.of_commit(space.repository, release)
    found = (
        reverification.decisions(recorded, answers, TOLERANCE),
        reverification.latency(speed, _before(origin, release, environment, mirror) if mirror else None),
    )
    return _with(judge(release, environment, claim, measured), [check for check in found if check], speed)


def _illness(folder: Path, failure: StepError) -> str | None:
    """Return why a failure in a folder is no fault of the release; None if it may be one."""
    if full := disk.trouble([folder]):
        return full
    if isinstance(failure, KilledError):
        return f"the system killed the evaluation: {failure}"
    if isinstance(failure, TimeLimitError):
        return f"the evaluation took too long here: {failure}"
    try:
        call(["python", "-c", ""], folder, timedelta(minutes=1))
    except StepError as error:
        return f"no program starts here: {error}"
    return None


def _before(origin: Origin, release: str, environment: str, mirror: Path) -> Verdict | None:
    """Return the last verification of a release here, or else of the last one that was verified here."""
    repository = update_mirror(origin, mirror)
    verdicts = Verdicts.of_environment(repository, origin.url, environment, commits=(release,))
    known = verdicts.every(environment, release) or tuple(verdicts.verifications(environment))
    return known[-1] if known else None


def _with(verdict: Verdict, found: Sequence[Check], milliseconds: float | None) -> Verdict:
    """Return a verdict with more checks; one that failed makes it a rejection."""
    failed = checks.failures(found)
    reason = "; ".join(filter(None, [verdict.reason, failed]))
    update = {"checks": (*verdict.checks, *found), "latency_ms": milliseconds, "reason": reason}
    return verdict.model_copy(update=update | ({"verdict": REJECTED} if failed else {}))


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
    return _verdict(release, environment, claim, measured, reason="; ".join(reasons), found=[check])


def refused(
    release: str, environment: str, claim: Evaluation | None, reason: str, found: Sequence[Check]
) -> Verdict:
    """Return the rejection of a release for a reason other than its accuracy, which was not measured."""
    return _verdict(release, environment, claim, None, reason=reason, found=found)


def _verdict(
    release: str,
    environment: str,
    claim: Evaluation | None,
    measured: Evaluation | None,
    *,
    reason: str,
    found: Sequence[Check] = (),
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
            "checks": tuple(found),
            "model_sha256": measured.model_sha256 if measured else None,
            "runtime": Runtime.present(),
        }
    )
