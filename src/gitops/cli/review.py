"""The commands that judge a change: `check`, `scope`, `trial`, `packages` and `report`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli.context import commit_of, comparer, open_checkout
from gitops.cli.options import (
    ERR,
    OUT,
    Base,
    Head,
    Jobs,
    JobsFile,
    LoadDags,
    Remote,
    WithoutStorage,
    show_judgement,
    show_logs,
)
from gitops.errors import GitopsError

if TYPE_CHECKING:
    from gitops.promotion.jobs import Job


def check(
    base: Base = "main",
    head: Head = "HEAD",
    jobs: Jobs = None,
    jobs_file: JobsFile = None,
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Check whether a branch may be merged: release files, settings, parameters, promotion rules, models.

    Prints every broken rule and exits with 1. It judges the merge: the files that main would have afterwards,
    and not those of the branch. Only commits are checked: uncommitted changes do not count.

    No code of the branch is run: params.yaml, its overlays, dvc.yaml and dvc.lock are read as the stages and
    DVC read them, and the code of main compares models. A model that was made before the branch changed its
    parameters, code or data is no obstacle to a merge: a note names the differences and the command that
    trains it. Promote it after that.

    A new model and the one that runs answer the same images here; that takes a minute or more, once for each
    pair of models and each version of that code, and is kept in `.visage/gates`. Without any DVC remote to
    fetch them from, the accuracies recorded by both commits are compared instead, and the table states it. If
    the remote does not respond, the gate fails.
    """
    from gitops.dvc import provenance
    from gitops.dvc.remote import Storage
    from gitops.git.merge_result import merge_result
    from gitops.promotion.evidence import Evidence
    from gitops.promotion.judgement import Judgement, RefusedError
    from gitops.promotion.merge import judge_result
    from gitops.promotion.pipeline import note
    from gitops.release.load import fetch_state
    from gitops.report.collect import failed

    provenance.begin()
    repository, remote = open_checkout(remote)
    storage = Storage(repository.path, optional=without_storage)
    evidence = Evidence.of(repository, storage, comparer(repository, remote))
    state = fetch_state(repository, remote, main=base)
    commit = commit_of(repository, remote, head)
    result, broken = merge_result(repository, state.tip, commit, remote=remote, branch=head)
    changed = repository.changed(result.main, result.commit) if result else []
    judgement = judge_result(repository, state, result, evidence) if result else Judgement(tuple(broken))
    judgement += Judgement(tuple(failed(_results(jobs, jobs_file), changed)))
    show_judgement(judgement)
    if judgement.findings:
        raise RefusedError(judgement)
    OUT.print(f"OK to merge {commit[:12]} into {base}.", style="green")
    if line := note(evidence, result.commit if result else commit, changed, head if head != "HEAD" else base):
        OUT.print(f"Note: {line}", soft_wrap=True, markup=False, style="yellow")


def annotate(
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND ...", help="The command to run.", show_default=False)
    ],
) -> None:
    """Run a check, such as `make lint`, and name its faults at their files and lines.

    Prints the output of the command, and at its end a line `::error file=...` for each fault, which GitHub
    shows beside the line in a pull request. Exits with the status of the command.
    """
    import shlex
    import subprocess

    from gitops.promotion.jobs import annotations

    shown = shlex.join(command)
    output: list[str] = []
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        raise GitopsError(f"{shown}: {error.strerror}") from error
    with process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            output.append(line)
    if process.returncode:
        here = "".join(output).replace(f"{Path.cwd()}/", "")
        for line in annotations(here, f"run in a checkout: {shown}"):
            print(line)
        raise typer.Exit(process.returncode)


def scope(base: Base = "main", head: Head = "HEAD", remote: Remote = None) -> None:
    """Print which checks a branch needs, by its changed files. Changes of documents alone skip training.

    Prints a line for each check, `test=true` or `test=false`, as GitHub Actions takes them for the outputs of
    a step, and at last `models=true` if `gitops check` would compare models. Results go to stdout, reasons to
    stderr.
    """
    from gitops.promotion.scope import CHECKS, compares_models, of_files
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote, main=base)
    commit = commit_of(repository, remote, head)
    start = repository.merge_base(state.tip, commit)
    # A branch without common history with main changes everything.
    changed = repository.changed(start, commit) if start else repository.files(commit)
    needed = of_files(changed)
    for check in CHECKS:
        print(f"{check}={'true' if check in needed else 'false'}")
        why = f"for {needed[check]}" if check in needed else "not needed"
        ERR.print(f"{check}: {why}", soft_wrap=True, markup=False)
    print(f"models={'true' if compares_models(changed) else 'false'}")


