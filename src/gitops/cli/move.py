"""The commands that move a release: `promote`, `rollback`, `release-hold` and `merge`."""

from typing import Annotated, Any

import typer

from gitops.checkout import comparer, open_checkout
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
    from gitops.ledger import Ledger
    from gitops.promotion import promote as propose
    from gitops.storage import Storage

    repository, remote = open_checkout(remote)
    storage = Storage(repository.path, optional=without_storage)
    ledger = Ledger.fetch(repository, remote, storage=storage, compare=comparer(repository, remote))
    try:
        proposal = propose(ledger, environment, remote)
    finally:
        show_gates(ledger)
        say_unchecked(storage)
    _finish(ledger, remote, proposal, push)


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

    Promotions into that environment are then held until `gitops release-hold ENV`.
    """
    from gitops.ledger import Ledger
    from gitops.promotion import rollback as propose

    repository, remote = open_checkout(remote)
    ledger = Ledger.fetch(repository, remote)
    _finish(ledger, remote, propose(ledger, environment, remote, to=to, reason=reason), push)


def release_hold(environment: Environment, push: Push = False, remote: Remote = None) -> None:
    """Propose to allow promotions into an environment again, after a rollback."""
    from gitops.ledger import Ledger
    from gitops.promotion import release_hold as propose

    repository, remote = open_checkout(remote)
    ledger = Ledger.fetch(repository, remote)
    _finish(ledger, remote, propose(ledger, environment, remote), push)


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
    from gitops.merge import merge as merge_branch
    from gitops.storage import Storage

    repository, remote = open_checkout(remote)
    storage = Storage(repository.path, optional=without_storage)
    compare = comparer(repository, remote)
    commit = merge_branch(repository, remote, branch, storage=storage, compare=compare)
    say_unchecked(storage)
    OUT.print(f"Merged {branch} into main of {remote} as {commit[:12]}", style="green")


def _finish(ledger: Any, remote: str, proposal: Any, push: bool) -> None:
    from gitops.promotion import push as push_proposal

    OUT.print(
        ledger.repository.git("show", "--no-patch", "--format=%B", proposal.commit),
        markup=False,
        soft_wrap=True,
    )
    if not push:
        OUT.print(
            f"Not pushed. Run it again with --push to push {proposal.branch} to {remote}.", soft_wrap=True
        )
        return
    push_proposal(ledger, remote, proposal)
    done = "Was there already" if proposal.known else "Pushed"
    OUT.print(f"{done}: {proposal.branch} on {remote}", style="green")
    OUT.print(f"Open a pull request from it, or run: gitops merge {proposal.branch}", soft_wrap=True)
