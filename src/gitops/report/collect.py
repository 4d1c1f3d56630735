"""The material of a report on a pull request: the verdict, the figures and what changes, as found in git."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitops.diff.diff import Difference, compare
from gitops.errors import GateError, GitError, ReleaseError, SettingsError
from gitops.findings import Finding
from gitops.gates import gates
from gitops.git.merge_result import merge_result
from gitops.git.repository import Repository
from gitops.model import drift_comparison
from gitops.model.drift_comparison import Drifted
from gitops.model.metrics import Figures, of_commit
from gitops.promotion.check import judge, note
from gitops.promotion.rules import NO_EVIDENCE, Evidence, Judgement, judge_model
from gitops.promotion.scope import of_files
from gitops.release import file as release_file
from gitops.release.state import Ledger
from gitops.training.trial import Trial

SKIPPED = "skipped"
GOOD = ("success", SKIPPED)
"""What a job may have come to."""


@dataclass(frozen=True)
class Incumbent:
    """What runs in one environment, and how the new model does against it."""

    environment: str
    wave: str
    commit: str | None
    figures: Figures = field(default_factory=Figures)
    rows: tuple[gates.Row, ...] = ()
    """Empty where no gates are asked, as for a rollback."""
    trouble: str = ""
    """Why there are no gates to show."""


@dataclass(frozen=True)
class Move:
    """Another release for an environment that does not follow main."""

    environment: str
    difference: Difference


@dataclass(frozen=True)
class Material:
    """All that a report tells."""

    base: str
    head: str
    follower: str
    """The environment that follows main."""
    broken: tuple[Finding, ...]
    before: Figures
    after: Figures
    difference: Difference
    moves: tuple[Move, ...] = ()
    proposed: Figures = field(default_factory=Figures)
    """The figures of the model that is held against the incumbents."""
    worth: Drifted | None = None
    """The same model on the labelled batches that came with it."""
    note: str | None = None
    """That the model was made before the change, and how to train it."""
    incumbents: tuple[Incumbent, ...] = ()
    """Empty where no environment would get another model."""
    trial: Trial | None = None
    jobs: Mapping[str, str] = field(default_factory=dict)
    """What the other jobs of the run came to, by name."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each job took."""
    price: float | None = None
    """What a minute of a job costs, in US dollars."""


def gather(
    ledger: Ledger,
    head: str,
    evidence: Evidence = NO_EVIDENCE,
    *,
    base: str = "main",
    name: str = "",
    trial: Trial | None = None,
    jobs: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
    price: float | None = None,
) -> Material:
    """Collect what there is to tell of merging the commit `head`, called `name`, into main."""
    repository, name = ledger.repository, name or head[:12]
    result, broken = merge_result(repository, ledger.tip, head, remote=ledger.remote)
    if result:
        # What main would become is what the report is about.
        start, head = result.main, result.commit
        judgement = judge(ledger, result, evidence)
    else:
        judgement = Judgement(tuple(broken))
        start = repository.merge_base(ledger.tip, head) or ledger.tip
    changed = set(repository.changed(start, head))
    broken = [*judgement.findings, *failed(jobs or {}, changed)]
    moves, proposed, worth, incumbents = (), Figures(), None, ()
    if "dvc.lock" in changed:
        proposed = of_commit(repository, head)
        worth = drift_comparison.of_commit(repository, head, proposed.sha256)
        incumbents = tuple(_incumbents(ledger, head, evidence))
    else:
        told = list(_moves(ledger, head, changed, judgement))
        moves = tuple(move for move, _, _ in told)
        incumbents = tuple(incumbent for _, incumbent, _ in told)
        proposed = told[0][2] if told else Figures()
    return Material(
        base=base,
        head=name,
        follower=ledger.environments.root,
        broken=tuple(broken),
        before=of_commit(repository, ledger.tip),
        after=of_commit(repository, head),
        difference=compare(repository, start, head),
        moves=moves,
        proposed=proposed,
        worth=worth,
        note=note(ledger, head, sorted(changed), name or base),
        incumbents=incumbents,
        trial=trial,
        jobs=jobs or {},
        seconds=seconds or {},
        price=price,
    )


def failed(jobs: Mapping[str, str], changed: Iterable[str]) -> Iterator[Finding]:
    """Tell which jobs did not come to what they should.

    A job that was skipped is as good as one that passed only where none of the files in `changed` needs it:
    whatever decided to skip it may have been mistaken.
    """
    needed = of_files(sorted(changed))
    for name, result in jobs.items():
        if result not in GOOD:
            yield Finding(f"job {name}", f"ended with {result}", "read its log and mend what it says")
        elif result == SKIPPED and name in needed:
            yield Finding(f"job {name}", f"was skipped, though {needed[name]} changes", "run it")


def _incumbents(ledger: Ledger, head: str, evidence: Evidence) -> Iterator[Incumbent]:
    for environment, wave in _by_wave(ledger):
        commit = None
        try:
            commit = ledger.declared(environment).commit
            rows = judge_model(ledger, environment, head, commit, evidence.compare)
        except (ReleaseError, GateError, SettingsError) as error:
            yield Incumbent(environment, wave, commit, trouble=str(error))
            continue
        yield Incumbent(environment, wave, commit, of_commit(ledger.repository, _here(ledger, commit)), rows)


def _moves(
    ledger: Ledger, head: str, changed: Sequence[str] | set[str], judgement: Judgement
) -> Iterator[tuple[Move, Incumbent, Figures]]:
    """Tell which environments get another release, what runs there, and the new model's figures."""
    repository: Repository = ledger.repository
    for environment, wave in _by_wave(ledger):
        if ledger.environments.follows(environment):
            continue
        if release_file.path_of(environment) not in changed:
            continue
        try:
            after = release_file.read(repository, head, environment, follows=False)
        except ReleaseError:
            continue  # a broken rule tells
        before = ledger.present(environment).commit
        if after is None or after.commit in (None, before) or _here(ledger, after.commit) is None:
            continue
        # A rollback must be quick to judge, and not run what it goes back from.
        forward = after.hold is None
        there = _here(ledger, before)
        found = compare(repository, there, after.commit, load_dags=forward, environments=False)
        rows = judgement.gates.get(environment, ()) if forward else ()
        trouble = "" if rows or not forward else "the rules above come first"
        incumbent = Incumbent(environment, wave, before, of_commit(repository, there), rows, trouble)
        yield Move(environment, found), incumbent, of_commit(repository, after.commit)


def _by_wave(ledger: Ledger) -> Iterator[tuple[str, str]]:
    for wave, members in ledger.environments.waves.items():
        yield from ((environment, wave) for environment in members)


def _here(ledger: Ledger, commit: str | None) -> str | None:
    try:
        return ledger.repository.resolve(commit) if commit else None
    except GitError:
        return None
