"""The commands that inspect releases: `status` and `diff`."""

import json
from typing import Annotated, Any

import typer

from gitops.cli.context import commit_of, following, meeting, open_checkout, print_next
from gitops.cli.options import ERR, OUT, Access, LoadDags, Remote
from gitops.errors import GitopsError


def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects, one per environment.")
    ] = False,
    access: Access = None,
    remote: Remote = None,
) -> None:
    """Show the declared and the running release of each environment, wave by wave.

    Exits with status 0 only if every environment runs the release that main declares for it. Prints on stderr
    if main was rewritten, ignored tags, which look like verdicts but are not valid, and environments without
    a key.
    """
    from gitops.airflow.ask import collect
    from gitops.airflow.client import ACCESS_FILE, load_access
    from gitops.airflow.status import ignored, show, without_keys
    from gitops.dvc import provenance
    from gitops.release.load import fetch_state

    provenance.begin()
    repository, remote = open_checkout(remote)
    known = load_access(access or repository.path / ACCESS_FILE)
    state = fetch_state(repository, remote)
    rows = collect(repository, state, known, meeting(repository, remote))
    if as_json:
        print(json.dumps([row.plain() for row in rows], indent=1))
    else:
        show(rows, known, OUT)
    if state.environments_problem:
        ERR.print(
            f"main: {state.environments_problem}. The last valid environments count until then",
            markup=False,
            soft_wrap=True,
            style="red",
        )
    if state.main_fault:
        ERR.print(str(state.main_fault), markup=False, soft_wrap=True, style="red")
    for line in (*without_keys(state), *ignored((*state.verdicts.ignored, *state.approvals.ignored), remote)):
        ERR.print(line, markup=False, soft_wrap=True, style="yellow")
    if not as_json and not any(row.way_back for row in rows):
        print_next(following(repository, remote, state), OUT)
    if state.main_fault or state.environments_problem or not all(row.agree for row in rows):
        raise typer.Exit(1)


def diff(
    first: Annotated[
        str | None,
        typer.Argument(metavar="A", help="An environment, a branch or a commit.", show_default=False),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(metavar="B", help="An environment, a branch or a commit.", show_default=False),
    ] = None,
    base: Annotated[
        str, typer.Option(metavar="BRANCH", help="Without A and B: the target branch of the merge.")
    ] = "main",
    head: Annotated[
        str, typer.Option(metavar="BRANCH", help="Without A and B: the branch or commit to merge.")
    ] = "HEAD",
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    load_dags: LoadDags = False,
    remote: Remote = None,
) -> None:
    """Show the differences in DAGs, parameters, data, dependencies, model, manifests and settings.

    `gitops diff staging prod` compares the declared releases and runtimes of two environments, `gitops diff A
    B` two commits, and `gitops diff` shows the changes of HEAD since it left main. DAG files are compared by
    their syntax, and nothing of either side is executed. With `--load-dags` Airflow loads them, isolated from
    your variables, and where the system permits it from your files, processes and network.
    """
    from dataclasses import replace

    from gitops.diff.diff import between_runtimes, between_settings
    from gitops.diff.load import load_difference
    from gitops.release.load import fetch_state, load_state
    from gitops.release.snapshot import Snapshot

    if (first is None) != (second is None):
        raise GitopsError("give diff two names, A and B, or no name")
    repository, remote = open_checkout(remote, needed=False)

    def load(commit: str | None) -> Snapshot | None:
        return Snapshot.load(repository, commit) if commit else None

    state = fetch_state(repository, remote, main=base) if remote else load_state(repository, main=base)
    if first is not None and second is not None:
        both = first in state.environments and second in state.environments
        before, after = (load(_named(repository, state, remote, name)) for name in (first, second))
        difference = load_difference(repository, before, after, load_dags=load_dags, environments=not both)
        if both and first != second:
            runtime = between_runtimes(state, first, second)
            between = between_settings(state.main, first, second)
            difference = replace(difference, sections=(*difference.sections, runtime, between))
    else:
        commit = commit_of(repository, remote, head)
        start = repository.merge_base(state.tip, commit)
        if start is None:
            raise GitopsError(f"{head} shares no history with {base}; name two commits instead")
        difference = load_difference(repository, load(start), load(commit), load_dags=load_dags)
    if as_json:
        print(json.dumps(difference.plain(), indent=1))
    elif as_markdown:
        print(difference.markdown(), end="")
    else:
        difference.show(OUT)


def _named(repository: Any, state: Any, remote: str, name: str) -> str | None:
    if name in state.environments:
        return state.declared(name).commit
    return commit_of(repository, remote, name)
