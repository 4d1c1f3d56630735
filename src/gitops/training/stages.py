"""A step of the pipeline: a function from a commit to a commit.

A step checks its input commit out into a throw-away clone, runs one DVC stage there, pushes what the stage
made to the DVC remote, commits `dvc.lock` and the metrics, and pushes that commit to the branch of its run.
A retry starts again from the same input, so a step can be run any number of times, by any worker.
"""

import json
import logging
import subprocess
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path, PurePath

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.dvc import provenance
from gitops.dvc.provenance import Step
from gitops.dvc.run import call, call_dvc, environment
from gitops.errors import ProvenanceError, StepError
from gitops.git.workspace import Origin, Workspace, workspace

log = logging.getLogger(__name__)

# `dvc push` goes on from what has arrived, so trying again is cheap; in all two minutes of pauses.
_PUSH_ATTEMPTS = 6


def run_stage(
    origin: Origin,
    commit: str,
    stage: str,
    *,
    branch: str,
    home: Path,
    timeout: timedelta = timedelta(hours=6),
) -> str:
    """Run the DVC stage `stage` on `commit` and return the commit (40 hex digits) that holds its results.

    Returns `commit` itself where the stage had nothing new to do. `branch` is the run's own branch on
    `origin`; it is moved to the new commit wherever it was.

    :raises StepError: when the stage or the DVC remote fails; nothing is then committed or pushed.
    :raises GitError: when `origin` cannot be reached.
    """
    provenance.begin()
    with workspace(origin, commit, home) as space:
        # --pull fetches the stage's outputs where this commit already has them.
        anew = ["--force"] if _stage(space, stage).dropped else []
        commands = [["repro", "--pull", *anew, "--single-item", stage]]
        if tracked := _tracked_inputs(space, stage):
            commands.insert(0, ["pull", *tracked])
        if any(out.cached for out in _stage(space, stage).outs):
            commands.append(["push", stage])
        try:
            call_dvc(commands, space.path, timeout)
        except StepError as error:
            if error.command != f"dvc push {stage}":
                raise
            _push_data(space, stage)
        return _commit(space, branch, f"{stage}: run for {branch}")


def run_command(
    origin: Origin,
    commit: str,
    command: Sequence[str],
    *,
    branch: str,
    home: Path,
    message: str,
    data: Sequence[str] = (),
    needs: Sequence[str] = (),
    timeout: timedelta = timedelta(minutes=10),
) -> str:
    """Run `command` on `commit` and return the commit that holds what it changed; else as `run_stage`.

    `data` are DVC targets that the command makes, to be pushed to the DVC remote; `needs` are those that it
    reads, to be pulled from there.
    """
    with workspace(origin, commit, home) as space:
        if needs:
            call(["dvc", "pull", *needs], space.path, timeout)
        call(command, space.path, timeout)
        if data:
            _push_data(space, *data)
        return _commit(space, branch, message)


def pull(origin: Origin, commit: str, stages: Sequence[str], *, home: Path) -> str:
    """Bring what `commit` has for `stages` from the DVC remote into the DVC cache; return `commit`.

    What DVC tracks in folders that they read must be there. What the stages themselves once made may be gone:
    they make it again.

    :raises StepError: when the DVC remote fails, or lacks what cannot be made again.
    :raises GitError: when `origin` cannot be reached.
    """
    with workspace(origin, commit, home) as space:
        inputs = [path for stage in stages for path in _tracked_inputs(space, stage)]
        tracked = [path for path in inputs if path.endswith(".dvc")]
        made = [stage for stage in stages if _stage(space, stage).recorded]
        if tracked:
            call(["dvc", "pull", *dict.fromkeys(tracked)], space.path, timedelta(hours=2))
        if made:
            call(["dvc", "fetch", *made], space.path, timedelta(hours=2))
    if not tracked and not made:
        log.info("Nothing to pull: %s has no data under DVC yet.", commit)
    return commit


