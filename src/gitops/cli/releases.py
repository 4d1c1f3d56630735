"""The commands that move a release: `promote`, `rollback`, `hold`, `unhold` and `merge`."""

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gitops.cli import completion
from gitops.cli.context import comparer, meeting, open_checkout
from gitops.cli.options import OUT, Environment, Push, Remote, WithoutStorage, show_judgement
from gitops.text import instructions

_PAUSE = 5.0
_HEARTBEAT = 15.0
"""Seconds between two looks for a verdict."""


def promote(
    environment: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENV]",
            help="An environment that takes promotions.",
            show_default=False,
            autocompletion=completion.environments,
        ),
    ] = None,
    wave: Annotated[
        str | None,
        typer.Option(metavar="WAVE", help="Instead of ENV: all environments of a wave.", show_default=False),
    ] = None,
    push: Push = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the environments before it have verified the release.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0, metavar="MINUTES", help="With --wait: how long to wait.")
    ] = 15,
    override: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The reason to promote outside of the calendar. You must be an allowed signer.",
            show_default=False,
        ),
    ] = None,
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Propose to an environment, or to a wave of them, the release that the ones before it run.

    `environments/*/environment.yaml` names the previous environments. Each of them must have verified the
    release, and its model must be made from its own parameters, code and data. The proposal is a branch,
    `promote/ENV` or `promote-wave/WAVE`, with one commit that changes the release files of those
    environments.
    """
    from gitops.dvc import provenance
    from gitops.dvc.remote import Storage
    from gitops.promotion.evidence import Evidence
    from gitops.promotion.judgement import RefusedError
    from gitops.promotion.promotions import promote as propose
    from gitops.promotion.promotions import promote_wave
    from gitops.release.load import fetch_state

    if override is not None and wave is not None:
        raise typer.BadParameter("--override is for one environment; give ENV in place of --wave")
    if environment is not None and wave is None:
        name = environment
        propose_it = functools.partial(propose, override=override)
        commands_of = functools.partial(instructions.promote, override=override)
    elif wave is not None and environment is None:
        name, propose_it, commands_of = wave, promote_wave, instructions.promote_wave
    else:
        raise typer.BadParameter("give an environment, or --wave and the name of a wave")
    provenance.begin()
    repository, remote = open_checkout(remote)
    if wait:
        _await_verdicts(repository, remote, environment, wave, minutes * 60)
    storage = Storage(repository.path, optional=without_storage)
    state = fetch_state(repository, remote)
    try:
        evidence = Evidence.of(repository, storage, comparer(repository, remote))
        proposal = propose_it(repository, state, name, remote, evidence)
    except RefusedError as refused:
        show_judgement(refused.judgement)
        raise
    show_judgement(proposal.judgement)
    finish(repository, remote, proposal, push, commands_of(name, meeting(repository, remote)))


def _await_verdicts(
    repository: Any, remote: str, environment: str | None, wave: str | None, seconds: float
) -> None:
    """Wait until every verdict is there. After `seconds`, return anyway: the rules name the problem."""
    import time

    from gitops.promotion.due import awaited
    from gitops.release.load import fetch_state

    started, printed, at = time.monotonic(), "", 0.0
    while True:
        state = fetch_state(repository, remote)
        names = state.environments.wave(wave) if wave is not None else (str(environment),)
        missing = list(dict.fromkeys(source for name in names for source in awaited(state, name)))
        if not missing:
            return
        line = f"Waiting for {' and '.join(missing)} to verify the release; see .venv/bin/gitops status"
        waited = time.monotonic() - started
        if line != printed:
            OUT.print(line, soft_wrap=True)
            printed, at = line, waited
        elif waited - at >= _HEARTBEAT:
            OUT.print(
                f"  still waiting after {waited:.0f} s, at most {seconds / 60:g} minutes", soft_wrap=True
            )
            at = waited
        if waited >= seconds:
            return
        time.sleep(min(_PAUSE, seconds))


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
    keep_runtime: Annotated[
        bool, typer.Option("--keep-runtime", help="Keep the present runtime; only the commit goes back.")
    ] = False,
    push: Push = False,
    remote: Remote = None,
) -> None:
    """Propose to an environment a release that it ran before, with the runtime that it had then.

    Promotions into that environment are then held until a merged `gitops unhold ENV --push`.
    """
    from gitops.promotion.rollbacks import rollback as propose
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    proposal = propose(
        repository, state, environment, remote, to=to, reason=reason, keep_runtime=keep_runtime
    )
    at = meeting(repository, remote)
    commands = instructions.roll_back(environment, at, to=to, reason=reason, keep_runtime=keep_runtime)
    finish(repository, remote, proposal, push, commands)


def hold(
    environment: Environment,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.", show_default=False)],
    until: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="The day, YYYY-MM-DD, on which the hold ends, as that day begins in UTC.",
            show_default="until somebody lifts it",
        ),
    ] = None,
    push: Push = False,
    remote: Remote = None,
) -> None:
    """Propose to keep promotions out of an environment, such as for a change freeze.

    An environment can have several holds, each with its reason. Rollbacks stay possible.
    """
    from gitops.promotion.holds import hold as propose
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    end = until.replace(tzinfo=UTC).date() if until else None
    proposal = propose(repository, state, environment, remote, reason, until=end)
    at = meeting(repository, remote)
    commands = instructions.hold(environment, at, reason=reason, until=end.isoformat() if end else None)
    finish(repository, remote, proposal, push, commands)


def unhold(
    environment: Environment,
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Of several holds, the one with this reason, or with these words in it.",
            show_default=False,
        ),
    ] = None,
    push: Push = False,
    remote: Remote = None,
) -> None:
    """Propose to lift a hold of an environment, after a rollback for example. Its other holds stay."""
    from gitops.promotion.holds import unhold as propose
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    proposal = propose(repository, state, environment, remote, reason=reason)
    commands = instructions.unhold(environment, meeting(repository, remote), reason=reason)
    finish(repository, remote, proposal, push, commands)


def merge(
    branch: Annotated[
        str,
        typer.Argument(
            metavar="BRANCH",
            help="A branch of the remote.",
            show_default=False,
            autocompletion=completion.branches,
        ),
    ],
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Check a branch, merge it into main and push that.

    This command replaces the merge button for a team without a forge.
    """
    from gitops.dvc import provenance
    from gitops.dvc.remote import Storage
    from gitops.promotion.evidence import Evidence
    from gitops.promotion.merge import PROPOSALS
    from gitops.promotion.merge import merge as merge_branch

    provenance.begin()
    repository, remote = open_checkout(remote)
    storage = Storage(repository.path, optional=without_storage)
    evidence = Evidence.of(repository, storage, comparer(repository, remote))
    merged = merge_branch(repository, remote, branch, evidence=evidence)
    commit = merged.commit
    show_judgement(merged.judgement)
    OUT.print(f"Merged {branch} into main of {remote} as {commit[:12]}", style="green", soft_wrap=True)
    if not branch.startswith(PROPOSALS) and (notice := provenance.notice(repository, commit)):
        for line in (f"main has a {notice.text}", f"  {notice.command}"):
            OUT.print(line, soft_wrap=True, markup=False, style="yellow")


def finish(repository: Any, remote: str, proposal: Any, push: bool, commands: Sequence[str]) -> None:
    """Print a proposal and the commands that are left; push it if that was asked for."""
    from gitops.promotion.proposals import push as push_proposal

    OUT.print(
        repository.git("show", "--no-patch", "--format=%B", proposal.commit),
        markup=False,
        soft_wrap=True,
    )
    if not push:
        _tell(f"Not pushed. To push and merge {proposal.branch}, and to see the result:", commands)
        return
    push_proposal(repository, remote, proposal)
    done = "Was there already" if proposal.known else "Pushed"
    OUT.print(f"{done}: {proposal.branch} on {remote}", style="green")
    proposed = next(number for number, command in enumerate(commands) if " --push" in command)
    _tell("Next commands:", commands[proposed + 1 :])


def _tell(what: str, commands: Sequence[str]) -> None:
    OUT.print(f"{what}\n", soft_wrap=True, markup=False)
    OUT.print(instructions.text(commands, indent="    "), soft_wrap=True, markup=False)
