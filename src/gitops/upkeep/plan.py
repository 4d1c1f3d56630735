"""The plan of a `prune`: the branches, tags and objects that nobody needs. A function of plain values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from gitops.upkeep.content import DIR, Content

RUN, ARCHIVE, CANDIDATE = "refs/heads/run/", "refs/tags/archive/", "refs/heads/candidate/"
MARKS: Final = ("refs/tags/verified/", "refs/tags/rejected/", "refs/tags/approved/")
"""Tags of verdicts and approvals. They stay, and need nothing: the releases that ran need it."""


@dataclass(frozen=True)
class Policy:
    """How much is kept.

    Attributes:
        days: The days that everything stays at least, and that removed objects can be put back.
        runs: The newest trainings that stay, of those that ended and of those that did not.
        releases: The newest releases of each environment that stay whole; 0: all that it ran.
        candidate_days: The days that a candidate waits for its merge; 0: for ever.

    """

    days: int = 14
    runs: int = 20
    releases: int = 0
    candidate_days: int = 90


@dataclass(frozen=True)
class Reference:
    """A branch or a tag: its name, the object that it names, its commit, and the time of that commit."""

    name: str
    target: str
    commit: str
    at: datetime
    merged: bool = False
    """Whether main has the commit."""


@dataclass(frozen=True)
class Kept:
    """An object of a place: a cache, or the DVC remote, whose place is ""."""

    digest: str
    size: int
    at: float | None
    place: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything that a plan depends on.

    Attributes:
        references: All branches, tags and experiments.
        contents: The content of each commit that is named here.
        ran: The releases that each environment ran, newest first.
        held: The environments with a hold or an incident: all that they ran stays.
        forgotten: Objects that somebody asked to delete.
        pinned: Further commits that stay: the newest one of main, those that settings or approvals name, and
            those of the checkout.
        folders: The objects that are folders, with the objects of their files.
        objects: The objects of the DVC remote and of caches.
        trash: The objects that an earlier prune took, with their days.

    """

    references: tuple[Reference, ...]
    contents: Mapping[str, Content]
    ran: Mapping[str, tuple[str, ...]]
    held: frozenset[str] = frozenset()
    forgotten: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()
    folders: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    objects: tuple[Kept, ...] = ()
    trash: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Plan:
    """The result.

    Attributes:
        references: The branches and tags that go, each with the reason.
        objects: The objects that go.
        restored: Objects in the trash that somebody needs again.
        before: Trash of the days before this day is removed.
        needed: The digests that stay.
        unknown: Folders that are needed and that nobody can list: no object goes then.
        releases: The number of commits whose objects stay, by the reason.

    """

    references: tuple[tuple[Reference, str], ...]
    objects: tuple[Kept, ...]
    restored: frozenset[str]
    before: str
    needed: frozenset[str]
    unknown: tuple[str, ...]
    releases: Mapping[str, int]


def plan(facts: Facts, policy: Policy, now: datetime) -> Plan:
    """Decide which branches, tags and objects go.

    An object that is younger than `policy.days`, or whose age is not known, stays: a training
    pushes its objects before the commit that names them. So does one of a cache that the remote never had.
    """
    young = now - timedelta(days=policy.days)
    releases = kept_releases(facts, policy)
    models = {facts.contents[commit].model for ran in releases.values() for commit in ran}
    models |= {facts.contents[commit].model for commit in facts.pinned}
    gone = dict(_references(facts.references, facts.contents, models - {""}, policy, now, young))
    stay = [one.commit for one in facts.references if one not in gone and not one.name.startswith(MARKS)]
    roots = {*facts.pinned, *stay, *(commit for ran in releases.values() for commit in ran)}
    needed = {digest for commit in roots for digest in facts.contents[commit].digests}
    outs = {digest for commit in roots for _, digest in facts.contents[commit].outs} - facts.forgotten
    unknown = sorted(digest for digest in outs if digest.endswith(DIR) and digest not in facts.folders)
    needed |= {file for digest in needed for file in facts.folders.get(digest, ())}
    there = {one.digest for one in facts.objects if not one.place}
    # A cache alone has the objects that nobody pushed yet
    pushed = there | facts.trash.keys()
    old = tuple(
        one
        for one in facts.objects
        if one.digest not in needed
        and one.digest in pushed
        and one.at is not None
        and one.at < young.timestamp()
    )
    return Plan(
        tuple(gone.items()),
        () if unknown else old,
        frozenset(digest for digest in facts.trash if digest in needed and digest not in there),
        date.min.isoformat() if unknown else young.astimezone(UTC).date().isoformat(),
        frozenset(needed),
        tuple(unknown),
        {**{name: len(ran) for name, ran in releases.items()}, "branches and tags": len(stay)},
    )


def kept_releases(facts: Facts, policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return the releases of each environment that stay whole, newest first."""
    return {name: tuple(_newest(facts, name, policy)) for name in facts.ran}


def _newest(facts: Facts, environment: str, policy: Policy) -> Iterator[str]:
    """Yield the releases of an environment that stay. Commits with the same objects count once."""
    contents = set[Content]()
    for commit in facts.ran[environment]:
        contents.add(facts.contents[commit])
        if policy.releases and len(contents) > policy.releases and environment not in facts.held:
            return
        yield commit


def _references(
    references: Iterable[Reference],
    contents: Mapping[str, Content],
    models: frozenset[str] | set[str],
    policy: Policy,
    now: datetime,
    young: datetime,
) -> Iterator[tuple[Reference, str]]:
    ordered = sorted(references, key=lambda one: (one.at, one.name), reverse=True)
    archives = [one for one in ordered if one.name.startswith(ARCHIVE)]
    ended = {one.name.removeprefix(ARCHIVE) for one in archives}
    # The newest training of each model that stays, and the newest trainings
    first = {contents[one.commit].model: one for one in reversed(archives)}
    newest = {*archives[: policy.runs], *(one for model, one in first.items() if model in models)}
    unfinished = [
        one for one in ordered if one.name.startswith(RUN) and one.name.removeprefix(RUN) not in ended
    ]
    waiting = now - timedelta(days=policy.candidate_days)
    for one in ordered:
        if one.at >= young:
            continue
        if one.name.startswith(RUN):
            if one.name.removeprefix(RUN) in ended:
                yield one, "ended: it has a tag archive/"
            elif one not in unfinished[: policy.runs]:
                yield one, f"unfinished, and not among the newest {policy.runs}"
        elif one.name.startswith(ARCHIVE) and one not in newest:
            yield one, f"no release has its model, and not among the newest {policy.runs}"
        elif one.name.startswith(CANDIDATE):
            if one.merged or (contents[one.commit].model and contents[one.commit].model in models):
                yield one, "merged"
            elif policy.candidate_days and one.at < waiting:
                yield one, f"not merged for {policy.candidate_days} days"
