"""The form of a failure on the command line: your action, the reason why it fails, and the next command.

Cannot promote to staging: dev has not verified 5cd34dbb34b3 yet (environments/staging/release.yaml)
  Wait for verify_release in dev, usually under two minutes. Rule: .venv/bin/gitops explain not-verified-yet
Next: .venv/bin/gitops promote staging --push --wait
"""

import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from gitops.errors import (
    AirflowError,
    EnvironmentsError,
    FindingError,
    GitopsError,
    GitTimeoutError,
    PushRejectedError,
    RuleError,
    TransientError,
)
from gitops.findings import Finding, printable
from gitops.text import command_line
from gitops.text.instructions import explain

GITOPS = ".venv/bin/gitops"
_SAME_AGAIN = (TransientError, GitTimeoutError, PushRejectedError)
_PREDICATE = re.compile(
    r"(?:is|are|has|have|does|differs?|names|was|ended|changes|requires|cannot|lists|missing)\b(?! no\b)"
)
_Values = Mapping[str, Any]


_UNNAMED = {
    "environment": "an environment",
    "branch": "a branch",
    "rule": "a rule",
    "name": "a new name",
    "head": "HEAD",
    "base": "main",
}


def _promote(values: _Values) -> str:
    return f"promote to {values.get('environment') or values.get('wave') or 'an environment'}"


def _diff(values: _Values) -> str:
    first, second = values.get("first"), values.get("second")
    return f"compare {first} with {second}" if first and second else "show the changes"


ACTIONS: Mapping[str, str | Callable[[_Values], str]] = {
    "": "run gitops",
    "status": "show the status",
    "log": "list the releases of {environment}",
    "diff": _diff,
    "provenance": "show the statement about a model",
    "explain": "explain {rule}",
    "board": "show the board",
    "runs": "list the trainings",
    "audit": "list the changes of releases",
    "dora": "measure the releases",
    "trace": lambda values: f"trace {values.get('name') or 'a release'}",
    "train": "train {branch}",
    "promote": _promote,
    "approve": "approve a release for {environment}",
    "shadow": "try a model beside the release of {environment}",
    "canary": "let a model answer a share in {environment}",
    "rollback": "roll back {environment}",
    "hold": "hold {environment}",
    "manifests": "show the manifests of {environment}",
    "unhold": "lift a hold of {environment}",
    "release-hold": "lift a hold of {environment}",
    "merge": "merge {branch} into main",
    "adopt": "adopt the repository as {name}",
    "check": "merge {head} into {base}",
    "scope": "list the jobs for {head}",
    "trial": "try the pipeline",
    "packages": "measure the packages",
    "report": "report on {head}",
    "annotate": "run the check",
    "forget": "forget photographs",
    "prune": "clear unneeded objects",
    "doctor": "find every object on the DVC remote",
    "github deployments": "show the deployments on GitHub",
    "github dependencies": "propose the dependencies on GitHub",
    "github run": "read the run of GitHub",
    "github attestation": "write the statement for GitHub",
    "github identity": "write the token of this job",
    "github rulesets": "update the rulesets on GitHub",
    "github setup": "set up the repository on GitHub",
    "github doctor": "compare the settings on GitHub",
    "github app": "create the App on GitHub",
    "github candidate": "propose {branch}",
    "github promotions": "propose the promotions",
    "forge sync": "bring the forge up to date",
    "forge proposals": "list the pull requests",
    "forge rules": "apply the branch rules",
    "forge pipeline": "write the pipeline",
    "forge candidate": "propose {branch}",
    "forge promotions": "propose the promotions",
    "keys create": "create the key of {environment}",
    "storage move": "move the DVC remote to {name}",
    "preview": "work with a preview",
    "forge": "work with the forge",
    "github": "work with GitHub",
}
"""The action of each command, in the words of the person who types it; a group stands for its commands."""


