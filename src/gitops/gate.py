"""Gates: what a model must have shown before it is released."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.markup import escape
from rich.table import Table

from gitops.comparison import Compare, Comparison, OneOfMany
from gitops.errors import ComparisonError, GateError, NoModelError, NotComparableError
from gitops.repository import Repository
from gitops.settings import Settings

EVALUATION = "metrics/evaluation.json"
EXPORT = "metrics/export.json"
HOLDOUT = "data/holdout.parquet"
LOCK = "dvc.lock"

_STANDARD_ERRORS = 2.0

# How rarely a model that is no worse may be refused by chance.
_ALPHA = 0.05

_REGRESSION = "no worse than the incumbent"
_NAMED = 3


class Attribute(BaseModel):
    """How one attribute did on the hold-out."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    accuracy: float = Field(ge=0, le=1)


class Evaluation(BaseModel):
    """What `metrics/evaluation.json` says about a model. Accuracies are 0 to 1."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    profile: Literal["full", "small"]
    mean_accuracy: float = Field(ge=0, le=1)
    majority_accuracy: float = Field(ge=0, le=1)
    model_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    samples: int = Field(ge=1)
    per_attribute: dict[str, Attribute] = Field(default_factory=dict)


class Export(BaseModel):
    """What `metrics/export.json` says: how far the shipped model is from the trained one, and may be.

    The float32 variant must say what PyTorch says; the variant that ships may cost a little accuracy.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    max_difference: float = Field(ge=0)
    tolerance: float = Field(gt=0)
    decisions_changed: int = Field(ge=0)
    variant: Literal["float32", "int8"]
    accuracy_loss: float = Field(ge=-1, le=1)
    max_accuracy_loss: float = Field(ge=0, lt=1)
    model_sha256: str


class _Out(BaseModel):
    path: str
    md5: str | None = None


class _Stage(BaseModel):
    outs: list[_Out] = Field(default_factory=list)


class _Lock(BaseModel):
    stages: dict[str, _Stage] = Field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One gate: what was found, what is asked for, what the incumbent has, and whether that passes.

    `remedy` is what to do where a better model would be no answer.
    """

    gate: str
    value: str
    limit: str
    incumbent: str
    ok: bool
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.gate}: {self.value}, {self.limit} is asked for"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as the text of a table's cells, in the order of COLUMNS."""
        return self.gate, self.value, self.limit, self.incumbent, "yes" if self.ok else "no"


COLUMNS = ("gate", "value", "limit", "incumbent", "passes")


def markdown(rows: Sequence[Row]) -> str:
    """Return a verdict as a Markdown table that ends with a newline; a gate that fails is in bold."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for row in rows:
        cells = tuple(cell.replace("|", "\\|") for cell in row.cells)
        lines.append(cells if row.ok else tuple(f"**{cell}**" if cell else "" for cell in cells))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def table(rows: Sequence[Row], title: str = "") -> Table:
    """Return a verdict as a table for a terminal."""
    shown = Table(title=title or None, title_justify="left", show_lines=False)
    for column in COLUMNS:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*map(escape, row.cells), style=None if row.ok else "red")
    return shown


_Figures = TypeVar("_Figures", Evaluation, Export)


def _read(repository: Repository, commit: str, path: str, kind: type[_Figures]) -> _Figures:
    content = repository.read(commit, path)
    if content is None:
        raise NoModelError(
            f"{path}: missing in {commit[:12]}; only a commit with a trained model can be released"
        )
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise GateError(
            f"{path} in {commit[:12]}: {where}: {first['msg']}; train and export again"
        ) from error


def evaluation(repository: Repository, commit: str) -> Evaluation:
    """Read the figures of a commit's model.

    :raises GateError: where the commit has none, or they make no sense.
    """
    return _read(repository, commit, EVALUATION, Evaluation)


def export(repository: Repository, commit: str) -> Export:
    """Read how well a commit's ONNX model repeats the trained one.

    :raises GateError: where the commit does not say, or says nothing sensible.
    """
    return _read(repository, commit, EXPORT, Export)


def tolerance(one: Evaluation, other: Evaluation) -> float:
    """Return by how much two mean accuracies may differ by the luck of their hold-outs: two standard errors.

    Images are counted, not labels: the attributes of one image are far from independent.
    """
    variance = sum(item.mean_accuracy * (1 - item.mean_accuracy) / item.samples for item in (one, other))
    return _STANDARD_ERRORS * math.sqrt(variance)


def holdout(repository: Repository, commit: str) -> str | None:
    """Return the digest of the hold-out set that a commit's `dvc.lock` records, or None where it does not."""
    return locked(repository, commit, HOLDOUT)


