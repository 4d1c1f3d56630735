"""Contents of `metrics/decisions.json`: the answer of a model about each image of its hold-out set."""

import base64
from collections.abc import Set
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gitops.errors import GateError, ParseError
from gitops.git.repository import Repository
from gitops.paths import DECISIONS
from gitops.text import record
from gitops.text.record import Digest, Record

EVERYBODY = "all images"
DIGEST_BYTES = 8
# A bound, as the code of a branch writes it; the file of CelebA's 20,000 images has half a megabyte.
_MOST_IMAGES = 100_000
# Rates are computed for each attribute in each slice.
_MOST_ATTRIBUTES, _MOST_SLICES = 400, 100
_Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class Answer(Record):
    """The true answer and the decision for one attribute, a bit for each image."""

    truth: _Base64
    decisions: _Base64


class Part(Record):
    """The images of one slice, a bit for each image."""

    by: str
    images: _Base64


class Decisions(Record):
    """The decisions of a model about the images of a hold-out set."""

    format: Literal[1] = 1
    model_sha256: Digest
    holdout_md5: str = Field(pattern=r"^[0-9a-f]{32}$")
    samples: int = Field(ge=1, le=_MOST_IMAGES)
    images: _Base64
    attributes: dict[str, Answer] = Field(min_length=1, max_length=_MOST_ATTRIBUTES)
    slices: dict[str, Part] = Field(max_length=_MOST_SLICES)

    @model_validator(mode="after")
    def _about_all_images(self) -> Self:
        if len(_decoded(self.images)) != DIGEST_BYTES * self.samples:
            raise ValueError(f"images: not {DIGEST_BYTES} bytes for each of {self.samples} images")
        columns = {f"slices.{name}": [part.images] for name, part in self.slices.items()}
        columns |= {f"attributes.{name}": [one.truth, one.decisions] for name, one in self.attributes.items()}
        for name, texts in columns.items():
            if any(len(_decoded(text)) != (self.samples + 7) // 8 for text in texts):
                raise ValueError(f"{name}: not a bit for each of {self.samples} images")
        if EVERYBODY in self.slices:
            raise ValueError(f"slices: {EVERYBODY!r} is no part of the images")
        return self

    @cached_property
    def digests(self) -> list[bytes]:
        """The digest of each image."""
        content = _decoded(self.images)
        return [content[start : start + DIGEST_BYTES] for start in range(0, len(content), DIGEST_BYTES)]

    def bits(self, text: str) -> list[bool]:
        """Return a column, a value for each image."""
        content = _decoded(text)
        return [bool(content[index >> 3] >> (index & 7) & 1) for index in range(self.samples)]

    def without(self, images: Set[bytes]) -> Self:
        """Return the decisions about the images that do not have these digests."""
        kept = [index for index, digest in enumerate(self.digests) if digest not in images]
        if len(kept) in (0, self.samples):
            return self

        def column(text: str) -> str:
            bits = self.bits(text)
            packed = sum(bits[index] << place for place, index in enumerate(kept))
            return _encoded(packed.to_bytes((len(kept) + 7) // 8, "little"))

        return type(self)(
            model_sha256=self.model_sha256,
            holdout_md5=self.holdout_md5,
            samples=len(kept),
            images=_encoded(b"".join(self.digests[index] for index in kept)),
            attributes={
                name: Answer(truth=column(one.truth), decisions=column(one.decisions))
                for name, one in self.attributes.items()
            },
            slices={name: Part(by=part.by, images=column(part.images)) for name, part in self.slices.items()},
        )

    @property
    def accuracy(self) -> float:
        """The mean accuracy."""
        wrong = sum(self.wrong(name).bit_count() for name in self.attributes)
        return 1 - wrong / (self.samples * len(self.attributes))

    def wrong(self, attribute: str) -> int:
        """Return a bit for each image, which is set where the decision is wrong; the first is the lowest."""
        one = self.attributes[attribute]
        truth, decided = (int.from_bytes(_decoded(text), "little") for text in (one.truth, one.decisions))
        return (truth ^ decided) & (1 << self.samples) - 1


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def of_commit(repository: Repository, commit: str) -> Decisions | None:
    """Return the decisions that a commit records; None where it records none.

    Raises:
        GateError: if they are not valid.

    """
    content = repository.read(commit, DECISIONS)
    if content is None:
        return None
    try:
        return record.read(Decisions, content)
    except ParseError as error:
        raise GateError(
            f"{DECISIONS} in {commit[:12]}",
            str(error),
            "run: source .venv/bin/activate && dvc repro evaluate",
        ) from error
