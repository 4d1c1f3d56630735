"""The command `gitops`."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from typer.core import TyperGroup

from gitops.checkout import commit_of as _commit
from gitops.checkout import comparer as _comparer
from gitops.checkout import open_checkout as _open
from gitops.errors import GitopsError, NothingToDoError, RuleError
from gitops.github import cli as github_cli

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)


class _Group(TyperGroup):
    """Turns the errors that a user can meet into one line and an exit status."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NothingToDoError as nothing:
            _OUT.print(f"Nothing to do: {nothing}", soft_wrap=True, markup=False)
            raise typer.Exit(0) from None
        except RuleError as error:
            _refuse(str(error).splitlines())
            raise typer.Exit(1) from None
        except GitopsError as error:
            _ERR.print(f"error: {error}", soft_wrap=True, markup=False, style="red")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Which release runs where, and how it gets there.

A **release** is a commit: it fixes the DAGs, the code, the parameters and the model.
`environments/<env>/release.yaml` on the branch `main` says which one runs in an environment: dev runs `main`
itself, staging and prod name a commit.

A release moves from dev to staging to prod by pull requests that change nothing but that file:

    gitops status                      what runs where
    gitops diff staging prod           what is different between two environments
    gitops promote staging --push      propose to staging what dev runs
    gitops merge promote/staging       check and merge it, as a forge does
    gitops rollback prod --push        propose to prod what it ran before