def trial(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Leave metrics, plots and times there.", show_default=False)
    ],
    base: Base = "main",
    head: Head = "HEAD",
    minutes: Annotated[float, typer.Option(help="The longest that one side may take.", min=1)] = 60,
    remote: Remote = None,
) -> None:
    """Run the pipeline of a branch, and of the commit that it left main at, on small data.

    Both run `dvc repro` with the profile `small` in temporary clones, and leave only the results that
    `gitops report --trial DIR` shows. `.visage/trials` keeps the results by the inputs of the run.
    """
    from datetime import timedelta

    from gitops.release.load import fetch_state
    from gitops.training.trial import run

    show_logs(ctx, logging.INFO)
    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote, main=base)
    commit = commit_of(repository, remote, head)
    start = repository.merge_base(state.tip, commit)
    out.mkdir(parents=True, exist_ok=True)
    run(
        repository,
        commit,
        start,
        out,
        timeout=timedelta(minutes=minutes),
        announce=lambda message: ERR.print(message, soft_wrap=True, markup=False),
    )


def packages(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Leave the results there.", show_default=False)],
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The results with other packages, to compare with.", show_default=False
        ),
    ] = None,
    head: Head = "HEAD",
    minutes: Annotated[float, typer.Option(help="The longest that the pipeline may take.", min=1)] = 60,
) -> None:
    """Run the pipeline of a commit on small data with the packages that are installed here.

    Run it before and after `make lock` and `make setup`. The second time, `--before` names the first results:
    the model of then answers the same images with the packages of now, and a table shows the changes in
    decisions, speed and size.
    """
    from datetime import timedelta

    from gitops.git.repository import Repository
    from gitops.report.packages import render
    from gitops.training.packages import Measured, measure

    show_logs(ctx, logging.INFO)
    repository = Repository.find()
    measure(
        repository,
        repository.resolve(head),
        out,
        before=before,
        timeout=timedelta(minutes=minutes),
        announce=lambda message: ERR.print(message, soft_wrap=True, markup=False),
    )
    if before is not None:
        print(render(Measured.load(before), Measured.load(out)))


def report(
    base: Base = "main",
    head: Head = "HEAD",
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Its name in the report.", show_default="HEAD as given")
    ] = None,
    trial: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder that gitops trial wrote.", show_default=False),
    ] = None,
    jobs: Jobs = None,
    jobs_file: JobsFile = None,
    price: Annotated[
        float | None,
        typer.Option(metavar="DOLLARS", help="The price of a minute of a job.", min=0, show_default=False),
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the whole report is, if it is cut.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there.", show_default="print it")
    ] = None,
    whole: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there uncut, too.", show_default=False)
    ] = None,
    load_dags: LoadDags = False,
    without_storage: WithoutStorage = False,
    remote: Remote = None,
) -> None:
    """Write the Markdown for a comment on a pull request: the verdict, the metrics and the changes.

    Never longer than 65,000 characters. The verdict is that of `gitops check`.
    """
    import sys

    from gitops.dvc.remote import Storage
    from gitops.promotion.evidence import Evidence
    from gitops.release.load import fetch_state, load_state
    from gitops.report.collect import gather
    from gitops.report.render import render
    from gitops.training.trial import Trial

    repository, remote = open_checkout(remote, needed=False)
    storage = Storage(repository.path, optional=without_storage)
    evidence = Evidence.of(repository, storage, comparer(repository, remote))
    state = fetch_state(repository, remote, main=base) if remote else load_state(repository, main=base)
    inputs = gather(
        repository,
        state,
        commit_of(repository, remote, head),
        evidence,
        base=base,
        name=name or head,
        trial=Trial.load(trial) if trial else None,
        jobs=_results(jobs, jobs_file),
        price=price,
        load_dags=load_dags,
    )
    text = render(inputs, artifact=artifact)
    if whole:
        _write(whole, render(inputs, longest=sys.maxsize))
    if out:
        _write(out, text)
    else:
        print(text, end="")


def _results(jobs: list[str] | None, file: Path | None) -> "dict[str, Job]":
    from gitops.promotion.jobs import Job, load

    results = load(file) if file else {}
    for job in jobs or ():
        name, equals, result = job.partition("=")
        if not (name and equals and result):
            raise GitopsError(f"--job {job}: not NAME=RESULT")
        results[name] = Job(result=result)
    return results


def _write(path: Path, text: str) -> None:
    from gitops import atomic

    try:
        atomic.write(path, text, mode=0o644)
    except OSError as error:
        raise GitopsError(f"{path}: {error.strerror}") from error
