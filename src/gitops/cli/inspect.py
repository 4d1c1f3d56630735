"""The commands that look at what is: `status` and `diff`."""

import json
from typing import Annotated, Any

import typer

from gitops.cli.context import commit_of, meeting, open_checkout
from gitops.cli.options import ERR, OUT, Access, Remote
from gitops.errors import GitopsError


def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects, one per environment.")
    ] = False,
    access: Access = None,
    remote: Remote = None,
) -> None:
    """Show the declared and the running release of each environment, wave by wave.

    Exits with 0 only when every environment runs the release that main declares for it. Prints tags
    that look like verdicts and are none on the other stream; they count for nothing.
    """
    from gitops.airflow.client import ACCESS_FILE, load_access
    from gitops.airflow.status import collect, ignored, show
    from gitops.dvc import provenance
    from gitops.release.state import Ledger

    provenance.begin()
    repository, remote = open_checkout(remote)
    known = load_access(access or repository.path / ACCESS_FILE)
    ledger = Ledger.fetch(repository, remote)
    rows = collect(ledger, known, meeting(repository, remote))
    if as_json:
        print(json.dumps([row.plain() for row in rows], indent=1))
    else:
        show(rows, known, OUT)
    if ledger.environments_problem:
        ERR.print(
            f"main: {ledger.environments_problem}. The last valid environments count until then",
            markup=False,
            soft_wrap=True,
            style="red",
        )
    for line in ignored(ledger.verdicts.ignored, remote):
        ERR.print(line, markup=False, soft_wrap=True, style="yellow")
    if ledger.environments_problem or not all(row.agree for row in rows):
        raise typer.Exit(1)


def diff(
    one: Annotated[
        str | None,
        typer.Argument(metavar="A", help="An environment, a branch or a commit.", show_default=False),
    ] = None,
    other: Annotated[str | None, typer.Argument(metavar="B", help="Likewise.", show_default=False)] = None,
    base: Annotated[
        str, typer.Option(metavar="BRANCH", help="Without A and B: the branch that it would be merged into.")
    ] = "main",
    head: Annotated[
        str, typer.Option(metavar="BRANCH", help="Without A and B: what would be merged.")
    ] = "HEAD",
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    remote: Remote = None,
) -> None:
    """Show what is different: DAGs, parameters, data, dependencies, model, speed, settings.

    `gitops diff staging prod` compares what main declares for two environments, `gitops diff A B` two
    commits, `gitops diff` alone is what HEAD changes since it left main. The DAG files of both sides are
    loaded, in processes of their own that see none of your variables.
    """
    from dataclasses import replace

    from gitops.diff.diff import between_settings, compare
    from gitops.release.state import Ledger

    if (one is None) != (other is None):
        raise GitopsError("diff takes two names, A and B, or none")
    repository, remote = open_checkout(remote, needed=False)
    ledger = Ledger.fetch(repository, remote, main=base) if remote else Ledger(repository, main=base)
    if one is not None and other is not None:
        both = one in ledger.environments and other in ledger.environments
        before, after = _named(ledger, remote, one), _named(ledger, remote, other)
        found = compare(repository, before, after, environments=not both)
        if both and one != other:
            between = between_settings(repository, ledger.tip, one, other)
            found = replace(found, sections=(*found.sections, between))
    else:
        after = commit_of(repository, remote, head)
        before = repository.merge_base(ledger.tip, after)
        if before is None:
            raise GitopsError(f"{head} shares no history with {base}; name two commits instead")
        found = compare(repository, before, after)
    if as_json:
        print(json.dumps(found.plain(), indent=1))
    elif as_markdown:
        print(found.markdown(), end="")
    else:
        found.show(OUT)


def _named(ledger: Any, remote: str, name: str) -> str | None:
    if name in ledger.environments:
        return ledger.declared(name).commit
    return commit_of(ledger.repository, remote, name)
