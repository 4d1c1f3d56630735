"""Rulesets of GitHub, kept in the repository as the JSON that its API takes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import ForgeError
from gitops.findings import Finding
from gitops.forge.client import Client
from gitops.text.parse import is_mapping, is_sequence

PROMOTIONS = "promotions"
"""The ruleset of the branches that promote, which the App pushes."""


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
    """The branches and tags of a ruleset."""

    ref_name: Names


class Rule(_Model):
    """One rule; its type decides which parameters GitHub accepts."""

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

    Raises:
        ForgeError: if there is none, or one that GitHub would not take.

    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ForgeError(f"{folder}: no rulesets there; run this in a checkout of the repository")
    rulesets: list[Ruleset] = []
    for file in files:
        try:
            rulesets.append(Ruleset.model_validate_json(file.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "content"
            raise ForgeError(f"{file}: {where}: {first['msg']}") from error
    names = [ruleset.name for ruleset in rulesets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ForgeError(f"{folder}: two rulesets are called {min(twice)}")
    return rulesets


def with_app(rulesets: list[Ruleset], app: int | None) -> list[Ruleset]:
    """Let the App push its proposals. Without its id, leave out the ruleset that would keep it from that."""
    if app is None:
        return [ruleset for ruleset in rulesets if ruleset.name != PROMOTIONS]
    actor = Actor(actor_id=app, actor_type="Integration", bypass_mode="always")
    return [
        ruleset.model_copy(update={"bypass_actors": [*ruleset.bypass_actors, actor]})
        if ruleset.name == PROMOTIONS
        else ruleset
        for ruleset in rulesets
    ]


def with_merge_queue(rulesets: list[Ruleset]) -> list[Ruleset]:
    """Let main take pull requests from a queue, which tries them merged and so keeps them up to date."""
    parameters = {
        "check_response_timeout_minutes": 120,
        "grouping_strategy": "ALLGREEN",
        "max_entries_to_build": 5,
        "max_entries_to_merge": 5,
        "merge_method": "MERGE",
        "min_entries_to_merge": 1,
        "min_entries_to_merge_wait_minutes": 1,
    }
    queue = Rule(type="merge_queue", parameters=parameters)
    return [
        ruleset.model_copy(update={"rules": [*map(_not_strict, ruleset.rules), queue]})
        if ruleset.name == "main"
        else ruleset
        for ruleset in rulesets
    ]


def _not_strict(rule: Rule) -> Rule:
    if "strict_required_status_checks_policy" not in rule.parameters:
        return rule
    parameters = {**rule.parameters, "strict_required_status_checks_policy": False}
    return rule.model_copy(update={"parameters": parameters})


def apply(github: Client, wanted: list[Ruleset], *, dry: bool = False) -> Iterator[tuple[str, str]]:
    """Update GitHub's rulesets to `wanted`, and yield the name and the result of each.

    A ruleset with another name stays as it is. With `dry` nothing is changed.
    """
    # Those of an organisation apply too, but belong to it.
    present = {
        ruleset["name"]: ruleset["id"] for ruleset in github.pages("rulesets", includes_parents="false")
    }
    for ruleset in wanted:
        if ruleset.name not in present:
            if not dry:
                github.post("rulesets", ruleset.body)
            yield ruleset.name, "missing" if dry else "made"
            continue
        path = f"rulesets/{present[ruleset.name]}"
        if covers(github.get(path), ruleset.body):
            yield ruleset.name, "up to date"
            continue
        if not dry:
            github.put(path, ruleset.body)
        yield ruleset.name, "different" if dry else "changed"


def unknown_owners(github: Client) -> list[Finding]:
    """Return the errors that GitHub finds in CODEOWNERS on the default branch. It ignores a wrong line.

    The ruleset of main asks for the approval of code owners, so a line that is ignored asks for nobody's.
    """
    errors = github.get("codeowners/errors")["errors"]
    return [
        Finding(
            f"{error['path']}:{error['line']}",
            f"{error['kind']}: {' '.join(str(error['source']).split())}",
            "name a user or a team who can write here",
            rule="codeowners",
        )
        for error in errors
    ]


def covers(present: Any, wanted: Any) -> bool:
    """Return whether all that is wanted is so; GitHub adds ids, links, and parameters with a default."""
    if is_mapping(wanted):
        return is_mapping(present) and all(covers(present.get(key), value) for key, value in wanted.items())
    if is_sequence(wanted):
        if not is_sequence(present) or len(present) != len(wanted):
            return False
        left = sorted(present, key=_order)
        return all(covers(*pair) for pair in zip(left, sorted(wanted, key=_order), strict=True))
    return bool(present == wanted)


def _order(item: Any) -> str:
    if is_mapping(item):
        for key in ("type", "context", "actor_type"):
            if key in item:
                return f"{item[key]} {item.get('actor_id')}"
    return json.dumps(item, sort_keys=True)
