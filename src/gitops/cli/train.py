"""The command that trains: `train`."""

from typing import Annotated, Any, Literal

import typer

from gitops.cli import completion
from gitops.cli.context import open_checkout
from gitops.cli.options import ERR, OUT, Access, Remote
from gitops.errors import RuleError, TrainingError
from gitops.text import instructions


def train(
    branch: Annotated[
        str,
        typer.Argument(
            metavar="BRANCH",
            help="A branch of the remote.",
            show_default=False,
            autocompletion=completion.branches,
        ),
    ],
    on_main: Annotated[
        bool,
        typer.Option(
            "--on-main",
            help="Train main with the data and code that the branch changes, and without its results.",
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run, and print its candidate at the end.")
    ] = False,
    profile: Annotated[
        Literal["full", "small"],
        typer.Option(help="small: a minute or two, to see whether it works; never a candidate."),
    ] = "full",
    minutes: Annotated[
        float, typer.Option(min=1, metavar="MINUTES", help="With --wait: how long the run may take.")
    ] = 360,
    access: Access = None,
    remote: Remote = None,
) -> None:
    """Train a model from a branch, in the Airflow of the environment that follows main.

    Starts a run of ml_pipeline_face_attributes, or finds the run that is under way for the branch. With
    --wait, prints a line for each task, and at the end the candidate branch and the next command. If the DAG
    is paused, --wait unpauses it for the run and pauses it again at the end; without --wait that is an error.

    A candidate that was trained from an earlier main conflicts with main in dvc.lock once main has another
    model. With --on-main its labelled batches, and whatever else it changes, are put on main as it is now, on
    the branch retrain/BRANCH, and the environment that follows main trains that.

    Exits with 0 when the run ended well, also when it made nothing new; with 1 when it failed, when the gates
    refused the model, or when the run could not be started or is not over in time. An interrupted command
    leaves the run alone; the same command follows it again.
    """
    from gitops.airflow import training_runs
    from gitops.airflow.client import ACCESS_FILE, Airflow, load_access
    from gitops.dvc import provenance
    from gitops.promotion.evidence import Evidence
    from gitops.promotion.pipeline import unreadable
    from gitops.release.load import fetch_state
    from gitops.training.candidate import candidate_branch

    provenance.begin()
    repository, remote = open_checkout(remote)
    path = access or repository.path / ACCESS_FILE
    state = fetch_state(repository, remote)
    environment = state.environments.root
    known = load_access(path).get(environment)
    commit = _pushed(repository, remote, branch)
    if on_main:
        branch, commit = _put_on_main(repository, state.tip, remote, branch, commit)
    # Check here, without a run, for the errors at which every stage would stop.
    if broken := unreadable(Evidence.of(repository), state.tip, commit):
        raise RuleError(*broken)
    if known is None:
        raise TrainingError(f"{path}: names no Airflow of {environment}", command="make up")

    def echo(line: str) -> None:
        OUT.print(line, soft_wrap=True, markup=False)

    again = instructions.train(branch, *(() if profile == "full" else ("--profile", profile)))
    with Airflow(known, timeout=30) as airflow:
        started = training_runs.start(
            airflow, branch, commit, profile, environment=environment, unpause=wait, echo=echo
        )
        echo(f"Watch it: {known.web or known.url}/dags/{training_runs.DAG}/runs/{started.run}")
        if not wait:
            echo(f"Follow it: {again}")
            return
        try:
            seconds = minutes * 60
            state = training_runs.follow(
                airflow, started.run, seconds=seconds, show=training_runs.Progress(echo)
            )
        except KeyboardInterrupt:
            goes_on = f" {training_runs.DAG} stays unpaused until then." if started.unpaused else ""
            line = f"Interrupted. The run goes on.{goes_on} Follow it: {again}"
            ERR.print(line, soft_wrap=True, markup=False)
            raise typer.Exit(130) from None
        if state is None:
            raise TrainingError(f"{started.run} is not over after {minutes:g} minutes, and goes on: {again}")
        if started.unpaused:
            training_runs.settle(airflow, started.run)
            echo(f"{training_runs.DAG} is paused again")
        if state != "success":
            raise TrainingError(training_runs.failure(airflow, started.run, f"{known.web or known.url}"))
    repository.fetch(remote)
    _report(repository, remote, candidate_branch(started.run), branch, profile, echo)


def _put_on_main(repository: Any, main: str, remote: str, branch: str, head: str) -> tuple[str, str]:
    """Push the inputs of a branch, on main as it is now; return the name and commit of that branch."""
    from gitops.training import on_main

    name, commit = on_main.branch_of(branch), on_main.on_main(repository, main, head)
    reference = repository.branch_ref(remote, name)
    before = repository.resolve(reference) if repository.has(reference) else None
    if before and _same(repository, before, commit):
        return name, before
    repository.push(remote, {f"refs/heads/{name}": commit}, leases={f"refs/heads/{name}": before})
    repository.fetch(remote)
    OUT.print(f"Pushed: {name} on {remote}", style="green", soft_wrap=True, markup=False)
    return name, commit


def _same(repository: Any, first: str, second: str) -> bool:
    """Return whether two commits have the same files and parents, so that a run of one is a run of both."""
    return (
        len({repository.git("show", "--no-patch", "--format=%T %P", commit) for commit in (first, second)})
        == 1
    )


def _pushed(repository: Any, remote: str, branch: str) -> str:
    """Return the commit of a branch of the remote, which must not be behind the branch of the checkout."""
    reference, own = repository.branch_ref(remote, branch), f"refs/heads/{branch}"
    push = instructions.push(remote, branch)
    if not repository.has(reference):
        raise TrainingError(f"{branch}: no such branch on {remote}; push it first", command=push)
    commit: str = repository.resolve(reference)
    if repository.has(own):
        mine = repository.resolve(own)
        if mine != commit and repository.is_ancestor(commit, mine):
            problem = f"{branch}: your commit {mine[:12]} is not on {remote}; push it first"
            raise TrainingError(problem, command=push)
    return commit


def _report(repository: Any, remote: str, candidate: str, branch: str, profile: str, echo: Any) -> None:
    """Print the result of a run that succeeded."""
    reference = repository.branch_ref(remote, candidate)
    if profile != "full":
        echo(f"The pipeline works on {branch}. A model of profile {profile} is never proposed. Next:")
        echo(f"  {instructions.train(branch)}")
    elif not repository.has(reference):
        echo(f"Nothing new: {branch} or main already has the model, metrics and data that the run made.")
        echo("  .venv/bin/gitops status")
    else:
        OUT.print(f"Candidate: {candidate}", style="green", soft_wrap=True, markup=False)
        echo(f"  {repository.commit_info(reference).subject}")
        echo("Next:")
        for command in instructions.review(candidate):
            echo(f"  {command}")