def locked(repository: Repository, commit: str, path: str) -> str | None:
    """Return the MD5 of a stage's output that a commit's `dvc.lock` records, or None where it does not.

    :raises GateError: where the lock cannot be read.
    """
    try:
        data = yaml.safe_load(repository.read(commit, LOCK) or b"{}")
        lock = _Lock.model_validate(data)
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise GateError(f"{LOCK} in {commit[:12]}: not what DVC writes; run dvc repro again") from error
    outs = (out for stage in lock.stages.values() for out in stage.outs)
    return next((out.md5 for out in outs if out.path == path), None)


def judge(
    repository: Repository,
    commit: str,
    incumbent: str | None,
    settings: Settings,
    compare: Compare | None = None,
) -> list[Row]:
    """Hold a commit's model against the gates of an environment; `incumbent` is what runs there, if anything.

    With `compare` both models answer the same images on one machine. Where nothing here can compare them, the
    accuracies that both commits record have to do, and the row says so; where comparing fails, so does the
    gate. An incumbent without figures is no obstacle.

    :raises GateError: where the commit lacks the figures.
    """
    figures = evaluation(repository, commit)
    parity = export(repository, commit)
    before: Evaluation | None = None
    if incumbent is not None:
        try:
            before = evaluation(repository, incumbent)
        except GateError:
            before = None
    shown = f"{before.mean_accuracy:.4f}" if before else ""
    threshold = settings.accuracy_threshold
    rows = [
        Row("profile", figures.profile, "full", before.profile if before else "", figures.profile == "full"),
        Row(
            "mean accuracy",
            f"{figures.mean_accuracy:.4f}",
            f"at least {threshold:.4f}",
            shown,
            figures.mean_accuracy >= threshold,
        ),
    ]
    if before and incumbent:
        if before.model_sha256 == figures.model_sha256:
            rows.append(Row(_REGRESSION, "the same model", f"p over {_ALPHA}", shown, True))
        else:
            rows += _beside(repository, commit, incumbent, settings, compare)
    rows.append(
        Row(
            "ONNX equals PyTorch",
            f"{parity.max_difference:.2g} apart, {parity.decisions_changed} decisions changed",
            f"at most {parity.tolerance:.2g}, 0 changed",
            "",
            parity.max_difference <= parity.tolerance and parity.decisions_changed == 0,
        )
    )
    rows.append(
        Row(
            "the variant that ships costs no accuracy",
            f"{parity.variant}, {max(parity.accuracy_loss, 0):.5f} lost",
            f"at most {parity.max_accuracy_loss:.5f}",
            "",
            parity.accuracy_loss <= parity.max_accuracy_loss,
        )
    )
    rows.append(
        Row(
            "exported model is the evaluated one",
            parity.model_sha256[:12],
            figures.model_sha256[:12],
            "",
            parity.model_sha256 == figures.model_sha256,
        )
    )
    return rows


