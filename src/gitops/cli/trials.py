"""The commands that try a model beside a release: `shadow` and `canary`."""

from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli.context import meeting, open_checkout
from gitops.cli.options import Environment, Push, Remote, WithoutStorage, show_judgement
from gitops.cli.releases import finish
from gitops.text import instructions

if TYPE_CHECKING:
    from gitops.release.file import TrialKind


def shadow(
    environment: Environment,
    commit: Annotated[
        str | None,
        typer.Argument(
            metavar="[COMMIT]", help="A commit of main.", show_default="the one that is due for promotion"
        ),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Propose to end the trial.")] = False,
    push: Push = False,
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Propose to let an environment try another model beside its release, on its own batches.

    The code of the release runs the model of COMMIT too. Its results are kept apart, and a failure of it
    stops nothing. The environment answers with the signed tag `shadowed/ENV/COMMIT`.
    """
    if stop and commit is not None:
        raise typer.BadParameter("--stop takes no COMMIT")
    _propose("shadow", environment, commit, None, stop, push, without_storage, remote)


def canary(
    environment: Environment,
    commit: Annotated[
        str | None,
        typer.Argument(
            metavar="[COMMIT]",
            help="A commit of main.",
            show_default="the present canary, or the one that is due for promotion",
        ),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="The share that it answers: 1% to 99%.", show_default="10%"),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Propose to end the canary.")] = False,
    push: Push = False,
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Propose to let the model of COMMIT answer a share of the batches and online requests of an environment.

    A hash of the name of a batch, or of a photograph, decides who answers it. The other model scores the
    batch too, so both are compared on the same images. The environment rejects a canary that fails, is too
    slow or is worse, and answers everything with its release again. Larger shares are proposed when there is
    enough evidence.
    """
    if stop and (commit is not None or share is not None):
        raise typer.BadParameter("--stop takes no COMMIT and no --share")
    percent = None if stop else _percent(share or "10%")
    _propose("canary", environment, commit, percent, stop, push, without_storage, remote)


def _propose(
    kind: "TrialKind",
    environment: str,
    commit: str | None,
    share: int | None,
    stop: bool,
    push: bool,
    without_storage: bool,
    remote: str | None,
) -> None:
    from gitops.cli.context import commit_of
    from gitops.dvc.remote import Storage
    from gitops.errors import NothingToDoError
    from gitops.promotion.due import due
    from gitops.promotion.evidence import Evidence
    from gitops.promotion.trial_proposals import propose_trial
    from gitops.release.load import add, fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    named = None
    if not stop:
        state.environments[environment]  # An unknown name is refused first
        present = state.present(environment).canary if kind == "canary" else None
        named = commit_of(repository, remote, commit) if commit else present or due(state, environment)
        if named is None:
            raise NothingToDoError(f"no release is due for {environment}")
        state = add(state, repository, [named])
    evidence = Evidence.of(repository, Storage(repository.path, optional=without_storage))
    proposal = propose_trial(repository, state, environment, remote, kind, named, share, evidence)
    show_judgement(proposal.judgement)
    commands = instructions.trials(kind, environment, named, share, meeting(repository, remote))
    finish(repository, remote, proposal, push, commands)


def _percent(text: str) -> int:
    number = text.strip().removesuffix("%")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 99):
        raise typer.BadParameter(f"--share {text[:20]}: a whole number from 1% to 99%")
    return int(number)
