"""A candidate: one commit, on a branch of its own, that proposes the results of a training run."""

import logging
import re
from functools import partial
from pathlib import Path

from gitops.dvc import lockfile
from gitops.errors import CandidateError, GitError, ParseError, TransientError
from gitops.gates import anchors, gates, licence
from gitops.gates.comparer import Comparer
from gitops.gates.gates import GateResult
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, fetch, resolve, update_mirror, workspace
from gitops.model import decisions, drift_comparison
from gitops.model.cost import Cost
from gitops.model.evaluation import evaluation
from gitops.paths import EVALUATION, LOCK, PERFORMANCE
from gitops.release import licences
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import Verdicts
from gitops.text import instructions, parse

log = logging.getLogger(__name__)

# How long things took. No two runs take equally long, which makes no two results differ.
TIMINGS = PERFORMANCE


def slug(run_id: str) -> str:
    """A run id as part of a branch name: letters, digits, dots, dashes and underscores alone."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", run_id.replace("+00:00", "Z").replace(":", "")).strip("-")


def run_branch(run_id: str) -> str:
    """The branch on which the steps of a run leave their commits."""
    return f"run/{slug(run_id)}"


def candidate_branch(run_id: str) -> str:
    """The branch from which a pull request is opened."""
    return f"candidate/{slug(run_id)}"


def propose(origin: Origin, base: str, result: str, *, run_id: str, home: Path) -> str | None:
    """Push the results of a run as one commit on top of the commit that it trained from.

    `base` is the commit that the run started from, `result` the commit of its last step. The same run gives
    the same commit, so a retry changes nothing. Returns the branch, or None where the run made nothing that
    `base`, or `main` as it is by now, does not have.

    Raises:
        CandidateError: for a run at another profile than `full`, one without an evaluation, or one whose
            branch already holds something else.

    """
    branch = candidate_branch(run_id)
    with workspace(origin, result, home) as space:
        repository = space.repository
        fetch(repository, origin, base)
        profile = _profile(repository, result)
        if profile != "full":
            raise CandidateError(
                f"params.yaml: a run at profile {profile} is never proposed; train at profile full"
            )
        main = resolve(origin, "main", home)
        fetch(repository, origin, main)
        for name, commit in (("the commit that the run started from", base), ("main", main)):
            if _equal(repository, base, result, commit):
                log.info("The results equal those of %s (%s): nothing to propose.", name, commit)
                return None
        commit = _squash(repository, base, result, run_id)
        _warn_of_conflict(repository, base, main, commit, branch)
        reference = f"refs/heads/{branch}"
        with origin.session():
            present = repository.remote_refs("origin", reference).get(reference)
            if present not in (None, commit):
                raise CandidateError(
                    f"{branch}: already holds {present[:12]}, another commit than this run's; "
                    "merge or delete that branch, then run propose_candidate again"
                )
            if present is None:
                repository.push("origin", {reference: commit})
    log.info("Proposed %s as %s.", commit, branch)
    return branch


def _warn_of_conflict(repository: Repository, base: str, main: str, commit: str, branch: str) -> None:
    """Log that main has got another dvc.lock since the run started: two locks cannot be merged.

    The candidate is proposed all the same, for people to look at.
    """
    if len(set(repository.object_ids([f"{revision}:{LOCK}" for revision in (base, main, commit)]))) == 3:
        log.warning(
            "The candidate conflicts with main: %s has another %s than %s, which was trained from. "
            "To train its data on main as it is now: %s",
            *(main[:12], LOCK, base[:12], instructions.train(branch, "--on-main")),
        )


def judge(
    origin: Origin,
    result: str,
    incumbent: str,
    environment: str,
    *,
    home: Path,
    cache: Path,
    mirror: Path | None = None,
) -> list[GateResult]:
    """Compare the results of a run with the gates of `environment`, whose settings are those of `main`.

    `incumbent` is the commit that runs there now. Both models answer the same images, here; the files for
    that and finds stays in the folder `cache`. `mirror` is the folder of the environment's own bare copy of
    `origin`, by default in `cache`: the verdicts are read there, with the whole history of main.

    Raises:
        GateError: for a run without an evaluation.
        SettingsError: if the settings are not valid.
        GitError: if `origin` cannot be reached.

    """
    with workspace(origin, result, home) as space:
        repository = space.repository
        main = resolve(origin, "main", home)
        for commit in (incumbent, main):
            fetch(repository, origin, commit)
        tip = Snapshot.load(repository, main)
        declared = tip.settings(environment)
        with origin.session():
            tags = f"verified/{environment}/*", f"rejected/{environment}/*"
            target = repository.namespace("origin")
            repository.fetch_refs("origin", *(f"+refs/tags/{tag}:{target}/tags/{tag}" for tag in tags))
        copy = update_mirror(origin, mirror or cache / "origin.git")
        verified = Verdicts.of_environment(copy, origin.url, environment).verifications(environment)
        by_name = [declared.anchor_release] if declared.anchor_release else []
        for commit in by_name:
            try:
                fetch(repository, origin, commit)
            except TransientError:
                raise
            except GitError as error:
                # A commit that is not there: `anchors.named` names the setting
                log.warning("%s", error)
        commits = [result, incumbent, *by_name, *(item.release for item in verified)]
        releases = Snapshot.load_all(repository, commits)
        model = releases[result]
        known = partial(decisions.of_commit, repository)
        best = anchors.best(model, verified, releases, declared.max_mean_loss, known)
        named = anchors.named(releases.get(declared.anchor_release), declared)
        # By the code of the release that runs here: it is the only code that may.
        compare = Comparer(repository, origin, cache, lambda: incumbent)
        forgotten = tip.forgotten.and_of(model.forgotten)
        rows = gates.judge(model, releases[incumbent], declared, compare, best, named, known, forgotten)
        appended = licences.batches(repository.files(result, licences.BATCHES))
        return [*rows, licence.judge(tip.licences, model.source, appended, declared.use)]


def _equal(repository: Repository, base: str, result: str, parent: str) -> bool:
    """Whether `other` has all that `result` changed since `base`, measured times aside."""
    paths = [path for path in repository.changed(base, result) if path not in (LOCK, TIMINGS)]
    both = repository.object_ids([f"{commit}:{path}" for path in paths for commit in (result, parent)])
    if both[::2] != both[1::2]:
        return False
    return _without_timings(repository, result) == _without_timings(repository, parent)


def _without_timings(repository: Repository, commit: str) -> object:
    content = repository.read(commit, LOCK)
    if content is None:
        return None
    try:
        stages = lockfile.stages(content)
        outs = list(lockfile.outs(content, repository.read(commit, lockfile.PIPELINE) or b""))
    except ParseError as error:
        raise CandidateError(
            f"{LOCK} in {commit[:12]}: {error}; run: source .venv/bin/activate && dvc repro"
        ) from error
    inputs = {name: {**stage, "outs": None} for name, stage in stages.items()}
    return inputs, [(path, out) for path, out in outs if path != TIMINGS]


def _profile(repository: Repository, commit: str) -> str:
    content = repository.read(commit, "params.yaml")
    if content is None:
        raise CandidateError(f"params.yaml: missing in {commit}")
    try:
        return str(parse.mapping(parse.yaml_value(content, parse.PARAMS)).get("profile"))
    except ParseError as error:
        raise CandidateError(f"params.yaml in {commit[:12]}: {error}; repair it") from error


def _squash(repository: Repository, base: str, result: str, run_id: str) -> str:
    content = repository.read(result, EVALUATION)
    if content is None:
        raise CandidateError(f"{EVALUATION}: missing in {result}; run the evaluate stage first")
    metrics = evaluation(content, result)
    message = (
        f"Candidate: mean accuracy {metrics.mean_accuracy:.4f}\n\n"
        f"Trained by run {run_id} from {base[:12]}.\n"
        f"Mean accuracy {metrics.mean_accuracy:.4f} (majority class {metrics.majority_accuracy:.4f}) "
        f"on {metrics.samples} hold-out images.\n"
    )
    if drift := drift_comparison.of_commit(repository, result, metrics.model_sha256):
        message += f"{drift}\n"
    if cost := Cost.of(repository.commit_info(result).cost, run_branch(run_id)):
        message += f"\n{cost.trailer}\n"
    # The dates of the run's last step make the commit, and so its id, the same at every retry.
    date = repository.commit_info(result).at.isoformat()
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    return repository.commit_tree(f"{result}^{{tree}}", [base], message, env=dates)
