"""Settings of a repository on GitHub: the wanted ones, and how they differ from the present ones.

The repository itself has the wanted settings: its workflows name actions, secrets and variables, its issue
forms name labels, and its folders of environments name the holders of deploy keys.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from gitops.errors import ForgeError
from gitops.forge import ruleset
from gitops.forge.client import AnswerError
from gitops.forge.github import GitHub
from gitops.forge.ruleset import Ruleset, covers
from gitops.paths import CODEOWNERS
from gitops.release import owners
from gitops.release.environments import Environments
from gitops.release.file import path_of
from gitops.release.keys import PrivateKey
from gitops.text import parse

WORKFLOWS = Path(".github/workflows")
SCANNING = ("secret_scanning", "secret_scanning_push_protection")
OPTIONAL = {"DVC_REMOTE_ROLE", "RUNNER_PRICE_PER_MINUTE"}
"""Variables without which the workflows do less."""

_USES = re.compile(r"^\s*-?\s*uses: ([\w.-]+/[\w.-]+)(?:/[\w./-]+)?@", re.MULTILINE)
_LABEL_COLOUR = "ededed"
_OWN_BRANCHES = {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}}
_MOST_REVIEWERS = 6


@dataclass(frozen=True)
class Item:
    """One thing to set up.

    Attributes:
        name: Its name, as a person knows it.
        state: `ok`, `change` if `apply` can make it so, `person` if only a person can.
        text: The difference, or the next action.
        apply: Makes it so.

    """

    name: str
    state: Literal["ok", "change", "person"]
    text: str = ""
    apply: Callable[[], object] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Setting:
    """A part of the settings that one address of GitHub's API has.

    Attributes:
        name: Its name, as a person knows it.
        path: The address that answers with the present state.
        wanted: The part of the answer that has to be so.
        method: The request that makes it so, which is sent to the same address.
        body: The content of that request; by default `wanted`, and None for no content.
        off: Whether the address answers 404 as long as it is off.

    """

    name: str
    path: str
    wanted: Mapping[str, Any]
    method: Literal["PUT", "PATCH"] = "PUT"
    body: Mapping[str, Any] | None = field(default_factory=dict[str, Any])
    off: bool = False

    def compare(self, github: GitHub) -> Item:
        """Return the item for the present state."""
        try:
            # Some addresses answer without content if it is on.
            present: Mapping[str, Any] | None = parse.mapping(github.get(self.path))
        except AnswerError as error:
            if error.status != 404 or not self.off:
                return Item(self.name, "person", str(error))
            present = None
        if present is not None and covers(present, self.wanted):
            return Item(self.name, "ok")
        text = "off -> on" if present is None else "; ".join(_differences(present, self.wanted))
        body = None if self.body is None else {**self.wanted, **self.body}
        send = github.put if self.method == "PUT" else github.patch
        return Item(self.name, "change", text, partial(send, self.path, body))


def settings(root: Path) -> list[Setting]:
    """Return the settings that do not depend on the present state; `root` is a checkout."""
    actions = "actions/permissions"
    patterns = [f"{name}@*" for name in actions_used(root)]
    made = [
        Setting(
            "merges",
            "",
            {
                # A squash or a rebase would make another commit of a release.
                "allow_merge_commit": True,
                "allow_squash_merge": False,
                "allow_rebase_merge": False,
                "allow_auto_merge": True,
                "allow_update_branch": True,
                "delete_branch_on_merge": True,
            },
            "PATCH",
        ),
        Setting(
            "actions: pinned, and only those of the workflows",
            actions,
            {"enabled": True, "allowed_actions": "selected", "sha_pinning_required": True},
        ),
        Setting(
            "actions: names",
            f"{actions}/selected-actions",
            {"github_owned_allowed": False, "verified_allowed": False, "patterns_allowed": patterns},
        ),
        Setting(
            "token of workflows: only reads, approves nothing",
            f"{actions}/workflow",
            {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False},
        ),
        Setting(
            "first pull request of a stranger: waits for a maintainer",
            f"{actions}/fork-pr-contributor-approval",
            {"approval_policy": "first_time_contributors"},
        ),
        Setting(
            "secret scanning",
            "",
            {"security_and_analysis": {name: {"status": "enabled"} for name in SCANNING}},
            "PATCH",
        ),
        Setting("vulnerability alerts", "vulnerability-alerts", {}, body=None, off=True),
        Setting("security updates", "automated-security-fixes", {"enabled": True}, body=None, off=True),
        Setting(
            "private vulnerability reports", "private-vulnerability-reporting", {"enabled": True}, body=None
        ),
        Setting("CodeQL", "code-scanning/default-setup", {"state": "configured"}, "PATCH"),
        Setting("immutable releases", "immutable-releases", {"enabled": True}, body=None, off=True),
    ]
    for name in _guarded(root):
        made.append(Setting(f"environment {name}", f"environments/{name}", _OWN_BRANCHES, off=True))
    return made


def plan(
    github: GitHub,
    root: Path,
    rulesets: Sequence[Ruleset],
    *,
    app: int | None = None,
    keys: Path | None = None,
) -> Iterator[Item]:
    """Yield an item for everything that a repository needs; nothing is changed before `apply` of an item."""
    if not github.owner_is_user():
        organisation = Setting(
            "deploy keys are allowed in the organisation",
            f"/orgs/{github.owner}",
            {"deploy_keys_enabled_for_repositories": True},
            "PATCH",
        )
        yield organisation.compare(github)
    for setting in settings(root):
        yield setting.compare(github)
    for name in _guarded(root):
        yield _branch_policy(github, name)
    for name in Environments.from_folder(root).last_wave:
        yield _reviewers(github, root, name)
    for name, needed in needs(root).items():
        yield _names(github, f"secrets of {name}", f"environments/{name}/secrets", "secrets", needed, name)
    yield _names(github, "variables", "actions/variables", "variables", _variables(root))
    yield from _or_why_not("labels", _labels(github, root))
    yield from _or_why_not("deploy keys", _deploy_keys(github, root, keys))
    yield from _or_why_not("rulesets", _rulesets(github, rulesets, app))
    yield from _or_why_not("owners", _owners(github))
    yield _cml(root)


def _or_why_not(name: str, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, or one for a person where the plan of the repository or the token lacks something."""
    try:
        yield from items
    except AnswerError as error:
        yield Item(name, "person", str(error))