Your branches, index and files are never touched: everything is read from, and pushed to, a git remote.""",
)

app.add_typer(github_cli.app, name="github")

_Remote = Annotated[
    str | None,
    typer.Option(
        "--remote",
        envvar="GITOPS_REMOTE",
        metavar="NAME",
        help="The git remote to work with.",
        show_default="visage where there is one, else origin",
    ),
]
_Push = Annotated[
    bool, typer.Option("--push", help="Push the branch. Without this, only show what it would be.")
]
_WithoutStorage = Annotated[
    bool,
    typer.Option(
        "--without-dvc-remote",
        help="Where no DVC remote is configured, do not ask whether the model exists there.",
    ),
]
_Base = Annotated[str, typer.Option(metavar="BRANCH", help="The branch that it would be merged into.")]
_Head = Annotated[
    str, typer.Option(metavar="BRANCH", help="A branch of the remote, or any commit of this checkout.")
]
_Jobs = Annotated[
    list[str] | None,
    typer.Option(
        "--job",
        metavar="NAME=RESULT",
        help="What another check came to (success, skipped, failure, cancelled); may be given again.",
        show_default=False,
    ),
]
_Environment = Annotated[
    Literal["dev", "staging", "prod"],
    typer.Argument(metavar="ENV", help="staging or prod", show_default=False),
]


@app.command()
def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of objects, one per environment.")
    ] = False,
    access: Annotated[
        Path | None,
        typer.Option(
            envvar="GITOPS_ACCESS",
            metavar="FILE",
            help="Where the environments' Airflows are, and how to log in.",
            show_default=".visage/access.json",
        ),
    ] = None,
    remote: _Remote = None,
) -> None:
    """Show what is declared and what runs in each environment.

    Exits with 0 only when every environment runs what main declares for it.
    """
    from gitops.airflow import ACCESS_FILE, load_access
    from gitops.ledger import Ledger
    from gitops.status import collect, show

    repository, remote = _open(remote)
    known = load_access(access or repository.path / ACCESS_FILE)
    rows = collect(Ledger.fetch(repository, remote), known)
    if as_json:
        print(json.dumps([row.plain() for row in rows], indent=1))
    else:
        show(rows, known, _OUT)
    if not all(row.agree for row in rows):
        raise typer.Exit(1)


@app.command()
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
    remote: _Remote = None,
) -> None:
    """Show what is different: DAGs, parameters, data, dependencies, model, speed, settings.

    `gitops diff staging prod` compares what main declares for two environments, `gitops diff A B` two
    commits, `gitops diff` alone is what HEAD changes since it left main. The DAG files of both sides are
    loaded, in processes of their own that see none of your variables.
    """
    from dataclasses import replace

    from gitops.difference import between_settings, compare
    from gitops.ledger import Ledger
    from gitops.release import ENVIRONMENTS

    if (one is None) != (other is None):
        raise GitopsError("diff takes two names, A and B, or none")
    repository, remote = _open(remote, needed=False)
    ledger = Ledger.fetch(repository, remote, main=base) if remote else Ledger(repository, main=base)
    if one is not None and other is not None:
        both = one in ENVIRONMENTS and other in ENVIRONMENTS
        before, after = _named(ledger, remote, one), _named(ledger, remote, other)
        found = compare(repository, before, after, environments=not both)
        if both and one != other:
            between = between_settings(repository, ledger.tip, one, other)
            found = replace(found, sections=(*found.sections, between))
    else:
        after = _commit(repository, remote, head)
        before = repository.merge_base(ledger.tip, after)
        if before is None:
            raise GitopsError(f"{head} shares no history with {base}; name two commits instead")
        found = compare(repository, before, after)
    if as_json:
        print(json.dumps(found.plain(), indent=1))
    elif as_markdown:
        print(found.markdown(), end="")
    else:
        found.show(_OUT)


@app.command()
def promote(
    environment: _Environment,
    push: _Push = False,
    without_storage: _WithoutStorage = False,
    remote: _Remote = None,
) -> None:
    """Propose to an environment the release that the one before it runs.

    staging gets what dev runs, prod gets what staging runs and has verified. The proposal is a branch,
    `promote/ENV`, with one commit that changes that environment's release file.
    """
    from gitops.ledger import Ledger
    from gitops.promotion import promote as propose
    from gitops.storage import Storage

    repository, remote = _open(remote)
    storage = Storage(repository.path, optional=without_storage)
    ledger = Ledger.fetch(repository, remote, storage=storage, compare=_comparer(repository, remote))
    try:
        proposal = propose(ledger, environment, remote)
    finally:
        _show_gates(ledger)
        _say_unchecked(storage)
    _finish(ledger, remote, proposal, push)


@app.command()
def rollback(
    environment: _Environment,
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
    push: _Push = False,
    remote: _Remote = None,
) -> None:
    """Propose to an environment a release that it ran before.

    Promotions into that environment are then held until `gitops release-hold ENV`.
    """
    from gitops.ledger import Ledger
    from gitops.promotion import rollback as propose

    repository, remote = _open(remote)
    ledger = Ledger.fetch(repository, remote)
    _finish(ledger, remote, propose(ledger, environment, remote, to=to, reason=reason), push)


@app.command("release-hold")
def release_hold(environment: _Environment, push: _Push = False, remote: _Remote = None) -> None:
    """Propose to allow promotions into an environment again, after a rollback."""
    from gitops.ledger import Ledger
    from gitops.promotion import release_hold as propose

    repository, remote = _open(remote)
    ledger = Ledger.fetch(repository, remote)
    _finish(ledger, remote, propose(ledger, environment, remote), push)


@app.command()
def check(
    base: _Base = "main",
    head: _Head = "HEAD",
    jobs: _Jobs = None,
    without_storage: _WithoutStorage = False,
    remote: _Remote = None,
) -> None:
    """Check whether a branch may be merged: release files, settings, promotion rules, models.

    Exits with 1 and every broken rule. Looks at commits: what is not committed does not count.

    A new model and the one that runs answer the same images here; that takes a minute or more, once for each
    pair of models, and is kept in `.visage/gates`. Without any DVC remote to fetch them from, the accuracies
    that both commits record are compared instead, and the table says so. With one that does not deliver, the
    gate fails.
    """
    from gitops.check import check as broken_rules
    from gitops.ledger import Ledger
    from gitops.material import failed
    from gitops.storage import Storage

    repository, remote = _open(remote)
    storage = Storage(repository.path, optional=without_storage)
    comparer = _comparer(repository, remote)
    ledger = Ledger.fetch(repository, remote, main=base, storage=storage, compare=comparer)
    commit = _commit(repository, remote, head)
    start = repository.merge_base(ledger.tip, commit)
    changed = repository.changed(start, commit) if start else []
    broken = [*broken_rules(ledger, commit), *failed(_results(jobs), changed)]
    _show_gates(ledger)
    _say_unchecked(storage)
    if broken:
        raise RuleError("\n".join(map(str, broken)))
    _OUT.print(f"{commit[:12]}: nothing stands against merging it into {base}", style="green")


@app.command()
def scope(base: _Base = "main", head: _Head = "HEAD", remote: _Remote = None) -> None:
    """Say which checks a branch needs, by the files that it changes: a change of words trains nothing.

    Prints a line for each check, `test=true` or `test=false`, as GitHub Actions takes them for the outputs of
    a step; why, it says on the other stream.
    """
    from gitops.ledger import Ledger
    from gitops.scope import CHECKS, of_files

    repository, remote = _open(remote)
    ledger = Ledger.fetch(repository, remote, main=base)
    commit = _commit(repository, remote, head)
    start = repository.merge_base(ledger.tip, commit)
    # What shares no history with main changes everything.
    changed = repository.changed(start, commit) if start else repository.files(commit)
    needed = of_files(changed)
    for check in CHECKS:
        print(f"{check}={'true' if check in needed else 'false'}")
        why = f"for {needed[check]}" if check in needed else "not needed"
        _ERR.print(f"{check}: {why}", soft_wrap=True, markup=False)


@app.command()
def trial(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Leave metrics, plots and times there.", show_default=False)
    ],
    base: _Base = "main",
    head: _Head = "HEAD",
    minutes: Annotated[float, typer.Option(help="The longest that one side may take.", min=1)] = 60,
    remote: _Remote = None,
) -> None:
    """Run the pipeline of a branch, and of the commit that it left main at, on small data.

    Both run `dvc repro` with the profile `small` in throw-away clones, and leave nothing but what
    `gitops report --trial DIR` shows. What came of it is kept in `.visage/trials` by what it was made from.
    """
    import logging
    from datetime import timedelta

    from gitops.ledger import Ledger
    from gitops.trial import run

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    repository, remote = _open(remote)
    ledger = Ledger.fetch(repository, remote, main=base)
    commit = _commit(repository, remote, head)
    start = repository.merge_base(ledger.tip, commit)
    out.mkdir(parents=True, exist_ok=True)
    run(
        repository,
        commit,
        start,
        out,
        timeout=timedelta(minutes=minutes),
        announce=lambda message: _ERR.print(message, soft_wrap=True, markup=False),
    )


@app.command()
def report(
    base: _Base = "main",
    head: _Head = "HEAD",
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to call it.", show_default="HEAD as given")
    ] = None,
    trial: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What gitops trial left there.", show_default=False),
    ] = None,
    jobs: _Jobs = None,
    timing: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON: job -> seconds, as of gitops github times.", show_default=False
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(metavar="DOLLARS", help="What a minute of a job costs.", min=0, show_default=False),
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
    without_storage: _WithoutStorage = False,
    remote: _Remote = None,
) -> None:
    """Write the Markdown for a comment on a pull request: the verdict, the figures, and what changes.

    Never longer than 65,000 characters. The verdict is that of `gitops check`.
    """
    import sys

    from gitops.ledger import Ledger
    from gitops.material import gather
    from gitops.report import render
    from gitops.storage import Storage
    from gitops.trial import Trial, load_seconds

    repository, remote = _open(remote, needed=False)
    comparer = _comparer(repository, remote)
    storage = Storage(repository.path, optional=without_storage)
    if remote:
        ledger = Ledger.fetch(repository, remote, main=base, storage=storage, compare=comparer)
    else:
        ledger = Ledger(repository, main=base, storage=storage, compare=comparer)
    material = gather(
        ledger,
        _commit(repository, remote, head),
        base=base,
        name=name or head,
        trial=Trial.load(trial) if trial else None,
        jobs=_results(jobs),
        seconds=load_seconds(timing) if timing else None,
        price=price,
    )
    text = render(material, artifact=artifact)
    if whole:
        _write(whole, render(material, longest=sys.maxsize))
    if out:
        _write(out, text)
    else:
        print(text, end="")


@app.command()
def merge(
    branch: Annotated[
        str, typer.Argument(metavar="BRANCH", help="A branch of the remote.", show_default=False)
    ],
    without_storage: _WithoutStorage = False,
    remote: _Remote = None,
) -> None:
    """Check a branch, merge it into main and push that.

    It is what a forge's merge button does, for a team without a forge.
    """
    from gitops.merge import merge as merge_branch
    from gitops.storage import Storage

    repository, remote = _open(remote)
    storage = Storage(repository.path, optional=without_storage)
    comparer = _comparer(repository, remote)
    commit = merge_branch(repository, remote, branch, storage=storage, compare=comparer)
    _say_unchecked(storage)
    _OUT.print(f"Merged {branch} into main of {remote} as {commit[:12]}", style="green")


def _results(jobs: list[str] | None) -> dict[str, str]:
    found = {}
    for job in jobs or ():
        name, equals, result = job.partition("=")
        if not (name and equals and result):
            raise GitopsError(f"--job {job}: not NAME=RESULT")
        found[name] = result
    return found


def _write(path: Path, text: str) -> None:
    """Write a file in one step."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".report-", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise GitopsError(f"{path}: {error.strerror}") from error


