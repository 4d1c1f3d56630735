"""The commands `gitops forge ...`: proposals on GitHub, on Forgejo or Gitea, and on a plain git server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli.options import ERR, OUT, WithoutStorage
from gitops.errors import ForgeError, GitopsError, RuleError
from gitops.findings import Finding

if TYPE_CHECKING:
    from gitops.forge.interface import Forge
    from gitops.git.repository import Repository
    from gitops.promotion.evidence import Evidence
    from gitops.release.state import ReleaseState

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Proposals on any forge: GitHub, Forgejo or Gitea, or a plain git server.

The address of the git remote shows which forge it is, or GITOPS_FORGE is set to github, forgejo or git.
GitHub needs GITHUB_TOKEN, Forgejo and Gitea need FORGEJO_TOKEN.""",
)

_Remote = Annotated[
    str,
    typer.Option(
        "--remote", envvar="GITOPS_REMOTE", metavar="NAME", help="The git remote that is on the forge."
    ),
]
_Forge = Annotated[
    str | None,
    typer.Option(
        "--forge",
        envvar="GITOPS_FORGE",
        metavar="KIND",
        help="github, forgejo (for Gitea too) or git.",
        show_default="by the address of the remote",
    ),
]
_Dry = Annotated[bool, typer.Option("--dry-run", help="Change nothing.")]


def _open(repository: "Repository", remote: str, kind: str | None) -> "Forge":
    from typing import cast, get_args

    from gitops.forge.choose import Kind, open_forge

    if kind is not None and kind not in get_args(Kind):
        raise GitopsError(f"--forge {kind}: not one of {', '.join(get_args(Kind))}")
    return open_forge(repository, remote, cast("Kind | None", kind))


@app.command()
def sync(without_storage: WithoutStorage = False, remote: _Remote = "origin", kind: _Forge = None) -> None:
    """Do everything that is due, once: open pull requests, judge them, and post the reports.

    Candidates and due promotions get a pull request each. Then each open pull request whose jobs have ended
    gets the report as a comment, and the status `verdict`, once for each commit and each main. Run it by a
    timer, where no secret reaches proposed code. Exits with status 1 if a promotion that is due is refused; a
    pull request that may not be merged is no error.
    """
    from gitops.cli.context import comparer, open_checkout
    from gitops.dvc.remote import Storage
    from gitops.promotion.evidence import Evidence
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    forge = _open(repository, remote, kind)
    state = fetch_state(repository, remote)
    storage = Storage(repository.path, optional=without_storage)
    evidence = Evidence.of(repository, storage, comparer(repository, remote))
    known = {pull.branch for pull in forge.proposals()}
    for branch in _candidates(repository, state, remote):
        if branch not in known:
            _propose(forge, repository, state, remote, branch)
    refused = list(_promote(forge, repository, state, remote, evidence))
    _deploy(repository, state, remote)
    _judge(forge, repository, state, remote, evidence)
    if refused:
        raise RuleError(*refused)


def _candidates(repository: "Repository", state: "ReleaseState", remote: str) -> Iterator[str]:
    heads = f"{repository.namespace(remote)}/heads/"
    for ref in repository.git("for-each-ref", "--format=%(refname)", f"{heads}candidate/").split():
        if not repository.is_ancestor(ref, state.tip):
            yield ref.removeprefix(heads)


def _judge(
    forge: "Forge", repository: "Repository", state: "ReleaseState", remote: str, evidence: "Evidence"
) -> None:
    from gitops.cli.context import commit_of
    from gitops.forge.interface import VERDICT
    from gitops.forge.judging import REPORT, undecided, verdict, waiting
    from gitops.report.collect import gather
    from gitops.report.render import render

    for one in waiting(forge, state.tip):
        pull = one.pull
        if one.judged:
            line = f"{one.judged.state}: {one.judged.text}"
        elif one.jobs is None:
            forge.set_status(pull.head, VERDICT, undecided(state.tip))
            line = "waits for its jobs"
        else:
            commit = commit_of(repository, remote, pull.head)
            inputs = gather(repository, state, commit, evidence, name=pull.branch, jobs=one.jobs)
            status = verdict(state.tip, len(inputs.broken))
            # The report first: whoever sees the status can read why.
            posted = forge.comment(pull, REPORT, render(inputs))
            forge.set_status(pull.head, VERDICT, status)
            line = f"{status.state}: {status.text}; report {posted}"
        OUT.print(f"{pull.name}: {line}", soft_wrap=True, markup=False)


@app.command()
def proposals(remote: _Remote = "origin", kind: _Forge = None) -> None:
    """List the open pull requests, with the verdict on each and who approves it."""
    from rich.table import Table

    from gitops.cli.context import open_checkout
    from gitops.forge.interface import VERDICT

    repository, remote = open_checkout(remote)
    forge = _open(repository, remote, kind)
    table = Table("proposal", "title", "verdict", "approved by")
    for pull in forge.proposals():
        status = forge.statuses(pull.head).get(VERDICT)
        shown = f"{status.state}: {status.text}" if status else "not judged yet"
        table.add_row(pull.name, pull.title, shown, ", ".join(forge.approvals(pull)) or "nobody")
    OUT.print(table)


