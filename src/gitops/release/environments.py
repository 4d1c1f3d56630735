"""Environments: the folders `environments/<name>/` of a tree, and the order in which releases pass them.

`environments/<name>/environment.yaml` makes a folder an environment. The environment without `after` follows
main; each other environment takes the releases that the environments in its `after` have verified.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import EnvironmentsError, ParseError
from gitops.text import parse

FOLDER = "environments"
FILE = "environment.yaml"

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
LONGEST_NAME = 30
# The branch and the remotes of git, and the other folders of `.visage`, where each environment has one.
_RESERVED = (
    "main",
    "origin",
    "visage",
    "compose",
    "database",
    "gates",
    "lock",
    "logs",
    "previews",
    "processes",
    "trials",
)
_MOST = 50

Color = Literal["teal", "cyan", "sky", "blue", "indigo", "violet", "fuchsia", "slate"]
"""The colours of environments. Green, yellow and red show a state."""

Policy = Literal["by-hand", "after-soak", "in-windows"]
"""Who merges the promotions into an environment, and when."""

TERMINAL: Mapping[Color, str] = {
    "teal": "#14b8a6",
    "cyan": "#06b6d4",
    "sky": "#0ea5e9",
    "blue": "#3b82f6",
    "indigo": "#6366f1",
    "violet": "#8b5cf6",
    "fuchsia": "#d946ef",
    "slate": "#64748b",
}
"""The colours as a terminal shows them."""


class EnvironmentFile(BaseModel):
    """Where an environment comes in the order of promotion, and how people tell it from the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(
        pattern=r"^\S(.*\S)?$", max_length=60, description="The name that people read, such as Production."
    )
    color: Color = Field(
        description="Its colour on a terminal. Green, yellow and red show a state, so they are left out."
    )
    after: tuple[str, ...] = Field(
        default=(),
        max_length=_MOST,
        description="The environments that must have verified a release first. Without it, main is followed.",
    )
    wave: str | None = Field(
        default=None,
        pattern=NAME,
        max_length=LONGEST_NAME,
        description="Environments of one wave can be promoted together. Default: a wave of its own.",
    )
    training: bool = Field(
        default=False,
        description="Trainings take any branch here, and elsewhere the code of the own release alone.",
    )
    promotion: Policy = Field(
        default="by-hand",
        description="Who merges a promotion that is due: a person; Visage, once the release has soaked; or "
        "Visage, in a window of the calendar.",
    )
    approvals: int = Field(
        default=0, ge=0, le=10, description="How many people have to approve a release for this environment."
    )
    approvals_days: int = Field(default=14, ge=1, le=365, description="For how many days an approval counts.")


@dataclass(frozen=True)
class Environment:
    """One environment, as its folder declares it."""

    name: str
    title: str
    color: Color
    after: tuple[str, ...]
    wave: str
    training: bool = False
    promotion: Policy = "by-hand"
    approvals: int = 0
    approvals_days: int = 14


