"""The parameters of a run: `params.yaml`, strictly validated, and the overlays for profiles.

Drawn faces and photographs need different values. So a value may be a map with a value for each data.source,
such as `epochs: {synthetic: 6, celeba: 24}`. The stages see the value of the chosen source.
"""

import difflib
import io
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams
from face_attributes.common.celeba_attributes import Align
from face_attributes.common.errors import ParamsError
from face_attributes.common.files import write_text

PARAMS_FILE = Path("params.yaml")
Source = Literal["synthetic", "celeba"]
SOURCES: tuple[Source, ...] = get_args(Source)
# The hyperparameters that the search may change; the rest of `train` is constant
SEARCHED = ("learning_rate", "weight_decay", "dropout", "width", "augmentation")

_LARGEST_LEARNING_RATE = 1
_LARGEST_WEIGHT_DECAY = 10
_NOT_CHOSEN = "not chosen"
_DEEPEST = 50
"""Lists and mappings inside one another. ruamel.yaml takes minutes for thousands."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Width = Annotated[int, Field(ge=4, le=128)]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DataParams(_Section):
    """The source of the photographs."""

    source: Source
    attributes: list[str] | None = Field(min_length=1, json_schema_extra={"uniqueItems": True})
    max_images: int | None = Field(ge=10)
    max_bad_fraction: Fraction
    align: Align
    synthetic: SyntheticParams

    @field_validator("attributes")
    @classmethod
    def _different(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("names an attribute twice")
        return names


class PrepareParams(_Section):
    """The input of the network, and the size of the sample."""

    shrink: int = Field(ge=2, le=6)
    sample: int = Field(ge=1)


class Range(_Section):
    """An interval of the search space."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        return self


