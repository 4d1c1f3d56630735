"""The inputs of a report on a pull request: the verdict, the metrics and the changes, read from git."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitops.diff.diff import Difference
from gitops.diff.load import load_difference
from gitops.errors import GateError, LicencesError, ReleaseError, SettingsError
from gitops.findings import Finding
from gitops.gates import gates
from gitops.git.merge_result import merge_result
from gitops.git.repository import Repository
from gitops.model import cost, drift_comparison
from gitops.model.cost import Cost
from gitops.model.drift_comparison import DriftComparison
from gitops.model.metrics import Metrics
from gitops.promotion.change import Change
from gitops.promotion.check import judge
from gitops.promotion.evidence import Evidence
from gitops.promotion.jobs import Job
from gitops.promotion.judgement import Judgement
from gitops.promotion.pipeline import note
from gitops.promotion.rules import judge_model
from gitops.promotion.scope import of_files
from gitops.release import file as release_file
from gitops.release.licences import BATCHES
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.report import data
from gitops.text.record import LARGEST
from gitops.training.trial import Trial

SKIPPED = "skipped"
_MOST_BATCHES = 8
GOOD = ("success", SKIPPED)
"""The results of a job that do not block a merge."""


@dataclass(frozen=True)
class Incumbent:
    """The release of one environment, and the comparison of the new model with it."""

    environment: str
    wave: str
    commit: str | None
    metrics: Metrics = field(default_factory=Metrics)
    rows: tuple[gates.GateResult, ...] = ()
    """Empty if no gates apply, as for a rollback."""
    trouble: str = ""
    """The reason if there are no gates to show."""


@dataclass(frozen=True)
class Move:
    """Another release for an environment that does not follow main."""

    environment: str
    difference: Difference


@dataclass(frozen=True)
class ReportInputs:
    """All inputs of a report."""

    base: str
    head: str
    follower: str
    """The environment that follows main."""
    broken: tuple[Finding, ...]
    before: Metrics
    after: Metrics
    difference: Difference
    moves: tuple[Move, ...] = ()
    proposed: Metrics = field(default_factory=Metrics)
    """The metrics of the model that is compared with the incumbents."""
    drift: DriftComparison | None = None
    """The same model on the labelled batches that came with it."""
    note: str | None = None
    """A note if the model was made before the change, with the command that trains it."""
    incumbents: tuple[Incumbent, ...] = ()
    """Empty where no environment would get another model."""
    appended: tuple[data.Appended, ...] = ()
    """The labelled batches that the change appends, and no training has learned from yet."""
    trial: Trial | None = None
    cost: Cost | None = None
    """The cost of the run that made the proposed model."""
    jobs: Mapping[str, Job] = field(default_factory=dict[str, Job])
    """The other jobs of the run, by name."""
    price: float | None = None
    """The price of a minute of a job, in US dollars."""


def gather(
    repository: Repository,
    state: ReleaseState,
    head: str,
    evidence: Evidence | None = None,
    *,
    base: str = "main",
    name: str = "",
    trial: Trial | None = None,
    jobs: Mapping[str, Job] | None = None,
    price: float | None = None,
    load_dags: bool = False,
) -> ReportInputs:
    """Collect the inputs of a report on merging the commit `head`, called `name`, into main.

    With `load_dags` the DAG files of both sides are executed, in isolated processes.
    """
    evidence, name = evidence or Evidence.of(repository), name or head[:12]
    result, broken = merge_result(repository, state.tip, head, remote=state.remote)
    if result:
        # The report is about the result of the merge.
        start, head = result.main, result.commit
        change = Change.load(repository, state, result)
        state = state.adding(change.releases)
        judgement = judge(state, change, evidence)
    else:
        judgement = Judgement(tuple(broken))
        start = repository.merge_base(state.tip, head) or state.tip
    changed = set(repository.changed(start, head))
    before, after = (Snapshot.load(repository, commit) for commit in (start, head))
    broken = [*judgement.findings, *failed(jobs or {}, changed)]
    notes = [*map(str, judgement.migrations), note(evidence, head, sorted(changed), name or base)]
    moves, proposed, spent, drift, incumbents = (), Metrics(), None, None, ()
    if "dvc.lock" in changed:
        proposed = after.metrics
        spent = cost.of_commit(repository, head)
        drift = drift_comparison.of_commit(repository, head, proposed.sha256)
        incumbents = tuple(_incumbents(state, after, evidence))
    else:
        moved = list(_moves(repository, state, after, changed, judgement, load_dags=load_dags))
        moves = tuple(move for move, _, _ in moved)
        incumbents = tuple(incumbent for _, incumbent, _ in moved)
        proposed = moved[0][2] if moved else Metrics()
    return ReportInputs(
        base=base,
        head=name,
        follower=state.environments.root,
        broken=tuple(broken),
        before=state.main.metrics,
        after=after.metrics,
        difference=load_difference(repository, before, after, load_dags=load_dags),
        moves=moves,
        proposed=proposed,
        drift=drift,
        note="; ".join(filter(None, notes)) or None,
        incumbents=incumbents,
        appended=tuple(_appended(repository, head, changed)),
        trial=trial,
        cost=spent,
        jobs=jobs or {},
        price=price,
    )


def _appended(repository: Repository, head: str, changed: Iterable[str]) -> Iterator[data.Appended]:
    paths = sorted(path for path in changed if path.startswith(f"{BATCHES}/"))[:_MOST_BATCHES]
    for path, content in zip(
        paths, repository.read_all([(head, path) for path in paths], LARGEST), strict=True
    ):
        if content is not None and (batch := data.appended(path, content)):
            yield batch


def failed(jobs: Mapping[str, Job], changed: Iterable[str]) -> Iterator[Finding]:
    """Yield a finding for each job that failed, or was skipped without a good reason.

    A job that was skipped is as good as one that passed only where none of the files in `changed` needs it:
    whatever decided to skip it may have been mistaken.
    """
    needed = of_files(sorted(changed))
    for name, job in jobs.items():
        if job.result not in GOOD:
            problem = ": ".join([f"ended with {job.result}", *filter(None, ["; ".join(job.reasons)])])
            yield Finding(f"job {name}", problem, "read its log and correct the error", job.url, rule="job")
        elif job.result == SKIPPED and name in needed:
            yield Finding(f"job {name}", f"was skipped, though {needed[name]} changes", "run it", rule="job")


def _incumbents(state: ReleaseState, head: Snapshot, evidence: Evidence) -> Iterator[Incumbent]:
    for environment, wave in _by_wave(state):
        commit, there = None, None
        try:
            commit = state.declared(environment).commit
            there = state.snapshot(commit) if commit else None
            rows = judge_model(state, environment, head, there, evidence, evidence.compare)
        except (ReleaseError, GateError, SettingsError, LicencesError) as error:
            yield Incumbent(environment, wave, commit, trouble=str(error))
            continue
        yield Incumbent(environment, wave, commit, there.metrics if there else Metrics(), rows)


def _moves(
    repository: Repository,
    state: ReleaseState,
    head: Snapshot,
    changed: Sequence[str] | set[str],
    judgement: Judgement,
    *,
    load_dags: bool,
) -> Iterator[tuple[Move, Incumbent, Metrics]]:
    """Yield each environment that gets another release, its present release, and the new model's metrics."""
    for environment, wave in _by_wave(state):
        if state.environments.follows(environment):
            continue
        if release_file.path_of(environment) not in changed:
            continue
        try:
            after = head.release(environment, follows=False)
        except ReleaseError:
            continue  # a rule reports it
        before = state.present(environment).commit
        release = state.snapshot(after.commit) if after and after.commit not in (None, before) else None
        if after is None or release is None:
            continue
        # The check of a rollback must be fast, and must not run the release that it goes back from.
        forward = after.hold is None
        there, load_dags = state.snapshot(before) if before else None, load_dags and forward
        difference = load_difference(repository, there, release, load_dags=load_dags, environments=False)
        rows = judgement.gates.get(environment, ()) if forward else ()
        trouble = "" if rows or not forward else "the rules above come first"
        present = there.metrics if there else Metrics()
        incumbent = Incumbent(environment, wave, before, present, rows, trouble)
        yield Move(environment, difference), incumbent, release.metrics


def _by_wave(state: ReleaseState) -> Iterator[tuple[str, str]]:
    for wave, members in state.environments.waves.items():
        yield from ((environment, wave) for environment in members)