def wanted(group: Any, ctx: Any, args: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the action that the person wanted, and the words of the command that they typed.

    Args:
        group: The group of commands.
        ctx: Its context.
        args: All words that were typed after `gitops`.

    """
    names: list[str] = []
    values: _Values = {}
    command, words = group, [*itertools.dropwhile(lambda word: word.startswith("-"), args)]
    while words and (found := getattr(command, "commands", {}).get(words[0])):
        names.append(words.pop(0))
        command = found
    if names and not hasattr(command, "commands"):
        given = command.make_context(names[-1], [*words], parent=ctx, resilient_parsing=True).params
        # With a fault in an option, no argument is read.
        argument = next((one.name for one in command.params if one.param_type_name == "argument"), None)
        if argument and given.get(argument) is None and words and not words[0].startswith("-"):
            given[argument] = words[0]
        values = given
    for length in range(len(names), 0, -1):
        action = ACTIONS.get(" ".join(names[:length]))
        if action is not None:
            break
    else:
        action = ACTIONS[""]
    return (action(values) if callable(action) else _filled(action, values)), tuple(names)


def _filled(action: str, values: _Values) -> str:
    known = {key: str(value) for key, value in values.items() if value is not None}
    return action.format_map({**_UNNAMED, **known})


def show(
    error: GitopsError, action: str, names: Sequence[str], typed: Sequence[str], console: Console
) -> None:
    """Print an error.

    Args:
        error: The error.
        action: The action that the person wanted.
        names: The words of the command.
        typed: All words that were typed after `gitops`.
        console: Where to print.

    """
    findings = _findings(error)
    if findings:
        following = ""
        if isinstance(error, EnvironmentsError) and error.meant and error.finding.subject in typed:
            meant = [error.meant if word == error.finding.subject else word for word in typed]
            following = shlex.join([GITOPS, *meant])
        _show_findings(findings, action, following, console)
        return
    _print(console, f"Cannot {action}: {printable(str(error))}")
    if error.rule:
        _print(console, f"  Rule: {explain(error.rule)}")
    _print(console, f"Next: {_next(error, names, typed)}")


def usage(problem: str, action: str, names: Sequence[str], console: Console) -> None:
    """Print an error in the way that a command was typed."""
    _print(console, f"Cannot {action}: {printable(command_line.plain(problem))}")
    _print(console, f"Next: {shlex.join([GITOPS, *names, '--help'])}")


def _findings(error: GitopsError) -> tuple[Finding, ...]:
    if isinstance(error, RuleError):
        return error.findings
    return (error.finding,) if isinstance(error, FindingError) else ()


def _show_findings(findings: Sequence[Finding], action: str, following: str, console: Console) -> None:
    for finding in findings:
        _print(console, printable(f"Cannot {action}: {_fault(finding, action)}"))
        _print(console, printable(f"  {_remedy(finding)}Rule: {explain(finding.rule)}"))
    commands = [following, *(finding.command for finding in findings), explain(findings[0].rule)]
    _print(console, printable(f"Next: {next(filter(None, commands))}"))


def _remedy(finding: Finding) -> str:
    """Return a sentence; a command at its beginning stays as it has to be typed."""
    if not finding.remedy:
        return ""
    is_command = finding.command and finding.remedy.startswith(finding.command)
    first = finding.remedy[0] if is_command else finding.remedy[0].upper()
    return f"{first}{finding.remedy[1:]}. "


def _fault(finding: Finding, action: str) -> str:
    """Return a sentence. The rules of releases write whole ones; other problems need their subject."""
    is_named = finding.subject in action.split() and finding.problem.startswith("no such")
    if is_named or finding.subject in finding.problem:
        return finding.problem
    if _PREDICATE.match(finding.problem):
        return f"{finding.subject} {finding.problem}"
    if finding.subject.endswith("/release.yaml") and finding.rule != "release-file":
        return f"{finding.problem} ({finding.subject})"
    return f"{finding.subject}: {finding.problem}"


def _next(error: GitopsError, names: Sequence[str], typed: Sequence[str]) -> str:
    if error.next_command:
        return error.next_command
    if isinstance(error, _SAME_AGAIN):
        return shlex.join([GITOPS, *typed])
    if isinstance(error, AirflowError):
        return "make status"
    return explain(error.rule) if error.rule else shlex.join([GITOPS, *names, "--help"])


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, style="red" if text.startswith("Cannot") else "")