@dataclass(frozen=True)
class Environments:
    """The environments of one tree, in an order in which a release can pass them."""

    all: tuple[Environment, ...]

    @classmethod
    def from_entries(cls, declared: Iterable[Environment]) -> Self:
        """Put environments in order.

        Args:
            declared: The environments, in any order.

        Raises:
            EnvironmentsError: when they are no graph that begins at exactly one environment, or people could
                not tell two of them apart.

        """
        known = {environment.name: environment for environment in declared}
        check_number(len(known))
        for environment in known.values():
            _check_edges(environment, known)
        depths = _depths(known)
        roots = sorted(name for name, environment in known.items() if not environment.after)
        if len(roots) != 1:
            shown = " and ".join(roots) or "no environment"
            right = f"leave `after` out of exactly one {FILE}: that environment follows main"
            raise EnvironmentsError(FOLDER, f"{shown} without `after`", right)
        environments = cls(
            tuple(
                sorted(known.values(), key=lambda environment: (depths[environment.name], environment.name))
            )
        )
        environments._check_waves()
        return environments

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Read the environments of a tree.

        Args:
            files: The content of each `environment.yaml`, by the name of its folder. Without any, the tree is
                from before there were such files, and had the three environments of that time.

        Raises:
            EnvironmentsError: when a file is not valid, or the environments do not fit together.

        """
        if not files:
            return cls(EARLIER.all)
        return cls.from_entries(read(content, name) for name, content in files.items())

    @classmethod
    def from_folder(cls, root: Path) -> Self:
        """Read the environments of a checkout.

        Raises:
            EnvironmentsError: when a file cannot be read or is not valid, or the environments do not fit
                together.

        """
        files: dict[str, bytes] = {}
        for path in sorted((root / FOLDER).glob(f"*/{FILE}")):
            try:
                with path.open("rb") as file:
                    files[path.parent.name] = file.read(parse.RELEASE.size + 1)
            except OSError as error:
                raise EnvironmentsError(str(path), str(error.strerror), "make it readable") from error
        return cls.from_files(files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Environment:
        """Return an environment.

        Raises:
            EnvironmentsError: when there is none of that name, with the names that there are.

        """
        if name not in self._by_name:
            near = "".join(difflib.get_close_matches(name, self.names, n=1, cutoff=0.4))
            problem = f"no such environment; did you mean {near}?" if near else "no such environment"
            error = EnvironmentsError(name, problem, f"there are {', '.join(self.names)}")
            error.meant = near
            raise error
        return self._by_name[name]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names; an environment comes after all in its `after`."""
        return tuple(environment.name for environment in self.all)

    @property
    def root(self) -> str:
        """The environment that follows main."""
        return self.names[0]

    @property
    def promotable(self) -> tuple[str, ...]:
        """The environments that take promotions, in order."""
        return self.names[1:]

    def follows(self, name: str) -> bool:
        """Return whether an environment follows main."""
        return name == self.root

    def trains(self, name: str) -> bool:
        """Return whether a training in an environment may run other code than that of its release.

        Trees from before the key `training` train where they follow main.
        """
        declared = [environment.name for environment in self.all if environment.training]
        return name in (declared or [self.root])

    def before(self, name: str) -> tuple[str, ...]:
        """Return the environments directly before one, in order."""
        after = self[name].after
        return tuple(name for name in self.names if name in after)

    def chain(self, name: str) -> tuple[str, ...]:
        """Return all environments that a release passes before one, in order."""
        passed: set[str] = set()
        waiting = [*self.before(name)]
        while waiting:
            name = waiting.pop()
            if name not in passed:
                passed.add(name)
                waiting += self.before(name)
        return tuple(name for name in self.names if name in passed)

    @cached_property
    def waves(self) -> Mapping[str, tuple[str, ...]]:
        """The environments of each wave, both in order."""
        waves: dict[str, tuple[str, ...]] = {}
        for environment in self.all:
            waves[environment.wave] = (*waves.get(environment.wave, ()), environment.name)
        return waves

    def wave(self, wave: str) -> tuple[str, ...]:
        """Return the environments of a wave.

        Raises:
            EnvironmentsError: when there is none of that name, with the names that there are.

        """
        if wave not in self.waves:
            raise EnvironmentsError(wave, "no such wave", f"there are {', '.join(self.waves)}")
        return self.waves[wave]

    @property
    def last_wave(self) -> tuple[str, ...]:
        """The environments in which a release arrives last."""
        return self.waves[self.all[-1].wave]

    @cached_property
    def _by_name(self) -> dict[str, Environment]:
        return {environment.name: environment for environment in self.all}

    def _check_waves(self) -> None:
        colors: dict[Color, Environment] = {}
        for environment in self.all:
            path = path_of(environment.name)
            if same := [name for name in self.chain(environment.name) if self[name].wave == environment.wave]:
                problem = f"wave: {environment.wave} has {same[0]} too, which comes before {environment.name}"
                raise EnvironmentsError(path, problem, "name another wave")
            sibling = colors.setdefault(environment.color, environment)
            if sibling.wave != environment.wave:
                problem = f"color: {environment.color} is that of {sibling.name}, of another wave"
                raise EnvironmentsError(path, problem, "choose another colour")


def path_of(name: str, file: str = FILE) -> str:
    """Return the path of a file of an environment in the repository.

    Raises:
        EnvironmentsError: when the name cannot be one of an environment.

    """
    check_name(name)
    return f"{FOLDER}/{name}/{file}"


