"""The commands that look at all of the past: `board`, `runs`, `audit`, `dora` and `trace`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gitops.cli.context import open_checkout
from gitops.cli.options import ERR, OUT, Remote, show_line
from gitops.errors import AuditError, GitopsError, ParseError

if TYPE_CHECKING:
    from gitops.history.audit import Entry
    from gitops.history.board import Place
    from gitops.history.runs import Run

Since = Annotated[
    datetime | None,
    typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="From this day on, in UTC.", show_default=False),
]


def board(
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page to this file.", show_default=False),
    ] = None,
    remote: Remote = None,
) -> None:
    """Show the release of each environment, since when and by whom, and the one that waits, and why.

    It is read from git alone; `gitops status` asks the environments. The page that `--html` writes is one
    file without a script, which any web server can serve, and has the differences of any two environments,
    too. The reasons are those of the rules. Whether the model is on the DVC remote, and how it compares with
    others, is checked when you promote it.
    """
    from gitops import atomic
    from gitops.history import board_page
    from gitops.history.load import load_board
    from gitops.release.load import fetch_state

    if as_json and html is not None:
        raise typer.BadParameter("give one of --json and --html")
    repository, remote = open_checkout(remote)
    shown = load_board(repository, fetch_state(repository, remote), remote, datetime.now(UTC))
    if as_json:
        print(json.dumps(shown.plain(), indent=1))
        return
    if html is not None:
        try:
            atomic.write(html, board_page.render(shown), mode=0o644)
        except OSError as error:
            raise GitopsError(f"{html}: {error.strerror}") from error
        show_line(f"Wrote {html}")
        return
    for problem in shown.problems:
        show_line(problem, ERR, "red")
    for place in shown.places:
        _print_place(place, shown.at)


def _print_place(place: "Place", now: datetime) -> None:
    from gitops.history.page import without_addresses

    release = f"{place.release[:12]} {place.subject}" if place.release else "no release yet"
    lines = [f"{place.name}: {release}"]
    if place.problem:
        lines.append(f"problem: {place.problem}")
    if declared := place.deployment:
        merged, proposed = declared.change.commit.author, declared.change.proposed_by
        who = f"proposed by {proposed}, merged by {merged}" if proposed else f"merged by {merged}"
        who = f"proposed and merged by {merged}" if proposed == merged else who
        lines.append(f"since {declared.at:%Y-%m-%d %H:%M} UTC, {without_addresses(who)}")
    if place.release:
        lines.append(place.verdict or "no verdict yet")
    lines += [f"approved by {given.by} {given.at:%Y-%m-%d %H:%M} UTC" for given in place.approvals]
    lines += [f"held: {hold}" for hold in place.holds if hold.stands(now)]
    lines += [f"closed: {place.closed}"] if place.closed else []
    if waiting := place.waiting:
        lines.append(f"waits: {waiting.release[:12]} {waiting.subject}")
        lines += [f"  {reason}" for reason in waiting.reasons] or ["  no rule forbids it"]
    for number, line in enumerate(lines):
        show_line(f"  {line}" if number else line)


def audit(
    since: Since = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list with an object on each line.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for a spreadsheet.")] = False,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare an earlier export with git now.", show_default=False),
    ] = None,
    remote: Remote = None,
) -> None:
    """List all changes, releases, verdicts, holds and overrides, and who made them, from git alone.

    Every commit that main pointed to and every tag of a verdict or an approval is in the list. Each line has
    the hash of all lines before it. Keep an export where those who may push to main cannot change it:
    `--verify` compares it with git, and exits with status 1 and the line at which they part.
    """
    from gitops.history import audit as chain
    from gitops.history.events import events
    from gitops.history.load import load_past

    if sum((as_json, as_csv, verify is not None)) > 1:
        raise typer.BadParameter("give one of --json, --csv and --verify")
    repository, remote = open_checkout(remote)
    repository.fetch(remote)
    tip = repository.resolve(repository.branch_ref(remote, "main"))
    entries = chain.chain(events(load_past(repository, tip, remote=remote)))
    if verify is not None:
        _compare(verify, entries)
        return
    if since is not None:
        start = since.replace(tzinfo=UTC).isoformat()
        first = next(
            (number for number, entry in enumerate(entries) if entry.event.at >= start), len(entries)
        )
        entries = entries[first:]
    if as_json or as_csv:
        print(chain.to_json(entries) if as_json else chain.to_csv(entries), end="")
        return
    for entry in entries:
        show_line(f"{entry.number:>5} {chain.describe(entry.event)}")
    if entries:
        show_line(f"The hash of the last line is {entries[-1].hash}")


def runs(
    sort: Annotated[
        str, typer.Option(metavar="NAME", help="A metric, a parameter, duration, size or at.")
    ] = "at",
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="Such as 'mean_accuracy>=0.9'. Can be repeated.", show_default=False
        ),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="A..B", help="Show the differences of two runs.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page to this file.", show_default=False)
    ] = None,
    mlflow: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write a file store of MLflow.", show_default=False),
    ] = None,
    remote: Remote = None,
) -> None:
    """Show every training and every experiment: parameters, metrics with their intervals, and durations.

    Trainings are the tags `archive/` and the branches `run/`. Experiments are those of `dvc exp`, pushed or
    in this checkout. The page and `--json` have the trends over the releases of main, too.
    """
    from gitops import atomic
    from gitops.diff.load import load_difference
    from gitops.history import mlflow as mlflow_store
    from gitops.history import runs_page
    from gitops.history.load import load_past
    from gitops.history.load_runs import fetch_experiments, load_runs
    from gitops.history.runs import chosen, named, ordered
    from gitops.history.trends import FILES, candidates, trends
    from gitops.release.snapshot import Snapshot

    if sum((as_json, html is not None, mlflow is not None, compare is not None)) > 1:
        raise typer.BadParameter("give one of --json, --html, --mlflow and --compare")
    repository, remote = open_checkout(remote)
    repository.fetch(remote)
    fetch_experiments(repository, remote)
    tip = repository.resolve(repository.branch_ref(remote, "main"))
    every = load_runs(repository, remote, tip)
    if compare is not None:
        first, dots, second = compare.partition("..")
        if not dots:
            raise GitopsError(
                f"--compare {compare}: name two trainings, as A..B", command=".venv/bin/gitops runs"
            )
        sides = [Snapshot.load(repository, named(every, name).commit) for name in (first, second)]
        load_difference(repository, *sides, environments=False).show(OUT)
        return
    found = ordered(chosen(every, where or []), sort)
    if mlflow is not None:
        mlflow_store.export(found, mlflow)
        show_line(f"Wrote {len(found)} runs to {mlflow}")
        return
    if not as_json and html is None:
        _print_runs(found)
        if not every:
            show_line("No training has begun yet. Next: .venv/bin/gitops train main --wait")
        elif not found:
            show_line(f"None of {len(every)} trainings meets {' and '.join(where or [])}.")
        return
    commits = candidates(load_past(repository, tip, remote=remote))
    snapshots = Snapshot.load_all(repository, [commit.commit.id for commit in commits], FILES)
    over_time = trends(commits, {name: snapshot.metrics for name, snapshot in snapshots.items()})
    if as_json:
        plain = {"runs": [run.plain() for run in found], "trends": [trend.plain() for trend in over_time]}
        print(json.dumps(plain, indent=1))
        return
    if html is not None:
        text = runs_page.render(found, over_time, sort, datetime.now(UTC))
        try:
            atomic.write(html, text, mode=0o644)
        except OSError as error:
            raise GitopsError(f"{html}: {error.strerror}") from error
        show_line(f"Wrote {html}")


def _print_runs(found: Sequence["Run"]) -> None:
    from gitops.model import cost

    for run in found:
        means = run.metrics.means
        parts = [
            f"{name.removeprefix('mean_').replace('_', ' ')} {means[name]}"
            for name in _SHOWN
            if name in means
        ]
        if run.duration is not None:
            parts.append(f"{run.duration / 60:.1f} min")
        if run.cost:
            parts.append(f"{run.cost.total.cpu_seconds / 60:.1f} min of processors")
        line = f"{run.at:%Y-%m-%d %H:%M} {run.name} ({run.kind}): {', '.join(parts) or 'no metrics'}"
        show_line(line)
    if spent := cost.total(run.cost for run in found if run.cost):
        show_line(f"Together: {cost.line(spent)}")


_SHOWN = ("mean_accuracy", "mean_balanced_accuracy")


def dora(
    since: Since = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    remote: Remote = None,
) -> None:
    """Show DORA's four metrics of delivery for each environment, from git alone.

    How often it gets a release, how long a change takes from its merge until the environment has verified it,
    the share of releases that were rejected or rolled back, and how long it took to restore service.
    """
    from gitops.history.dora import measure
    from gitops.history.load import load_past, load_verdicts
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state, now = fetch_state(repository, remote), datetime.now(UTC)
    past = load_past(repository, state.tip, remote=remote)
    verdicts = load_verdicts(repository, past, state)
    start = since.replace(tzinfo=UTC) if since else None
    rows = [row.plain() for row in measure(past, state.environments, verdicts, now=now, since=start)]
    if as_json:
        bounds = {"since": start.isoformat() if start else None, "until": now.isoformat()}
        print(json.dumps({**bounds, "environments": rows}, indent=1))
        return
    table = Table("environment", "deployments a week", "lead time", "change failure rate", "time to restore")
    for row in rows:
        rate = row["change_failure_rate"]
        table.add_row(
            row["environment"],
            f"{row['deployments_per_week']:.2f} ({row['deployments']} in all)",
            _span(row["lead_time_hours"]),
            f"{rate:.0%} ({len(row['failed'])} of {row['deployments']})" if rate is not None else "-",
            _span(row["time_to_restore_hours"])
            + (f", {row['unrestored']} open" if row["unrestored"] else ""),
        )
    OUT.print(table)


def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SCORES|DIGEST|COMMIT|ENV",
            help="A file, a digest, a commit or an environment.",
            show_default=False,
        ),
    ],
    home: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="The data folder of an environment, whose scores are searched. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    remote: Remote = None,
) -> None:
    """Show the data, the model, the releases, the environments and the scores that belong together.

    Give a file of scores, the SHA-256 or MD5 of a model, a commit, or an environment for the release that it
    should run. Lines that begin with `images` name the data that the model learned from, and `file` the other
    outputs that `dvc.lock` records. `dvc get . data/raw --rev COMMIT --out raw` fetches the images. Scores
    are found in the folders that `--home` names.
    """
    from gitops.history.load_trace import load_trace
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    start = (state.wanted(name) if name in state.environments else None) or name
    found = load_trace(repository, state, remote, start, home or ())
    if as_json:
        print(json.dumps(found.plain(), indent=1))
        return
    lines = [f"model {found.model}"]
    lines += [
        f"{'images' if path in found.images else 'file'} {path} (md5 {digest})"
        for path, digest in sorted(found.data.items(), key=lambda item: item[0] not in found.images)
    ]
    lines += [
        f"commit {one.commit.id[:12]} {one.at:%Y-%m-%d %H:%M} {one.commit.subject}" for one in found.commits
    ]
    for environment, every in found.deployments.items():
        for one in every:
            verdict = "rejected" if one.rejected else "verified" if one.verified else "no verdict"
            lines.append(f"{environment} {one.release[:12]} since {one.at:%Y-%m-%d %H:%M} UTC, {verdict}")
    lines += [f"scores {one.path} ({one.summary.rows} images)" for one in found.scores]
    for line in lines:
        show_line(line)


def _span(hours: dict[str, float] | None) -> str:
    """Return the median of some times."""
    if hours is None:
        return "-"
    value = hours["median"]
    return (
        f"{value * 60:.0f} min" if value < 1 else f"{value:.1f} h" if value < 48 else f"{value / 24:.1f} days"
    )


def _compare(file: Path, entries: list["Entry"]) -> None:
    from gitops.history import audit as chain
    from gitops.text import parse

    try:
        content = parse.file(file, chain.LARGEST)
        result = chain.compare(chain.read(content), entries)
    except OSError as error:
        raise AuditError(
            f"{file}: {error.strerror}; name an export of gitops audit --json or --csv"
        ) from error
    except (ParseError, AuditError) as error:
        raise AuditError(f"{file}: {error}; name an export of gitops audit --json or --csv") from error
    for event in result.late:
        line = f"not in {file}, though dated before its end: {chain.describe(event)}"
        show_line(line, ERR, "yellow")
    if result.parted:
        line, why = result.parted
        raise AuditError(f"{file}:{line}: {why}")
    show_line(f"Git has all {result.lines} events of {file}, and {result.newer} newer ones")