def _named(ledger: Any, remote: str, name: str) -> str | None:
    from gitops.release import ENVIRONMENTS

    if name in ENVIRONMENTS:
        return ledger.declared(name).commit
    return _commit(ledger.repository, remote, name)


def _finish(ledger: Any, remote: str, proposal: Any, push: bool) -> None:
    from gitops.promotion import push as push_proposal

    _OUT.print(
        ledger.repository.git("show", "--no-patch", "--format=%B", proposal.commit),
        markup=False,
        soft_wrap=True,
    )
    if not push:
        _OUT.print(
            f"Not pushed. Run it again with --push to push {proposal.branch} to {remote}.", soft_wrap=True
        )
        return
    push_proposal(ledger, remote, proposal)
    done = "Was there already" if proposal.known else "Pushed"
    _OUT.print(f"{done}: {proposal.branch} on {remote}", style="green")
    _OUT.print(f"Open a pull request from it, or run: gitops merge {proposal.branch}", soft_wrap=True)


def _show_gates(ledger: Any) -> None:
    from gitops.gate import table

    for environment, rows in ledger.judged.items():
        _OUT.print(table(rows, f"The gates of {environment}"))


def _say_unchecked(storage: Any) -> None:
    if storage.unchecked:
        _ERR.print(
            "Not checked: whether the model exists, for no DVC remote is configured here",
            soft_wrap=True,
            style="yellow",
        )


def _refuse(lines: list[str]) -> None:
    for line in lines:
        _ERR.print(f"refused: {line}", soft_wrap=True, markup=False, style="red")
