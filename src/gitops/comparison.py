"""A comparison of two models, as `python -m face_attributes compare` of a release writes it."""

from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import ComparisonError
from gitops.repository import Repository

_DIGEST = r"^[0-9a-f]{64}$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Difference(_Strict):
    """How far the accuracy (0 to 1) is from the incumbent's, with its 95% interval from `low` to `high`.

    `p_worse` is how likely chance alone makes a model that is no worse look this much worse.
    """

    accuracy: float = Field(ge=0, le=1)
    incumbent: float = Field(ge=0, le=1)
    difference: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    p_worse: float = Field(ge=0, le=1)


class OneOfMany(Difference):
    """A difference that is tested beside others: `p_worse_holm` is adjusted for their number."""

    p_worse_holm: float = Field(ge=0, le=1)


class Slice(OneOfMany):
    """The difference on `count` of the images."""

    by: str
    count: int = Field(ge=1)


class Latency(_Strict):
    """Milliseconds of a call, the median, of both models in turns."""

    p50_ms: float = Field(gt=0)
    incumbent_p50_ms: float = Field(gt=0)
    ratio: float = Field(gt=0)


class Size(_Strict):
    """Bytes of both files."""

    bytes: int = Field(gt=0)
    incumbent_bytes: int = Field(gt=0)
    ratio: float = Field(gt=0)


class Comparison(_Strict):
    """Two models on the same images, on the same machine at the same time."""

    format: Literal[1]
    model_sha256: str = Field(pattern=_DIGEST)
    incumbent_sha256: str = Field(pattern=_DIGEST)
    holdout_sha256: str = Field(pattern=_DIGEST)
    samples: int = Field(ge=1)
    resamplings: int = Field(ge=1)
    mean_accuracy: Difference
    per_attribute: dict[str, OneOfMany] = Field(min_length=1)
    slices: dict[str, Slice]
    only_model: list[str]
    only_incumbent: list[str]
    latency: dict[str, Latency] = Field(min_length=1)
    size: Size
    onnxruntime: str
    cores: int = Field(ge=1)


class Compare(Protocol):
    """Compares the model of a commit with that of an incumbent, both of which the repository has."""

    def __call__(
        self, repository: Repository, commit: str, incumbent: str, /, *, anew: bool = False
    ) -> Comparison:
        """Return the comparison; `anew` where one that is known from before will not do.

        :raises NotComparableError: where nobody could compare them here.
        :raises ComparisonError: where it failed.
        """
        ...


def parse(content: bytes, name: str) -> Comparison:
    """Read a comparison; `name` is how errors call it.

    :raises ComparisonError: for anything that `face_attributes` would not write.
    """
    try:
        return Comparison.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise ComparisonError(f"{name}: {where}: {first['msg']}") from error