@app.command()
def rules(
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who alone pushes deploy/**, on Forgejo and Gitea.",
            show_default="the present one, or that of the token",
        ),
    ] = None,
    dry: _Dry = False,
    remote: _Remote = "origin",
    kind: _Forge = None,
) -> None:
    """Apply the branch rules of the checkout (`.github/rulesets`), as far as the forge has them.

    With --dry-run, exits with status 1 if something would change. `gitops github setup` does more on GitHub.
    """
    from gitops.cli.context import open_checkout

    repository, remote = open_checkout(remote)
    done = dict(_open(repository, remote, kind).protect(repository.path, user=user, dry=dry))
    for name, result in done.items():
        OUT.print(f"{name}: {result}", soft_wrap=True, markup=False)
    if dry and {"missing", "different"} & set(done.values()):
        raise typer.Exit(1)


@app.command()
def pipeline(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing. Exit with status 1 if a file would change.")
    ] = False,
) -> None:
    """Write the pipeline for Forgejo and Gitea, made from the workflows in `.github/workflows`."""
    from gitops import atomic
    from gitops.forge.pipeline import files
    from gitops.git.repository import Repository

    root = Repository.find().path
    changed = False
    for path, text in files(root).items():
        target = root / path
        same = target.is_file() and target.read_text("utf-8") == text
        changed |= not same
        if not (same or check):
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(target, text, mode=0o644)
        OUT.print(f"{path}: {'up to date' if same else 'differs' if check else 'written'}", soft_wrap=True)
    if changed and check:
        raise typer.Exit(1)


@app.command()
def candidate(
    branch: Annotated[
        str, typer.Argument(metavar="BRANCH", help="The branch that a training pushed.", show_default=False)
    ],
    remote: _Remote = "origin",
    kind: _Forge = None,
) -> None:
    """Open the pull request of a candidate, or bring the open one up to date.

    Its description has the facts of the training. Whether it may be merged is for the report, which is made
    again when main or the candidate changes.
    """
    from gitops.cli.context import open_checkout
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    # A branch that does not exist is refused before a token is asked for.
    if not repository.has(repository.branch_ref(remote, branch)):
        raise ForgeError(f"{branch}: no such branch on {remote}", command=f"git ls-remote --heads {remote}")
    _propose(_open(repository, remote, kind), repository, state, remote, branch)


def _propose(
    forge: "Forge", repository: "Repository", state: "ReleaseState", remote: str, branch: str
) -> None:
    from gitops.forge.candidates import describe

    commit = repository.commit_info(repository.branch_ref(remote, branch))
    kept, done = forge.keep(branch, commit.subject, describe(repository, state, commit.id))
    OUT.print(f"{branch}: {done}, {kept.url}", soft_wrap=True, markup=False)


@app.command()
def promotions(
    without_storage: WithoutStorage = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only print which promotions are due. Needs read access only.")
    ] = False,
    due: Annotated[
        bool,
        typer.Option(
            "--due",
            help="Only print due=true or due=false: is there anything to do? Compares no models.",
        ),
    ] = False,
    remote: _Remote = "origin",
    kind: _Forge = None,
) -> None:
    """Open, update or close the pull requests that promote: one for each environment, on `promote/ENV`.

    A canary has one on `canary/ENV`, for its next share or for its end. The branches `deploy/ENV` get the
    manifests of the releases that main declares now.

    A promotion is due once the previous environment has verified its release for MIN_SOAK_HOURS hours. A hold
    prevents it. Exits with status 1 if a rule or a gate refuses a promotion that is due.
    """
    from gitops.cli.context import comparer, open_checkout
    from gitops.dvc.remote import Storage
    from gitops.forge import manifest_branches
    from gitops.forge.canary_steps import plan_canary
    from gitops.forge.promotions import anything_due, plan
    from gitops.promotion.evidence import Evidence
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    if due:
        state = fetch_state(repository, remote)
        names = state.environments.promotable
        statuses = [plan(repository, state, name, remote, judge=False) for name in names]
        found = [plan_canary(repository, state, name, remote, judge=False) for name in names]
        statuses += [status for status in found if status is not None]
        branches = [*manifest_branches.plan(repository, state, remote)]
        for one in (*statuses, *branches):
            ERR.print(f"{one.environment}: {one.text}", soft_wrap=True, markup=False)
        stale = any(branch.commit for branch in branches)
        print(f"due={'true' if stale or anything_due(repository, state, remote, statuses) else 'false'}")
        return
    forge = None if dry else _open(repository, remote, kind)
    storage = Storage(repository.path, optional=without_storage)
    state = fetch_state(repository, remote)
    evidence = Evidence.of(repository, storage, comparer(repository, remote))
    refused = list(_promote(forge, repository, state, remote, evidence))
    if not dry:
        _deploy(repository, state, remote)
    if refused:
        raise RuleError(*refused)


def _deploy(repository: "Repository", state: "ReleaseState", remote: str) -> None:
    """Push the manifests of each environment whose release or settings have changed."""
    from gitops.forge import manifest_branches

    for branch in manifest_branches.plan(repository, state, remote):
        if branch.commit:
            manifest_branches.push(repository, remote, branch)
        OUT.print(f"{branch.name}: {branch.text}", soft_wrap=True, markup=False)


def _promote(
    forge: "Forge | None",
    repository: "Repository",
    state: "ReleaseState",
    remote: str,
    evidence: "Evidence",
) -> Iterator[Finding]:
    """Plan each promotion, and carry it out on a forge; yield each rule that refuses one."""
    from dataclasses import replace

    from gitops.forge.canary_steps import plan_canary
    from gitops.forge.promotions import apply, plan

    planned = [
        status
        for environment in state.environments.promotable
        for status in (
            plan(repository, state, environment, remote, evidence),
            plan_canary(repository, state, environment, remote, evidence),
        )
        if status is not None
    ]
    for status in planned:
        environment = status.environment
        if forge is not None:
            status = apply(forge, repository, state, remote, status, evidence)
        if status.state == "refused" and forge is not None:
            for finding in status.refused:
                yield replace(finding, subject=f"{environment}: {finding.subject}")
        else:
            OUT.print(f"{environment}: {status.text}", soft_wrap=True, markup=False)
