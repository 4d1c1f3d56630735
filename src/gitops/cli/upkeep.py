"""The commands for the upkeep of an installation: `prune` and `doctor`."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops.cli.context import open_checkout
from gitops.cli.options import ERR, OUT, Remote
from gitops.cli.people import caches_of, homes_of
from gitops.errors import GitopsError

if TYPE_CHECKING:
    from gitops.release.state import ReleaseState
    from gitops.upkeep.plan import Plan
    from gitops.upkeep.prune import Prune

_MOST = 20
_KINDS = {"heads": "branch", "tags": "tag"}
_UNITS = ("bytes", "kB", "MB", "GB", "TB")

Homes = Annotated[
    list[str] | None,
    typer.Option(
        "--home",
        metavar="ENV=FOLDER",
        help="The data folder of an environment. Can be repeated.",
        show_default="those of the local engine",
    ),
]
Caches = Annotated[
    list[Path] | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="A cache of DVC. Can be repeated.",
        show_default="those of this checkout",
    ),
]
Releases = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="The newest releases of each environment that stay; 0: all.",
        show_default="RETENTION_RELEASES of main",
    ),
]


def prune(
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove. Without this option, only show the plan.")
    ] = False,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, help="Everything stays for these days.", show_default="RETENTION_DAYS_OBJECTS, or 14"
        ),
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="The newest trainings that stay.", show_default="RETENTION_RUNS")
    ] = None,
    releases: Releases = None,
    candidate_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The days that a candidate waits for its merge; 0: for ever.",
            show_default="RETENTION_DAYS_CANDIDATES",
        ),
    ] = None,
    home: Homes = None,
    cache: Caches = None,
    remote: Remote = None,
) -> None:
    """Remove the branches, tags, objects and data that nobody needs.

    Keeps every release that an environment ran, or the newest ones; everything that an environment ran which
    has a hold or an open alarm; candidates that wait for a merge; the newest trainings; and all that another
    branch, tag or experiment needs. Objects go into a trash on the DVC remote first, and come back if
    somebody needs them again. A command that was stopped goes on when you run it again.

    One repository alone may prune a DVC remote: objects of others look like garbage.
    """
    from gitops.people.alone import alone
    from gitops.private import private_folder

    work, state, homes = _open(remote, home, cache)
    given = {"days": days, "runs": runs, "releases": releases, "candidate_days": candidate_days}
    work = _with(work, {name: value for name, value in given.items() if value is not None})
    with alone(private_folder(work.repository.path / ".visage" / "forget")):
        due, store = work.plan()
        _show(due, store.name, "" if yes else "would be ")
        _data(work, state, homes, act=yes)
        if due.unknown:
            ERR.print(
                f"No object goes: {len(due.unknown)} folders of kept releases are nowhere, such as "
                f"{due.unknown[0]}. Put them back: .venv/bin/gitops doctor --repair",
                soft_wrap=True,
                markup=False,
                style="yellow",
            )
        if not yes:
            OUT.print("Nothing was changed. To remove all this, add --yes.", markup=False)
            return
        work.act(due, store)


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put objects back from caches and the trash.")
    ] = False,
    read: Annotated[
        float,
        typer.Option(min=0, metavar="GB", help="Compare objects of so many gigabytes with their digests."),
    ] = 1.0,
    releases: Releases = None,
    home: Homes = None,
    cache: Caches = None,
    remote: Remote = None,
) -> None:
    """Ask the DVC remote for every object that a kept release needs, and name the missing ones.

    Asks whether each object is there, reads all lists of folders, and of the other objects as many as --read
    allows: each day another part, so that all are read in time. `--read 1000` reads everything. Exits with 1
    if an object is missing or damaged in the end.
    """
    from gitops.upkeep import doctor as doctor_of_storage
    from gitops.upkeep.plan import kept_releases

    work, _, _ = _open(remote, home, cache)
    work = _with(work, {} if releases is None else {"releases": releases})
    facts, store = work.facts()
    kept = kept_releases(facts, work.policy)
    wanted = doctor_of_storage.needs(facts, kept)
    found = doctor_of_storage.examine(work.objects, wanted, store, most=int(read * 1e9), day=work.now.date())
    commits = {commit for some in kept.values() for commit in some}
    OUT.print(
        f"{store.name}: asked for {found.needs} objects of {len(commits)} releases; "
        f"read {found.read} of them, {_bytes(found.read_bytes)}",
        soft_wrap=True,
        markup=False,
    )
    left = [(fault, "") for fault in found.faults]
    if repair and left:
        places = [*work.caches, *([store.cache] if store.cache else [])]
        left = [*doctor_of_storage.repair(work.objects, found.faults, store, places)]
    for fault, source in left[:_MOST]:
        note = f"; put back from {source}" if source else ""
        ERR.print(f"{fault}{note}", soft_wrap=True, markup=False, style="green" if source else "red")
    lacking = sum(not source for _, source in left)
    if lacking:
        those = "1 object is" if lacking == 1 else f"{lacking} objects are"
        if repair:
            advice = "no cache has them: push from where they were made, or restore a backup"
            raise GitopsError(f"{those} missing or damaged, and {advice}", command=".venv/bin/dvc push")
        advice = "a cache or the trash may have them"
        raise GitopsError(f"{those} missing or damaged; {advice}", command=".venv/bin/gitops doctor --repair")
    if left:
        OUT.print(f"put back: {len(left)} objects", markup=False)
    else:
        OUT.print("All of them are there, and all that were read are whole.", markup=False)


def _open(
    remote: str | None, home: list[str] | None, cache: list[Path] | None
) -> "tuple[Prune, ReleaseState, dict[str, Path]]":
    from contextlib import suppress

    from gitops.dvc.objects import Objects
    from gitops.errors import SettingsError
    from gitops.people.retention import open_alarm
    from gitops.release.load import fetch_state
    from gitops.upkeep.plan import Policy
    from gitops.upkeep.policy import policy_of, strictest
    from gitops.upkeep.prune import Prune

    repository, remote = open_checkout(remote)
    folder = repository.path / ".visage"
    # The local engine's objects are on its own DVC remote, whatever the settings of the checkout name
    engine = remote == "visage" and (folder / "dvc-config").is_dir()
    if engine:
        os.environ.setdefault("DVC_GLOBAL_CONFIG_DIR", str(folder / "dvc-config"))
    state = fetch_state(repository, remote)
    policies: list[Policy | None] = []
    for name in state.environments:
        with suppress(SettingsError):  # the rules report them
            policies.append(policy_of(state.settings(name)))
    homes = homes_of(home, folder)
    work = Prune(
        repository,
        remote,
        Objects(folder if engine else repository.path),
        strictest(policies),
        datetime.now(UTC),
        tuple(cache or (path for path in caches_of(repository.path) if path.is_dir())),
        tuple(name for name, path in homes.items() if open_alarm(path)),
        lambda line: OUT.print(line, soft_wrap=True, markup=False),
    )
    return work, state, homes


def _with(work: "Prune", changes: dict[str, int]) -> "Prune":
    from dataclasses import replace

    return replace(work, policy=replace(work.policy, **changes))


def _show(due: "Plan", storage: str, would: str) -> None:
    kept = ", ".join(f"{name} {count}" for name, count in due.releases.items())
    line = f"kept: commits ({kept}), and the {len(due.needed)} objects that they need"
    OUT.print(line, soft_wrap=True, markup=False)
    for reference, reason in due.references[:_MOST]:
        kind, name = reference.name.removeprefix("refs/").split("/", 1)
        line = f"{would}removed: {_KINDS.get(kind, kind)} {name} ({reason})"
        OUT.print(line, soft_wrap=True, markup=False)
    if len(due.references) > _MOST:
        OUT.print(f"and {len(due.references) - _MOST} more branches and tags", markup=False)
    for place in sorted({"", *(one.place for one in due.objects)}):
        sizes = [one.size for one in due.objects if one.place == place]
        OUT.print(
            f"{would}removed: {len(sizes)} objects of {place or storage}, {_bytes(sum(sizes))}",
            soft_wrap=True,
            markup=False,
        )
    if due.restored:
        OUT.print(f"{would}put back from the trash: {len(due.restored)} objects", markup=False)


def _data(work: "Prune", state: "ReleaseState", homes: dict[str, Path], *, act: bool) -> None:
    """Show the data of environments that is older than their settings allow, and remove it."""
    from gitops.people.expiry import days_of, needed
    from gitops.people.retention import due, sweep

    for name, path in homes.items():
        if name not in state.environments:
            raise GitopsError(
                f"{name}: main has no such environment; there are {', '.join(state.environments)}"
            )
        limits = days_of(state.settings(name))
        why = needed(work.repository, state.main, name, work.now)
        sizes: dict[str, list[int]] = {}
        for folder, entry, stays in due(path, limits, why, work.now):
            if not stays:
                sizes.setdefault(folder, []).append(sum(_sizes(entry)))
        for folder, some in sizes.items():
            would = "" if act else "would be "
            line = f"{would}removed: {len(some)} of {folder}/ of {name}, {_bytes(sum(some))}"
            OUT.print(line, soft_wrap=True, markup=False)
        if act:
            sweep(path, limits, why, work.now)


def _sizes(entry: Path) -> Iterator[int]:
    paths: list[Any] = [entry, *entry.rglob("*")] if entry.is_dir() and not entry.is_symlink() else [entry]
    yield from (path.lstat().st_size for path in paths if path.is_symlink() or path.is_file())


def _bytes(size: float) -> str:
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:,.0f} {_UNITS[unit]}" if unit == 0 else f"{size:,.1f} {_UNITS[unit]}"