def _beside(
    repository: Repository, commit: str, incumbent: str, settings: Settings, compare: Compare | None
) -> list[Row]:
    if compare is None:
        return [_as_recorded(repository, commit, incumbent, "models are not compared here")]
    try:
        found = compare(repository, commit, incumbent)
        if not _in_time(found, settings):
            # Answers stay the same; how long they took says as much about what else the machine did.
            found = compare(repository, commit, incumbent, anew=True)
    except NotComparableError as error:
        return [_as_recorded(repository, commit, incumbent, str(error))]
    except ComparisonError as error:
        limit, remedy = "a comparison on the same images", "see to that and check again"
        return [Row(_REGRESSION, f"not known: {error}", limit, "", False, remedy)]
    return _compared(found, settings)


def _as_recorded(repository: Repository, commit: str, incumbent: str, why: str) -> Row:
    """Compare what two commits record of their models, without knowing which images each got right."""
    one, other = evaluation(repository, commit), evaluation(repository, incumbent)
    value, shown = f"{one.mean_accuracy:.4f}", f"{other.mean_accuracy:.4f}"
    if holdout(repository, commit) != holdout(repository, incumbent):
        # Accuracies on two sets of images say nothing about each other.
        return Row(_REGRESSION, f"{value} on other images", f"not compared: {why}", shown, True)
    floor = other.mean_accuracy - tolerance(one, other)
    limit = f"at least {floor:.4f} (two standard errors less: {why})"
    return Row(_REGRESSION, value, limit, shown, one.mean_accuracy >= floor)


def _compared(found: Comparison, settings: Settings) -> list[Row]:
    mean, size = found.mean_accuracy, found.size
    times = settings.max_latency_ratio
    return [
        Row(
            _REGRESSION,
            f"{mean.accuracy:.4f} ({mean.difference:+.4f}, {mean.low:+.4f} to {mean.high:+.4f}, "
            f"p {mean.p_worse:.2g})",
            f"p over {_ALPHA}",
            f"{mean.incumbent:.4f}",
            mean.p_worse > _ALPHA,
        ),
        _parts("attribute", found.per_attribute, settings.max_attribute_loss, found.only_incumbent),
        _parts("slice", found.slices, settings.max_slice_loss),
        Row(
            "latency",
            ", ".join(f"{one.ratio:.2f} times at {_words(name)}" for name, one in found.latency.items()),
            f"at most {times:g} times",
            ", ".join(f"{one.incumbent_p50_ms:.3g} ms" for one in found.latency.values()),
            _in_time(found, settings),
        ),
        Row(
            "size",
            f"{size.ratio:.2f} times, {size.bytes:,} bytes",
            f"at most {settings.max_size_ratio:g} times",
            f"{size.incumbent_bytes:,} bytes",
            size.ratio <= settings.max_size_ratio,
        ),
    ]


def _in_time(found: Comparison, settings: Settings) -> bool:
    return all(one.ratio <= settings.max_latency_ratio for one in found.latency.values())


def _parts(kind: str, parts: Mapping[str, OneOfMany], loss: float, lacking: Sequence[str] = ()) -> Row:
    """Return the row that says whether any attribute or slice is worse, beyond chance and beyond `loss`."""
    ranked = sorted(parts.items(), key=lambda item: (item[1].p_worse_holm, item[1].difference))
    worse = [name for name, one in ranked if one.p_worse_holm <= _ALPHA and one.difference < -loss]
    shown = [
        f"{name} {one.difference:+.4f} (p {one.p_worse_holm:.2g})"
        for name, one in ranked
        if name in worse[:_NAMED]
    ]
    if len(worse) > _NAMED:
        shown.append(f"{len(worse) - _NAMED} more")
    if not worse:
        shown = [f"none of {len(parts)}"]
    if lacking:
        shown.append(f"without {_few(lacking)}")
    limit = f"no loss{f' over {loss:g}' if loss else ''} at p up to {_ALPHA} (Holm)"
    return Row(f"no {kind} worse", ", ".join(shown), limit, "", not worse)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _words(name: str) -> str:
    return name.replace("_", " ")
