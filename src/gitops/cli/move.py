"""The commands that move a release: `promote`, `rollback`, `release-hold` and `merge`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from gitops import instructions
from gitops.checkout import comparer, meeting, open_checkout
from gitops.cli.options import OUT, Environment, Push, Remote, WithoutStorage, say_unchecked, show_gates


def promote(
    environment: Environment,
    push: Push = False,
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Propose to an environment the release that the one before it runs.

    staging gets what dev runs, prod gets what staging runs and has verified. The proposal is a branch,
    `promote/ENV`, with one commit that changes that environment's release file.
    """
    from gitops import provenance
    from gitops.ledger import Ledger
    from gitops.promotion import promote as propose
    from gitops.storage import Storage

    provenance.begin()
    repository, remote = open_checkout(remote)
    storage = Storage(repository.path, optional=without_storage)
    ledger = Ledger.fetch(repository, remote, storage=storage, compare=comparer(repository, remote))
    try:
        proposal = propose(ledger, environment, remote)
    finally:
        show_gates(ledger)
        say_unchecked(storage)
    _finish(ledger, remote, proposal, push, instructions.promote(environment, meeting(repository, remote)))


def rollback(
    environment: Environment,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT",
            help="A release that this environment ran before.",
            show_default="the last one that it verified before the present one",
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Why; kept in the release file as the hold.", show_default=False),
    ] = None,
    push: Push = False,
    remote: Remote = None,
) -> None:
    """Propose to an environment a release that it ran before.

    Promotions into that environment are then held until a merged `gitops release-hold ENV --push`.
    """
    from gitops.ledger import Ledger
    from gitops.promotion import rollback as propose

    repository, remote = open_checkout(remote)
    ledger = Ledger.fetch(repository, remote)
    proposal = propose(ledger, environment, remote, to=to, reason=reason)
    commands = instructions.roll_back(environment, meeting(repository, remote), to=to, reason=reason)
    _finish(ledger, remote, proposal, push, commands)


def release_hold(environment: Environment, push: Push = False, remote: Remote = None) -> None:
    """Propose to allow promotions into an environment again, after a rollback."""
    from gitops.ledger import Ledger
    from gitops.promotion import release_hold as propose

    repository, remote = open_checkout(remote)
    ledger = Ledger.fetch(repository, remote)
    commands = instructions.lift_hold(environment, meeting(repository, remote))
    _finish(ledger, remote, propose(ledger, environment, remote), push, commands)


def merge(
    branch: Annotated[
        str, typer.Argument(metavar="BRANCH", help="A branch of the remote.", show_default=False)
    ],
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Check a branch, merge it into main and push that.

    It is what a forge's merge button does, for a team without a forge.
    """
    from gitops import provenance
    from gitops.merge import merge as merge_branch
    from gitops.storage import Storage

    provenance.begin()
    repository, remote = open_checkout(remote)
    storage = Storage(repository.path, optional=without_storage)
    compare = comparer(repository, remote)
    commit = merge_branch(repository, remote, branch, storage=storage, compare=compare)
    say_unchecked(storage)
    OUT.print(f"Merged {branch} into main of {remote} as {commit[:12]}", style="green")


def _finish(ledger: Any, remote: str, proposal: Any, push: bool, commands: Sequence[str]) -> None:
    from gitops.promotion import push as push_proposal

    OUT.print(
        ledger.repository.git("show", "--no-patch", "--format=%B", proposal.commit),
        markup=False,
        soft_wrap=True,
    )
    if not push:
        _tell(f"Not pushed. To do it, merge {proposal.branch} and see that it worked:", commands)
        return
    push_proposal(ledger, remote, proposal)
    done = "Was there already" if proposal.known else "Pushed"
    OUT.print(f"{done}: {proposal.branch} on {remote}", style="green")
    proposed = next(number for number, command in enumerate(commands) if command.endswith(" --push"))
    _tell("What is left to do:", commands[proposed + 1 :])


def _tell(what: str, commands: Sequence[str]) -> None:
    OUT.print(f"{what}\n", soft_wrap=True, markup=False)
    OUT.print(instructions.text(commands, indent="    "), soft_wrap=True, markup=False)
