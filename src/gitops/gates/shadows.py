"""Shadows: how a model did that an environment tried beside its release, on its own batches.

A report is an annotated tag on the commit of the shadow, `shadowed/<env>/<sha12>`, whose message carries the
figures as JSON. The environment signs it like a verdict, and replaces it as more batches arrive.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from gitops.errors import GitError, ParseError, VerdictError
from gitops.gates.comparison import Answers, AttributeDifference, Difference
from gitops.gates.result import GateResult
from gitops.gates.rows import REGRESSION, Side, answered
from gitops.git.objects import Tag
from gitops.git.repository import Repository
from gitops.release.environments import LONGEST_NAME, NAME
from gitops.release.keys import PrivateKey
from gitops.release.settings import Settings
from gitops.release.signatures import Lists, Trust
from gitops.release.verdicts import objection
from gitops.text import record
from gitops.text.markdown import one_line
from gitops.text.record import Count, Digest, Moment, Number, Record, Share

log = logging.getLogger(__name__)

SHADOWED = "shadowed"
_LONGEST = 48_000
"""Bytes of a message: forty attributes with late labels take 17,000."""
_LONGEST_REASON = 300
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Agreement(Record):
    """How often two models give the same answer about an attribute, on images whose truth is not known.

    `yes` are the shares of images that have the attribute by each model, and `distance` is the largest
    distance between the distributions of their scores.
    """

    agreement: Share
    yes: Share
    incumbent_yes: Share
    distance: Share


class Times(Record):
    """Milliseconds of a call of both models, in turns, on the environment's own machine."""

    p50_ms: Number
    incumbent_p50_ms: Number
    ratio: Number
    ratio_low: Number | None = None

    @property
    def at_least(self) -> float:
        """The lower end of the 95% interval of the ratio, or the ratio where there is no interval."""
        return self.ratio if self.ratio_low is None else self.ratio_low


class Paired(Record):
    """Both models on `samples` images with late labels."""

    samples: Annotated[int, Field(ge=1)]
    mean_accuracy: Difference
    per_attribute: dict[str, AttributeDifference] = Field(min_length=1)


class Figures(Record):
    """The output of `python -m face_attributes shadow`.

    `answered` are the images that the other model scored in place of the release's, at the present share.
    """

    format: Literal[1] = 1
    images: Annotated[int, Field(ge=1)]
    batches: Annotated[int, Field(ge=1)]
    answered: Count = 0
    agreement: Share
    per_attribute: dict[str, Agreement] = Field(min_length=1)
    only_incumbent: list[str]
    latency: dict[str, Times]
    labelled: Count
    comparison: Paired | None


