"""The command `approve`."""

from typing import Annotated

import typer

from gitops.cli.context import commit_of, meeting, open_checkout
from gitops.cli.options import OUT, Environment, Remote
from gitops.text import instructions


def approve(
    environment: Environment,
    commit: Annotated[
        str | None,
        typer.Argument(
            metavar="[COMMIT]", help="The release.", show_default="the one that is due for the environment"
        ),
    ] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Push the approval. Without this option, only show the changes.")
    ] = False,
    remote: Remote = None,
) -> None:
    """Approve a release for an environment that asks for approvals.

    An approval is a tag, `approved/ENV/COMMIT/YOU`, which git signs with your SSH key. It counts if
    `environments/allowed_signers` lists you, for the days that `environment.yaml` names. Authors of the
    change, and of its promotion, cannot approve it.
    """
    from gitops.errors import NothingToDoError, RuleError
    from gitops.findings import Finding
    from gitops.promotion.approved import approved, refuses
    from gitops.promotion.due import due
    from gitops.promotion.evidence import Evidence
    from gitops.promotion.proposals import describe
    from gitops.release.approvals import give
    from gitops.release.load import add, fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    if not state.environments[environment].approvals:
        raise NothingToDoError(f"{environment} asks for no approvals")
    named = commit_of(repository, remote, commit) if commit else due(state, environment)
    if named is None:
        raise NothingToDoError(f"no release is due for {environment}")
    if named not in state.trunk:
        problem = f"{named[:12]} is not on main"
        raise RuleError(
            Finding(environment, problem, "name a commit that main pointed to", rule="not-on-main")
        )
    state, evidence = add(state, repository, [named]), Evidence.of(repository)
    OUT.print(
        describe(repository, state, state.present(environment).commit, named), markup=False, soft_wrap=True
    )
    command = instructions.approve(environment, named)
    if not push:
        given = approved(state, environment, named, evidence)
        OUT.print(f"\n{environment}: {given}. To approve it:\n\n    {command}", markup=False, soft_wrap=True)
        return
    tag, mine = give(repository, state.lists, state.environments[environment], named)
    if why := refuses(state, environment, named, evidence, mine):
        problem = f"would not count: {why}"
        raise RuleError(Finding(tag.name, problem, "let somebody else approve it", rule="approvals"))
    before = [old.object_id for old in repository.tags(tag.name, remote=remote) if old.name == tag.name]
    reference = f"refs/tags/{tag.name}"
    repository.push(remote, {reference: tag.object_id}, leases={reference: before[0] if before else None})
    OUT.print(f"Pushed: {tag.name} on {remote}", style="green", soft_wrap=True)
    state = fetch_state(repository, remote, commits=[named])
    given = approved(state, environment, named, evidence)
    OUT.print(f"{environment}: {given}", markup=False, soft_wrap=True)
    if given.enough:
        commands = instructions.promote(environment, meeting(repository, remote))
        OUT.print(f"Next commands:\n\n{instructions.text(commands, '    ')}", markup=False, soft_wrap=True)
