"""Rulesets of GitHub, kept in the repository as the JSON that its API takes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import ForgeError
from gitops.forge.client import GitHub


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Actor(_Model):
    """Somebody whom a ruleset does not bind."""

    actor_id: int | None = None
    actor_type: Literal["Integration", "OrganizationAdmin", "RepositoryRole", "Team", "DeployKey"]
    bypass_mode: Literal["always", "pull_request"]


class Names(_Model):
    """Patterns of reference names."""

    include: list[str]
    exclude: list[str]


class Conditions(_Model):
    """What a ruleset is about."""

    ref_name: Names


class Rule(_Model):
    """One rule; what its parameters are, GitHub decides by its type."""

    type: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class Ruleset(_Model):
    """One ruleset, as `POST /repos/{owner}/{repo}/rulesets` takes it."""

    name: str
    target: Literal["branch", "tag"]
    enforcement: Literal["active", "evaluate", "disabled"]
    bypass_actors: list[Actor]
    conditions: Conditions
    rules: list[Rule]

    @property
    def body(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


def load(folder: Path) -> list[Ruleset]:
    """Read all rulesets of a folder.

    :raises ForgeError: where there is none, or one that GitHub would not take.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ForgeError(f"{folder}: no rulesets there; run this in a checkout of the repository")
    found = []
    for file in files:
        try:
            found.append(Ruleset.model_validate_json(file.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "content"
            raise ForgeError(f"{file}: {where}: {first['msg']}") from error
    names = [one.name for one in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ForgeError(f"{folder}: two rulesets are called {min(twice)}")
    return found


def apply(github: GitHub, wanted: list[Ruleset], *, dry: bool = False) -> Iterator[tuple[str, str]]:
    """Make GitHub's rulesets what `wanted` says, and tell of each its name and what was done.

    A ruleset of another name is left alone. With `dry` nothing is changed.
    """
    # Those of an organisation apply too, but belong to it.
    present = {one["name"]: one["id"] for one in github.pages("rulesets", includes_parents="false")}
    for one in wanted:
        if one.name not in present:
            if not dry:
                github.post("rulesets", one.body)
            yield one.name, "missing" if dry else "made"
            continue
        path = f"rulesets/{present[one.name]}"
        if _covers(github.get(path), one.body):
            yield one.name, "as it should be"
            continue
        if not dry:
            github.put(path, one.body)
        yield one.name, "different" if dry else "changed"


def unknown_owners(github: GitHub) -> list[str]:
    """Return what GitHub finds wrong in CODEOWNERS on the default branch: it ignores a line that is wrong.

    The ruleset of main asks for the approval of code owners, so a line that is ignored asks for nobody's.
    """
    found = github.get("codeowners/errors")["errors"]
    return [
        f"{one['path']}:{one['line']}: {one['kind']}: {' '.join(str(one['source']).split())}" for one in found
    ]


def _covers(present: Any, wanted: Any) -> bool:
    """Whether all that is wanted is so; GitHub adds ids, links, and parameters that it has a default for."""
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(
            _covers(present.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(present, list) or len(present) != len(wanted):
            return False
        left = sorted(present, key=_order)
        return all(_covers(*pair) for pair in zip(left, sorted(wanted, key=_order), strict=True))
    return bool(present == wanted)


def _order(item: Any) -> str:
    if isinstance(item, dict):
        for key in ("type", "context", "actor_type"):
            if key in item:
                return str(item[key])
    return json.dumps(item, sort_keys=True)
