"""Experiments: the combinations of parameters in `experiments.yaml`, which a pull request wants compared."""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from gitops.dvc import parameters
from gitops.errors import GitopsError, ParseError
from gitops.text import parse
from gitops.text.record import Record

FILE = "experiments.yaml"
FOLDER, INDEX = "experiments", "experiments.json"
MOST = 8
"""The most runs: on a runner with two cores each takes about a minute."""
_LARGEST = 65_536
_DIGITS = 17
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z_]+)*$", max_length=80)]
_Text = Annotated[str, StringConstraints(max_length=100)]
_Value = bool | int | float | _Text


class Experiments(BaseModel):
    """Contents of `experiments.yaml`.

    Attributes:
        matrix: The values of each parameter by its dotted name; each combination is a run.

    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    matrix: dict[_Name, Annotated[list[_Value], Field(min_length=1, max_length=MOST)]] = Field(
        min_length=1, max_length=MOST
    )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the file.

        Raises:
            GitopsError: if it is not one, has more than MOST combinations, or names a parameter and its part.

        """
        remedy = f"write matrix: {{train.epochs: [3, 5]}}, with {MOST} combinations at most"
        try:
            found = cls.model_validate(parameters.read(content))
        except parameters.FaultError as error:
            raise GitopsError(f"{FILE}: {error}; {remedy}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "content"
            raise GitopsError(f"{FILE}: {where[:120]}: {first['msg']}; {remedy}") from error
        count = 1
        for values in found.matrix.values():
            count *= len(values)
        if count > MOST:
            raise GitopsError(f"{FILE}: has {count} combinations; {remedy}")
        for one, other in itertools.permutations(found.matrix, 2):
            if other.startswith(f"{one}."):
                raise GitopsError(
                    f"{FILE}: {one} and {other}: one is a part of the other; name single values"
                )
        return found

    def combinations(self) -> list[dict[str, _Value]]:
        """Return the parameters of each run."""
        return [
            dict(zip(self.matrix, values, strict=True)) for values in itertools.product(*self.matrix.values())
        ]


class Experiment(Record):
    """One run: its parameters, the time that it took, and the problem where it failed."""

    values: Annotated[dict[_Name, _Text], Field(max_length=MOST)]
    seconds: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    problem: Annotated[str, StringConstraints(max_length=500)] = ""


_INDEX = TypeAdapter(Annotated[list[Experiment], Field(max_length=MOST)])


def texts(values: Mapping[str, _Value]) -> dict[str, str]:
    """Return parameters for people."""
    return {
        name: f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


def overlay(values: Mapping[str, _Value]) -> dict[str, Any]:
    """Return parameters as a file that is merged into `params.yaml`."""
    document: dict[str, Any] = {}
    for name, value in values.items():
        *sections, key = name.split(".")
        place = document
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return document


def write(folder: Path, experiments: Sequence[Experiment]) -> None:
    """Write the list of experiments, whose results are in numbered folders."""
    (folder / INDEX).write_bytes(_INDEX.dump_json(list(experiments), indent=1) + b"\n")


def load(folder: Path) -> list[Experiment]:
    """Read the list; empty without one.

    Raises:
        GitopsError: if it cannot be read.

    """
    path = folder / INDEX
    try:
        return _INDEX.validate_json(parse.file(path, _LARGEST))
    except FileNotFoundError:
        return []
    except (ParseError, OSError) as error:
        raise GitopsError(f"{path}: {error}") from error
    except ValidationError as error:
        raise GitopsError(f"{path}: not a list of experiments; run .venv/bin/gitops trial again") from error


def problem(error: GitopsError) -> str:
    """Return why an experiment failed, on one line of bounded length."""
    return re.sub(r"\s+", " ", str(error))[:500]