def actions_used(root: Path) -> list[str]:
    """Return the repositories of the actions that the workflows and the actions of a checkout use."""
    files = [*root.glob(f"{WORKFLOWS}/*.yml"), *root.glob(".github/actions/*/action.yml")]
    return sorted({name for file in files for name in _USES.findall(file.read_text("utf-8"))})


def needs(root: Path) -> dict[str, list[str]]:
    """Return the secrets that each GitHub Environment needs, by the jobs that name it."""
    found: dict[str, set[str]] = {}
    for file in sorted(root.glob(f"{WORKFLOWS}/*.yml")):
        for job in parse.mapping(_yaml(file).get("jobs")).values():
            environment = parse.mapping(job).get("environment")
            if isinstance(environment, str):
                secrets = re.findall(r"\bsecrets\.(\w+)", json.dumps(job))
                found.setdefault(environment, set()).update(secrets)
    return {name: sorted(secrets) for name, secrets in sorted(found.items())}


def _guarded(root: Path) -> list[str]:
    """Return the GitHub Environments for main alone: those with secrets, and those of the last wave."""
    return [*needs(root), *Environments.from_folder(root).last_wave]


def _variables(root: Path) -> list[str]:
    texts = [file.read_text("utf-8") for file in root.glob(f"{WORKFLOWS}/*.yml")]
    names = {name for text in texts for name in re.findall(r"\bvars\.(\w+)", text)}
    return sorted(names - OPTIONAL)


def _yaml(file: Path) -> Mapping[str, Any]:
    return parse.mapping(parse.yaml_value(file.read_bytes(), parse.PARAMS))


def _differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        there = present.get(key)
        if not covers(there, value):
            yield f"{key}: {json.dumps(there)} -> {json.dumps(value)}"


def _branch_policy(github: GitHub, name: str) -> Item:
    title, path = f"environment {name}: main alone", f"environments/{name}/deployment-branch-policies"
    try:
        present = {policy["name"] for policy in github.get(path)["branch_policies"]}
    except AnswerError as error:
        if error.status != 404:
            return Item(title, "person", str(error))
        present = set[str]()
    if more := present - {"main"}:
        return Item(title, "person", f"remove {', '.join(sorted(more))} in Settings, Environments")
    if present:
        return Item(title, "ok")
    return Item(title, "change", "main may use it", partial(github.post, path, {"name": "main"}))


def _reviewers(github: GitHub, root: Path, name: str) -> Item:
    """Return whether a job that names an environment of Visage would wait for one of its owners."""
    title, path = f"environment {name}: required reviewers", f"environments/{name}"
    try:
        rules = parse.mapping(github.get(path)).get("protection_rules") or ()
    except AnswerError as error:
        if error.status != 404:
            return Item(title, "person", str(error))
        rules = ()
    if any(rule.get("type") == "required_reviewers" and rule.get("reviewers") for rule in rules):
        return Item(title, "ok")
    listed = owners.of((root / CODEOWNERS).read_bytes(), path_of(name))
    people = [owner for owner in listed if owner.startswith("@")][:_MOST_REVIEWERS]
    if not people:
        return Item(title, "person", f"name the owners in Settings, Environments, {name}, Required reviewers")

    def ask() -> None:
        # GitHub would reset each part that is left out
        github.put(path, {**_OWN_BRANCHES, "reviewers": [_reviewer(github, one) for one in people]})

    return Item(title, "change", ", ".join(people), ask)