class PositiveRange(Range):
    """An interval with a logarithmic scale."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)


class FractionRange(Range):
    """An interval within [0, 1]."""

    low: Fraction
    high: Fraction


class LearningRateRange(PositiveRange):
    """An interval of learning rates that a training takes."""

    high: float = Field(gt=0, le=_LARGEST_LEARNING_RATE)


class WeightDecayRange(PositiveRange):
    """An interval of weight decays that a training takes."""

    high: float = Field(gt=0, le=_LARGEST_WEIGHT_DECAY)


class DropoutRange(FractionRange):
    """An interval of dropouts that a training takes."""

    high: float = Field(ge=0, lt=1)


class AugmentationRange(Range):
    """An interval of augmentation strengths."""

    low: float = Field(ge=0, le=3)
    high: float = Field(ge=0, le=3)


class SpaceParams(_Section):
    """The search space."""

    learning_rate: LearningRateRange
    weight_decay: WeightDecayRange
    dropout: DropoutRange
    width: list[Width] = Field(min_length=1)
    augmentation: AugmentationRange


class TuneParams(_Section):
    """The budget and the space of the search."""

    trials: int = Field(ge=1, le=1000)
    minutes: float | None = Field(gt=0)
    images: int = Field(ge=10)
    epochs: Epochs
    seed: Seed
    space: SpaceParams
    # Files of earlier releases lack these
    parallel: int = Field(default=1, ge=1, le=64)
    price: Fraction = 0.0


class TrainParams(_Section):
    """The parameters of the training."""

    seed: Seed
    epochs: Epochs
    max_minutes: float | None = Field(gt=0)
    batch_size: int = Field(ge=2, le=65536)
    learning_rate: float = Field(gt=0, le=_LARGEST_LEARNING_RATE)
    weight_decay: float = Field(ge=0, le=_LARGEST_WEIGHT_DECAY)
    dropout: float = Field(ge=0, lt=1)
    width: Width
    augmentation: float = Field(ge=0, le=3)
    ema_decay: float = Field(ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda"]
    # Files of earlier releases lack it
    threads: int = Field(default=4, ge=1, le=256)
    processes: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = 1


class ExportParams(_Section):
    """The variant of the exported model, and its limits."""

    variant: Literal["auto", "float32", "int8"]
    tolerance: float = Field(gt=0, lt=1)
    max_accuracy_loss: float = Field(ge=0, lt=1)


class EvaluateParams(_Section):
    """The parameters of the evaluation."""

    bootstrap: int = Field(ge=10, le=100_000)
    seed: Seed
    worst: int = Field(ge=1, le=400)


class Params(_Section):
    """All of `params.yaml`."""

    profile: Literal["full", "small"]
    data: DataParams
    prepare: PrepareParams
    tune: TuneParams
    train: TrainParams
    export: ExportParams
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def _starts_inside_the_space(self, info: ValidationInfo) -> "Params":
        # The first trial is `train` as written, so it must lie in the search space
        if info.context == _NOT_CHOSEN:
            return self
        for name in SEARCHED:
            value, space = getattr(self.train, name), getattr(self.tune.space, name)
            if isinstance(space, list):
                inside, described = value in space, f"one of {', '.join(map(str, space))}"
            else:
                inside, described = space.low <= value <= space.high, f"{space.low:g} to {space.high:g}"
            if not inside:
                raise ValueError(f"train.{name}: {value:g} is outside tune.space.{name} ({described})")
        return self


def load(path: Path = PARAMS_FILE, source: str | None = None) -> Params:
    """Read and check a parameter file.

    Args:
        path: The file.
        source: The value of data.source, in place of the value in the file.

    Raises:
        ParamsError: The file is missing, not YAML, or has an unknown, missing or invalid value.

    """
    document = _to_plain(_read(path))
    if source is not None and isinstance(document.get("data"), dict):
        document["data"]["source"] = source
    return _checked(document, path)


def _checked(document: dict[str, Any], path: Path) -> Params:
    data = document.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    # If the source itself is invalid, validation reports that
    chosen = source if source in SOURCES else SOURCES[0]
    try:
        params = Params.model_validate(_for_source(document, chosen))
    except ValidationError as error:
        raise ParamsError(f"{path}: {describe(error)}") from None
    # The values of another source must be valid too. Who tunes the present one need not tune the others.
    for other in SOURCES:
        try:
            Params.model_validate(_for_source(document, other), context=_NOT_CHOSEN)
        except ValidationError as error:
            raise ParamsError(f"{path}: for data.source {other}: {describe(error)}") from None
    return params


def _for_source(value: Any, source: str) -> Any:
    """Return a document in which each map by source is replaced by its value for `source`."""
    if _by_source(value):
        return value[source]
    if isinstance(value, dict):
        return {key: _for_source(item, source) for key, item in value.items()}
    return value


def _by_source(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(SOURCES)


def schema() -> dict[str, Any]:
    """Return the checks of `load` as data: a JSON Schema, and rules that JSON Schema cannot express.

    `gitops check` runs no code of a commit, so it validates parameters with the schema of that commit.
    `gitops.dvc.parameters` reads the rules. Only the stages check whether several shares of drawn attributes
    are possible at once.
    """
    document = without_titles(Params.model_json_schema())
    marginals = document["$defs"]["SyntheticParams"]["properties"]["marginals"]
    marginals["propertyNames"] = {"enum": list(DRAWN_ATTRIBUTES)}
    space = "tune.space"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": str(PARAMS_FILE),
        "x-by-source": {"key": "data.source", "sources": list(SOURCES)},
        "x-rules": [
            *({"value": f"train.{name}", "within": f"{space}.{name}"} for name in SEARCHED),
            *(
                {"low": f"{space}.{name}.low", "below": f"{space}.{name}.high"}
                for name, field in SpaceParams.model_fields.items()
                if isinstance(field.annotation, type) and issubclass(field.annotation, Range)
            ),
        ],
        **document,
    }


def without_titles(value: Any) -> Any:
    """Remove the titles that pydantic derives from the names."""
    if isinstance(value, dict):
        return {
            key: without_titles(item)
            for key, item in value.items()
            if not (key == "title" and isinstance(item, str))
        }
    return [without_titles(item) for item in value] if isinstance(value, list) else value


def apply_profile(name: str, path: Path = PARAMS_FILE) -> Params:
    """Merge `params.<name>.yaml` into the file `path` beside it, keep the comments, and return the result.

    The result is validated before it is written, so an invalid overlay leaves the file unchanged.

    Raises:
        ParamsError: There is no such overlay, or it has an unknown key or an invalid value.

    """
    overlay_path = path.with_name(f"{path.stem}.{name}{path.suffix}")
    if not overlay_path.is_file():
        prefix, suffix = f"{path.stem}.", path.suffix
        there = sorted(
            file.name[len(prefix) : -len(suffix)]
            for file in path.parent.glob(f"{prefix}*{suffix}")
            if file != path
        )
        problem = (
            f'unknown profile "{name}": there is no {overlay_path}. Available: {", ".join(there) or "none"}. '
            f"To undo a profile: git restore {path}"
        )
        raise ParamsError(problem, command=".venv/bin/python -m face_attributes profile small")
    document = _read(path)
    _merge(document, _read(overlay_path), overlay_path, ())
    params = _checked(_to_plain(document), overlay_path)
    stream = io.StringIO()
    _yaml().dump(document, stream)
    write_text(path, stream.getvalue())
    return params


def _merge(base: dict[Any, Any], overlay: dict[Any, Any], path: Path, trail: tuple[str, ...]) -> None:
    for key, value in overlay.items():
        where = ".".join((*trail, str(key)))
        if key not in base:
            raise ParamsError(f"{path}: {where}: {_unknown(str(key), map(str, base))}")
        if _by_source(base[key]) or _by_source(value):
            base[key] = value
        elif isinstance(value, dict) and isinstance(base[key], dict):
            _merge(base[key], value, path, (*trail, str(key)))
        elif isinstance(value, dict) or isinstance(base[key], dict):
            raise ParamsError(f"{path}: {where}: must {'not ' * isinstance(value, dict)}be a section")
        else:
            base[key] = value


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), _represent_null)
    return yaml


def _represent_null(representer: RoundTripRepresenter, _: None) -> ScalarNode:
    # ruamel.yaml would write an empty value, and so change lines that the overlay does not contain
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _read(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run this in the repository's root") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read: {error}") from None
    if _depth(text) > _DEEPEST:
        raise ParamsError(f"{path}: more than {_DEEPEST} brackets inside one another")
    try:
        document = _yaml().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ParamsError(f"{path}{line}: {' '.join(str(problem).split())}") from None
    if not isinstance(document, CommentedMap):
        raise ParamsError(f"{path}: must hold sections (profile, data, prepare ...)")
    return document


def _depth(text: str) -> int:
    """Return how deep the brackets of a text go at most."""
    steps = ({"[": 1, "{": 1, "]": -1, "}": -1}.get(letter, 0) for letter in text)
    return max(accumulate(steps), default=0)


def _to_plain(value: Any) -> Any:
    """Convert the round-trip types of ruamel.yaml to plain types for strict validation."""
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return value


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Describe all errors on one line, unknown keys first, because a missing key is often misspelt."""
    model = model or Params
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    suggested: set[str] = set()
    lines = []
    for fault in faults:
        where = ".".join(map(str, fault["loc"]))
        if where in suggested:
            continue
        if fault["type"] == "extra_forbidden":
            key = str(fault["loc"][-1])
            hint = _unknown(key, _fields(model, fault["loc"][:-1]))
            suggested.update(
                ".".join(map(str, (*fault["loc"][:-1], field)))
                for field in _fields(model, fault["loc"][:-1])
                if hint.endswith(f"did you mean {field}?")
            )
            lines.append(f"{where}: {hint}")
        else:
            lines.append(f"{where}: {_fault(fault)}" if where else _fault(fault))
    return "; ".join(lines)


def _fault(fault: ErrorDetails) -> str:
    if fault["type"] == "missing":
        return "missing"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return message
    if isinstance(fault["input"], dict):
        return f"{fault['input']}: must be one value, or one for each of {', '.join(SOURCES)}"
    return f"{fault['input']!r}: {message[:1].lower()}{message[1:]}"


def _unknown(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"unknown, did you mean {close[0]}?" if close else "unknown"


def _fields(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the section of `model` at `location`."""
    for part in location:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            return []
        model = field.annotation
    return list(model.model_fields) if hasattr(model, "model_fields") else []