class Shadowed(Record):
    """The report of an environment on a shadow.

    Attributes:
        release: The commit whose model ran beside the release.
        incumbent: The commit of the release.
        model_sha256: The digest of the model of the shadow.
        incumbent_sha256: The digest of the model of the release.
        failed: The batches that the shadow could not score.
        reason: Why it could not score the last of them.
        share: The share of the batches that it scores in place of the release, in percent; None of a shadow.
        figures: The comparison, or None if it scored no batch.

    """

    format: Literal[1] = 1
    environment: str = Field(pattern=NAME, max_length=LONGEST_NAME)
    release: _Commit
    incumbent: _Commit
    model_sha256: Digest
    incumbent_sha256: Digest
    at: Moment
    failed: Count = 0
    reason: str = Field(default="", max_length=_LONGEST_REASON)
    share: Annotated[int, Field(ge=1, le=99)] | None = None
    figures: Figures | None = None

    @property
    def tag(self) -> str:
        """The name of its tag."""
        return f"{SHADOWED}/{self.environment}/{self.release[:12]}"

    @property
    def images(self) -> int:
        """The images that both models scored."""
        return self.figures.images if self.figures else 0

    @property
    def answered(self) -> int:
        """The images that it scored in place of the release, at the present share."""
        return self.figures.answered if self.figures else 0

    def judge(self, settings: Settings) -> list[GateResult]:
        """Return the rows of the gates by the labelled images; no rows without a comparison."""
        if self.figures is None or self.figures.comparison is None:
            return []
        paired = self.figures.comparison
        answers = Answers(
            model_sha256=self.model_sha256,
            incumbent_sha256=self.incumbent_sha256,
            samples=paired.samples,
            mean_accuracy=paired.mean_accuracy,
            per_attribute=paired.per_attribute,
            slices={},
            only_model=[],
            only_incumbent=self.figures.only_incumbent,
            contradictions=None,
        )
        return answered([Side(REGRESSION, "the incumbent", answers)], settings)

    def __str__(self) -> str:
        figures = self.figures
        text = f"{self.images} images"
        if self.share is not None:
            text += f", {self.answered} of them answered by the canary"
        if figures is not None:
            text += f", {figures.agreement:.1%} agreement"
            if paired := figures.comparison:
                mean = paired.mean_accuracy
                text += (
                    f", {100 * mean.difference:+.2f} points of accuracy ({100 * mean.low:+.2f} to "
                    f"{100 * mean.high:+.2f}) on {paired.samples} labelled ones"
                )
        return f"{text}, {self.failed} failed batches{f': {self.reason}' if self.reason else ''}"

    @property
    def message(self) -> str:
        """The tag's message: one line for people, then the figures as JSON."""
        kind = "shadow" if self.share is None else f"canary at {self.share}%"
        summary = f"{kind} of {self.incumbent[:12]} in {self.environment}: {one_line(self, longest=400)}"
        content = json.dumps(self.model_dump(mode="json"), separators=(",", ":"))
        return f"{summary}\n\n{content}"

    @classmethod
    def read(cls, tag: Tag) -> Self:
        """Read the report that a tag carries, in the one form in which an environment writes it.

        Raises:
            VerdictError: where it carries none, or its name, its message and its date do not agree.

        """
        if tag.problem:
            raise VerdictError(f"it is {tag.problem}")
        try:
            report = record.read(cls, tag.message.partition("\n\n")[2].encode(), largest=_LONGEST)
        except ParseError as error:
            raise VerdictError(f"its message carries no report ({error})") from error
        if (report.tag, report.release) != (tag.name, tag.commit):
            raise VerdictError(f"its message is that of {report.tag}")
        if f"\ntag {tag.name}\n".encode() not in tag.signed.partition(b"\n\n")[0]:
            raise VerdictError("its object has another name")
        if tag.at is None or int(report.at.timestamp()) != int(tag.at.timestamp()):
            raise VerdictError("its message states another time than its date")
        return report


def reports(
    repository: Repository, lists: Lists, environment: str, *, remote: str | None = None
) -> list[Shadowed]:
    """Return the reports of an environment that count, newest first; others are logged."""
    found: list[Shadowed] = []
    for tag in repository.tags(f"{SHADOWED}/{environment}", remote=remote):
        try:
            report = Shadowed.read(tag)
            if reason := objection(tag, report, lists, datetime.now(UTC)):
                raise VerdictError(reason)
            found.append(report)
        except VerdictError as error:
            log.warning("%s: ignored, %s", one_line(tag.name), error)
    return sorted(found, key=lambda report: report.at, reverse=True)


def publish(
    repository: Repository, remote: str, report: Shadowed, key: PrivateKey, *, main: str = "main"
) -> None:
    """Push a report as a signed tag, in the place of an earlier one.

    Raises:
        VerdictError: if the report is too long for a tag, or main does not list the key.

    """
    if len(report.message.encode()) > _LONGEST:
        raise VerdictError(f"{report.tag}: longer than {_LONGEST:,} bytes")
    repository.fetch(remote)
    try:
        tip = repository.resolve(repository.branch_ref(remote, main))
    except GitError as error:
        raise VerdictError(f"{report.tag}: {remote} has no branch {main}") from error
    listed = Trust.load(repository, tip, (report.environment,), remote=remote).lists.keys(report.environment)
    if listed is None or key.public not in listed.keys:
        raise VerdictError(f"{report.tag}: main does not list the key of {report.environment}")
    made = repository.tag(report.release, report.tag, report.message, at=report.at, sign=key.sign)
    before = [tag.object_id for tag in repository.tags(report.tag, remote=remote) if tag.name == report.tag]
    reference = f"refs/tags/{report.tag}"
    repository.push(remote, {reference: made}, leases={reference: before[0] if before else None})
    log.info("%s: recorded", report.tag)