def push(origin: Origin, commit: str, stages: Sequence[str], *, home: Path) -> str:
    """See to it that all that `stages` made in `commit` is on the DVC remote; return `commit`.

    :raises StepError: when the DVC remote fails, or lacks something that is not here either.
    :raises GitError: when `origin` cannot be reached.
    """
    with workspace(origin, commit, home) as space:
        made = _made(space, stages)
        # Each step has pushed what it made, so as a rule there is nothing left to push.
        if _missing_on_remote(space, made):
            _push_data(space, *stages)
            # `dvc push` only warns of what is neither here nor there, and succeeds.
            if missing := _missing_on_remote(space, made):
                raise StepError(
                    f"DVC remote: lacks {', '.join(missing[:3])} of {commit[:12]}, and so does this machine; "
                    "clear the task that makes it, so that it runs again"
                )
    for path, digest in made.items():
        log.info("On the DVC remote: %s (md5 %s)", path, digest)
    return commit


def _tracked_inputs(space: Workspace, stage: str) -> list[str]:
    """What DVC keeps of a stage's inputs: outputs of other stages, and `.dvc` files in folders that it reads.

    `dvc repro --pull --single-item` takes an input that is not there for unchanged, and, where nothing else
    has changed, the stage for up to date. Of a folder that is there it does not fetch what is missing in it.
    """
    pipeline = _pipeline(space)
    paths = _stage(space, stage).deps
    # Without any path, git lists everything.
    files = space.repository.git("ls-files", "-z", "--", *paths).split("\0") if paths else []
    made = {out.path for one in pipeline.values() for out in one.outs if out.md5}
    return [
        *(file for file in files if file.endswith(".dvc")),
        # An output that git keeps is there already.
        *(path for path in paths if path in made and path not in files),
    ]


def _pipeline(space: Workspace) -> dict[str, Step]:
    try:
        return provenance.pipeline(space.repository, space.commit)
    except ProvenanceError as error:
        raise StepError(str(error)) from error


def _stage(space: Workspace, stage: str) -> Step:
    """Return a stage of the commit as DVC resolves it.

    :raises StepError: where there is no such stage, or DVC cannot read the pipeline.
    """
    found = _pipeline(space).get(stage)
    if found is None:
        raise StepError(f"dvc.yaml of {space.commit[:12]}: has no stage {stage}")
    return found


def _made(space: Workspace, stages: Sequence[str]) -> dict[str, str]:
    """Path and MD5 of each output of `stages` that DVC keeps and git does not."""
    outs = [out for stage in stages for out in _stage(space, stage).outs]
    return {out.path: out.md5 for out in outs if out.cached and out.md5}


def _missing_on_remote(space: Workspace, paths: Iterable[str]) -> list[str]:
    command = ["dvc", "data", "status", "--not-in-remote", "--json"]
    done = subprocess.run(
        command,
        cwd=space.path,
        env=environment(space.path),
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    if done.returncode != 0:
        raise StepError(
            f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    absent = json.loads(done.stdout).get("not_in_remote", [])
    return [name for name in absent if any(PurePath(name).is_relative_to(path) for path in paths)]


def _push_data(space: Workspace, *targets: str) -> None:
    def announce(state: RetryCallState) -> None:
        log.warning("The DVC remote did not take the outputs of %s; trying again.", ", ".join(targets))

    Retrying(
        retry=retry_if_exception_type(StepError),
        stop=stop_after_attempt(_PUSH_ATTEMPTS),
        wait=wait_exponential(multiplier=4, max=120),
        before_sleep=announce,
        reraise=True,
    )(call, ["dvc", "push", *targets], space.path, timedelta(hours=2))


def _commit(space: Workspace, branch: str, message: str) -> str:
    repository = space.repository
    repository.git("add", "--all")
    if not repository.git("status", "--porcelain"):
        log.info("Nothing changed: %s stands.", space.commit)
        return space.commit
    repository.git(
        "-c",
        "commit.gpgSign=false",
        "commit",
        "--quiet",
        "--no-verify",
        "-m",
        message,
        env=repository.identity(),
    )
    commit = repository.resolve("HEAD")
    reference = f"refs/heads/{branch}"
    with space.origin.session():
        before = repository.remote_refs("origin", reference).get(reference)
        if before != commit:
            repository.push("origin", {reference: commit}, leases={reference: before})
    log.info("Pushed %s to %s.", commit, branch)
    return commit
