"""The command `log`: the releases of an environment, and the people behind them."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from gitops.cli import completion
from gitops.cli.context import open_checkout
from gitops.cli.options import OUT, Remote


def log(
    environment: Annotated[
        str,
        typer.Argument(
            metavar="ENV",
            help="An environment.",
            show_default=False,
            autocompletion=completion.environments,
        ),
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=1, metavar="N", help="At most N.")] = 10,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects, one per release.")
    ] = False,
    remote: Remote = None,
) -> None:
    """Show the releases of an environment, newest first: since when, the verdict, and who released them.

    The names come from git: the author of the proposal, and the author of its merge. The approvals of a pull
    request are on its page.
    """
    from gitops.release.load import fetch_state
    from gitops.release.people import people

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    name = state.environments[environment].name
    history = [entry for entry in state.history(name) if entry.commit][:number]
    named = people(repository, (entry.by for entry in history))
    subjects = {commit.id: commit.subject for commit in repository.describe({entry.by for entry in history})}
    rows = [
        {
            "release": entry.commit,
            "since": entry.at.isoformat(),
            "verdict": _verdict(state, name, entry.commit),
            "proposed_by": named[entry.by].proposed,
            "merged_by": named[entry.by].merged,
            "change": entry.by,
            "subject": subjects[entry.by],
            "hold": entry.hold,
            "reason": _rejection(state, name, entry.commit),
        }
        for entry in history
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    if not rows:
        OUT.print(f"{name} has had no release yet.", soft_wrap=True)
    for entry, row in zip(history, rows, strict=True):
        OUT.print(
            f"{str(row['release'])[:12]}  since {_minute(entry.at)}  {row['verdict']}  {named[entry.by]}",
            soft_wrap=True,
            markup=False,
        )
        OUT.print(f"  {entry.by[:12]} {row['subject']}", soft_wrap=True, markup=False)
        if row["reason"]:
            OUT.print(f"  rejected: {row['reason']}", soft_wrap=True, markup=False, style="red")
        if entry.hold:
            OUT.print(f"  held: {' '.join(entry.hold.split())}", soft_wrap=True, markup=False, style="yellow")


def _verdict(state: Any, environment: str, commit: str | None) -> str:
    if state.verdicts.rejected(environment, commit):
        return "rejected"
    return "verified" if state.verdicts.verified(environment, commit) else "not verified"


def _rejection(state: Any, environment: str, commit: str | None) -> str | None:
    from gitops.release.state import reason_of

    tag = state.verdicts.rejected(environment, commit)
    return reason_of(tag.message) if tag else None


def _minute(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z}"