def _reviewer(github: GitHub, owner: str) -> dict[str, Any]:
    name, _, team = owner.removeprefix("@").partition("/")
    kind, path = ("Team", f"/orgs/{name}/teams/{team}") if team else ("User", f"/users/{name}")
    return {"type": kind, "id": github.get(path)["id"]}


def _names(
    github: GitHub, title: str, path: str, key: str, needed: Iterable[str], environment: str = ""
) -> Item:
    """Return whether secrets or variables are there. GitHub shows the names of secrets only."""
    try:
        present = {item["name"] for item in github.get(path, per_page=100)[key]}
    except AnswerError as error:
        if error.status != 404:
            return Item(title, "person", str(error))
        present = set[str]()
    missing = [name for name in needed if name not in present]
    where = f" --env {environment}" if environment else ""
    command = f"gh {key.removesuffix('s')} set"
    commands = [f"{command} {name}{where} --repo {github.repository}" for name in missing]
    return Item(title, "person", "; ".join(commands)) if missing else Item(title, "ok")


def _labels(github: GitHub, root: Path) -> Iterator[Item]:
    """GitHub leaves out, without a word, a label that does not exist."""
    forms = sorted(root.glob(".github/ISSUE_TEMPLATE/*.yml"))
    wanted = {label for file in forms for label in _yaml(file).get("labels") or ()}
    present = {label["name"] for label in github.pages("labels")}
    for name in sorted(wanted):
        body = {"name": name, "color": _LABEL_COLOUR}
        if name in present:
            yield Item(f"label {name}", "ok")
        else:
            yield Item(f"label {name}", "change", "is missing", partial(github.post, "labels", body))


def _deploy_keys(github: GitHub, root: Path, keys: Path | None) -> Iterator[Item]:
    present = {key["title"]: key for key in github.pages("keys")}
    for name in Environments.from_folder(root):
        title = f"deploy key of {name}"
        if found := present.get(name):
            fine = not found["read_only"]
            text = "" if fine else "it can only read: delete it, and run this again"
            yield Item(title, "ok" if fine else "person", text)
        elif keys is None:
            yield Item(title, "person", "is missing; --keys DIR makes a pair for each environment there")
        else:
            text = f"made in {keys / name}, which {name}'s Airflow needs in its connection git_default"
            yield Item(title, "change", text, partial(_make_key, github, name, keys / name))


def _make_key(github: GitHub, name: str, path: Path) -> None:
    line = PrivateKey.create(path).line(name).decode()
    public = " ".join(line.split()[-2:])
    github.post("keys", {"title": name, "key": public, "read_only": False})


def _rulesets(github: GitHub, wanted: Sequence[Ruleset], app: int | None) -> Iterator[Item]:
    known = ruleset.with_app(list(wanted), app)
    for made, (name, what) in zip(known, ruleset.apply(github, known, dry=True), strict=True):
        if what == "up to date":
            yield Item(f"ruleset {name}", "ok")
        else:
            yield Item(f"ruleset {name}", "change", what, partial(_apply_ruleset, github, made))
    if app is None:
        text = "give the App ID with --app; .venv/bin/gitops github app creates the App"
        yield Item(f"ruleset {ruleset.PROMOTIONS}", "person", text)


def _apply_ruleset(github: GitHub, wanted: Ruleset) -> None:
    for _ in ruleset.apply(github, [wanted]):
        pass


def _owners(github: GitHub) -> Iterator[Item]:
    unknown = ruleset.unknown_owners(github)
    for finding in unknown:
        yield Item("owners", "person", str(finding))
    if not unknown:
        yield Item("owners", "ok")


def _cml(root: Path) -> Item:
    line = (root / "infra/cml.txt").read_text("utf-8").splitlines()[-1]
    if re.fullmatch(r"[\d.]+ [0-9a-f]{64}", line):
        return Item("digest of CML", "ok")
    return Item("digest of CML", "person", "make pin-cml; until then reports are posted without CML")


def unfinished(items: Iterable[Item]) -> list[Item]:
    """Return the items that are not as they should be."""
    return [item for item in items if item.state != "ok"]


def apply(item: Item) -> Item:
    """Make an item so, and return its new state."""
    if item.apply is None:
        return item
    try:
        item.apply()
    except ForgeError as error:
        return Item(item.name, "person", str(error))
    return Item(item.name, "ok", item.text)