def check_number(count: int) -> None:
    """Refuse more environments than there may be.

    Raises:
        EnvironmentsError: with both numbers.

    """
    if count > _MOST:
        raise EnvironmentsError(FOLDER, f"{count} environments, {_MOST} are allowed", "remove some")


def check_name(name: str) -> None:
    """Refuse a name that cannot be one of an environment: it is part of branches, tags, hosts and databases.

    Raises:
        EnvironmentsError: when it cannot.

    """
    shown = repr(name) if len(name) <= 40 else f"{name[:37]!r}..."
    if not re.fullmatch(NAME.strip("^$"), name) or len(name) > LONGEST_NAME:
        raise EnvironmentsError(
            shown,
            "no such environment, and no name for one",
            f"use at most {LONGEST_NAME} small letters, digits and single dashes, beginning with a letter",
        )
    if name in _RESERVED or name.startswith("dvc-"):
        raise EnvironmentsError(name, "git or the local engine uses that name", "choose another")


def read(content: bytes, name: str) -> Environment:
    """Read `environment.yaml` of one environment.

    Raises:
        EnvironmentsError: with the file, the problem and the remedy.

    """
    path = path_of(name)
    right = "write `title`, `color`, and `after: [<environment>]` for an environment that takes promotions"
    try:
        data = parse.yaml_value(content, parse.RELEASE)
    except ParseError as error:
        raise EnvironmentsError(error.place(path), str(error), right) from error
    if not isinstance(data, dict):
        raise EnvironmentsError(path, "not a mapping of keys to values", right)
    if "after" in data and not data["after"]:
        raise EnvironmentsError(path, "after: names no environment", "leave it out to follow main")
    try:
        file = EnvironmentFile.model_validate(data)
    except ValidationError as error:
        raise EnvironmentsError(path, _problem(error, data), right) from error
    if not file.title.isprintable():
        raise EnvironmentsError(path, "title: a character that cannot be printed", right)
    for key in ("approvals", "promotion"):
        if key in data and not file.after:
            raise EnvironmentsError(path, f"{key}: {name} follows main", "take it out")
    return Environment(
        name,
        file.title,
        file.color,
        file.after,
        file.wave or name,
        file.training,
        file.promotion,
        file.approvals,
        file.approvals_days,
    )


def _check_edges(environment: Environment, known: Mapping[str, Environment]) -> None:
    path = path_of(environment.name)
    for name in environment.after:
        if name not in known:
            there = ", ".join(sorted(known.keys() - {environment.name})) or "no others"
            shown = name if name.isprintable() and len(name) <= 40 else f"{name[:40]!r}"
            raise EnvironmentsError(path, f"after: {shown}: no such environment", f"there are {there}")
    if len(set(environment.after)) != len(environment.after):
        raise EnvironmentsError(path, "after: names an environment twice", "name each once")


def _depths(known: Mapping[str, Environment]) -> dict[str, int]:
    """Return how many steps from the beginning each environment is, by the longest way."""
    depths: dict[str, int] = {}
    while len(depths) < len(known):
        ready = [
            name
            for name, environment in known.items()
            if name not in depths and all(before in depths for before in environment.after)
        ]
        if not ready:
            shown = ", ".join(sorted(known.keys() - depths.keys()))
            remedy = f"take a name out of `after` in one {FILE}"
            raise EnvironmentsError(FOLDER, f"{shown} wait for each other", remedy)
        for name in ready:
            depths[name] = 1 + max((depths[before] for before in known[name].after), default=-1)
    return depths


def _problem(error: ValidationError, data: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0])
    shown = key if key.isprintable() and len(key) <= 40 else f"{key[:37]!r}..."
    if first["type"] == "extra_forbidden":
        return f"{shown}: unknown key"
    if first["type"] == "missing":
        return f"{shown}: missing"
    value = repr(data.get(key))
    value = value if len(value) <= 60 else f"{value[:57]}..."
    return f"{shown}: {value}: {first['msg'][0].lower()}{first['msg'][1:]}"


EARLIER = Environments.from_entries(
    (
        Environment("dev", "Development", "teal", (), "dev", training=True),
        Environment("staging", "Staging", "violet", ("dev",), "staging"),
        Environment("prod", "Production", "blue", ("staging",), "prod"),
    )
)
"""The environments of commits from before `environment.yaml`."""
