"""The JSON files of monitoring: the result of each check, and the record of decisions.

The commands of this release write `drift.json` and `performance.json`. `monitoring/decisions.jsonl` also has
lines of earlier releases.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

Moment = Annotated[AwareDatetime, PlainSerializer(datetime.isoformat, when_used="json")]
"""A time with its zone, written as `2026-01-07T15:00:00+00:00`."""


class Record(BaseModel):
    """A file, or a part of one. Keys without a field here are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


def problem(error: ValidationError) -> str:
    """Return the first problem on one line: the key and the fault."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"


class Column(Record):
    """How far a column is from its reference."""

    distance: float


class Joint(Record):
    """The test of all columns and windows together."""

    differs: bool
    columns: list[str]


class FirstWeeks(Record):
    """The comparison with the images that the model scored in its first weeks, from `since` to `until`."""

    since: str
    until: str
    drifted: bool
    columns_drifted: list[str]
    columns: dict[str, Column]
    """Those that drifted."""
    joint: Joint | None = None


class Drift(Record):
    """Contents of `drift.json`. `drifted` is None if there is not enough data."""

    format: Literal[1] = 1
    release: str
    model_sha256: str
    since: str | None
    until: str | None
    rows: int
    repeated: int = 0
    """Images that were scored before and so count once. Earlier releases did not write it."""
    reference_rows: int
    minimum: int
    alarm_after: int
    enough_data: bool
    drifted: bool | None
    windows: list[dict[str, object]]
    columns_drifted: list[str]
    joint: Joint | None = None
    """None without enough data. Earlier releases did not write it."""
    kinds: list[str] = Field(default_factory=list)
    """`images changed` and `answers shifted`. Earlier releases did not write these three."""
    confidence_change: float | None = None
    """The probable change of the accuracy, from the confidences of the model. None without drift."""
    probably_harmless: bool | None = None

    @property
    def only_images(self) -> bool:
        """Whether the images changed, the answers did not shift, and the accuracy is probably the same."""
        return self.kinds == ["images changed"] and bool(self.probably_harmless)

    raised_by: list[str] = Field(default_factory=list)
    """The references that raise the alarm: `training`, `first weeks`. Earlier releases did not write it."""
    first_weeks: FirstWeeks | None = None
    """None in the first weeks of a model. Earlier releases did not write it."""
    columns: dict[str, Column]


class Performance(Record):
    """Contents of `performance.json`. Accuracies and comparisons are None if there are not enough labels."""

    format: Literal[1] = 1
    release: str
    model_sha256: str
    since: str | None
    until: str | None
    images: int
    label_files_left_out: int = 0
    """Lists that could not be used. Earlier releases failed instead."""
    left_out: list[str] = Field(default_factory=list)
    """The first of them, with the reasons."""
    minimum: int
    enough_labels: bool
    threshold: float
    claimed_accuracy: float | None = None
    max_loss: float = 0.0
    below_threshold: bool | None
    below_release: bool | None = None
    mean_accuracy: float | None
    mean_accuracy_low: float | None
    mean_accuracy_high: float | None


class Episode(Record):
    """An alarm from the check that raises it: the run that raised it, the time, and its state by now."""

    id: str
    since: Moment
    state: Literal["begins", "goes on", "clears"]


class _Check(Record):
    """A check. Lines of earlier releases have neither `episodes` nor `batches`."""

    format: Literal[1] = 1
    run_id: str
    at: Moment
    episodes: dict[str, Episode | None] = Field(default_factory=dict)
    batches: list[str] = Field(default_factory=list)
    """The labelled batches that waited for a training."""


class Past(_Check):
    """The part of a line of the record that the next check reads."""

    release: str = ""
    profile: str = ""
    triggered: str | None = None


class Line(_Check):
    """A line of `monitoring/decisions.jsonl`: one check, and the decision."""

    environment: str
    release: str
    model_sha256: str
    decision: Literal["retrain", "skip"]
    reasons: list[str]
    triggered: str | None
    profile: str
    alarm: list[str]
    drift: Mapping[str, object]
    performance: Mapping[str, object]
    evidence: str
