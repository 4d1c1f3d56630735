"""A step of the pipeline: a function from a commit to a commit.

A step checks its input commit out into a temporary clone, runs one DVC stage there, pushes the outputs to
the DVC remote, commits `dvc.lock` and the metrics, and pushes that commit to the branch of its run.
A retry starts again from the same input, so a step can be run any number of times, by any worker.
"""

import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.dvc import provenance
from gitops.dvc.lockfile import Lock
from gitops.dvc.provenance import Step
from gitops.dvc.run import call, call_dvc, dvc_program, environment
from gitops.errors import ParseError, ProvenanceError, StepError
from gitops.git.workspace import Origin, Workspace, configuration, workspace
from gitops.model.cost import Cost, StageCost, summed
from gitops.text import parse, record

log = logging.getLogger(__name__)

# `dvc push` leaves out files that have arrived, so another attempt is cheap; in all two minutes of pauses.
_PUSH_ATTEMPTS = 6
_DEVICES = Path("/dev")
_COST = "cost"


def _ignore(inputs: dict[str, str], outputs: dict[str, str]) -> None:
    """Report nothing."""


def run_stage(
    origin: Origin,
    commit: str,
    stage: str,
    *,
    branch: str,
    home: Path,
    timeout: timedelta = timedelta(hours=6),
    given: Mapping[str, str] | None = None,
    report: Callable[[dict[str, str], dict[str, str]], None] = _ignore,
) -> str:
    """Run the DVC stage `stage` on `commit` and return the commit (40 hex digits) that holds its results.

    Returns `commit` itself where the stage had nothing new to do. `branch` is the run's own branch on
    `origin`; it is moved to the new commit wherever it was. `given` are texts of files that the stage may
    read and that are not committed, by path; the costs of results of `run_for_result` in them count as those
    of `<stage>-tasks`. `report` gets the digests of the data that the stage read and
    wrote, by path.

    Raises:
        StepError: if the stage or the DVC remote fails; nothing is then committed or pushed.
        GitError: if `origin` cannot be reached.

    """
    provenance.begin()
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with workspace(origin, commit, home) as space:
        # --pull fetches the stage's outputs where this commit already has them.
        force = ["--force"] if _stage(space, stage).dropped else []
        commands = [["repro", "--pull", *force, "--single-item", stage]]
        if tracked := _tracked_inputs(space, stage):
            commands.insert(0, ["pull", *tracked])
        if any(out.cached for out in _stage(space, stage).outs):
            commands.append(["push", stage])
        files = _give(space, given or {})
        try:
            call_dvc(commands, space.path, timeout)
        except StepError as error:
            if error.command != f"dvc push {stage}":
                raise
            _push_data(space, stage)
        for path in files:
            path.unlink(missing_ok=True)
        # `gitops runs` reads the duration from here.
        seconds = time.monotonic() - started
        subject = f"{stage}: run for {branch} in {seconds:.1f} s"
        cost = {stage: _cost(Lock.of_folder(space.path).bytes_of(stage), seconds, before)}
        if elsewhere := _cost_of(given or {}):
            cost[f"{stage}-tasks"] = elsewhere
        result = commit_changes(space, branch, subject, cost)
        report(*Lock.load(space.repository, result).data_of(stage))
        return result


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
    """Run `command` on `commit` and return the commit with its changes; else as `run_stage`.

    `data` are DVC targets that the command makes, to be pushed to the DVC remote; `needs` are those that it
    reads, to be pulled from there.
    """
    with workspace(origin, commit, home) as space:
        if needs:
            call(["dvc", "pull", *needs], space.path, timeout)
        call(command, space.path, timeout)
        if data:
            _push_data(space, *data)
        return commit_changes(space, branch, message)


def run_for_result(
    origin: Origin,
    commit: str,
    command: Sequence[str],
    *,
    home: Path,
    result: str,
    given: Mapping[str, str],
    needs: Sequence[str] = (),
    timeout: timedelta = timedelta(minutes=10),
) -> Any:
    """Run `command` on `commit` and return the JSON document that it writes to `result`; commit nothing.

    `given` are texts of files that the command reads, by path; `needs` are DVC targets that it reads, to be
    pulled from the DVC remote. An object that is not empty gets the cost of the command as `cost`.

    Raises:
        StepError: if the command or the DVC remote fails, or the document cannot be read.
        GitError: if `origin` cannot be reached.

    """
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with workspace(origin, commit, home) as space:
        if needs:
            call(["dvc", "pull", *needs], space.path, timeout)
        _give(space, given)
        call(command, space.path, timeout)
        try:
            document = parse.json_value(parse.file(space.path / result, parse.RESULT.size), parse.RESULT)
        except (OSError, ParseError) as error:
            raise StepError(f"{' '.join(command)}: {result}: cannot be read: {error}") from error
        lock = Lock.of_folder(space.path)
    if parse.is_mapping(document) and document:
        read = sum(lock.size(path) for path in needs)
        cost = _cost((read, 0), time.monotonic() - started, before)
        document[_COST] = cost.model_dump(exclude_none=True)
    return document


def _cost_of(given: Mapping[str, str]) -> StageCost | None:
    """Return the cost of the commands whose results, as of `run_for_result`, are listed in given files.

    Results of earlier versions have none.
    """
    costs: list[StageCost] = []
    for name, content in given.items():
        try:
            results = map(parse.mapping, parse.sequence(parse.json_value(content.encode(), parse.RESULTS)))
            noted = [json.dumps(result[_COST]).encode() for result in results if _COST in result]
            costs += [record.read(StageCost, cost) for cost in noted]
        except ParseError as error:
            log.warning("%s: costs in it are not counted: %s", name, error)
    return summed(costs) if costs else None


def _give(space: Workspace, given: Mapping[str, str]) -> list[Path]:
    """Write files into a checkout, and return their paths.

    Raises:
        StepError: if the commit has such a file, or a link in its place.

    """
    paths = {space.path / name: text for name, text in given.items()}
    for path, text in paths.items():
        if not path.resolve().is_relative_to(space.path.resolve()) or path.exists():
            name = path.relative_to(space.path)
            raise StepError(f"{name}: in the way in {space.commit[:12]}; remove it there")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(paths)


def pull(origin: Origin, commit: str, stages: Sequence[str], *, home: Path) -> str:
    """Pull the files that `stages` of `commit` need from the DVC remote into the DVC cache; return `commit`.

    Files that DVC tracks in folders that they read must be there. Earlier outputs of the stages may be gone:
    they make it again.

    Raises:
        StepError: if the DVC remote fails, or lacks a file that cannot be made again.
        GitError: if `origin` cannot be reached.

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

    Raises:
        StepError: if the DVC remote fails, or lacks something that is not here either.
        GitError: if `origin` cannot be reached.

    """
    with workspace(origin, commit, home) as space:
        made = _made(space, stages)
        # Each step has pushed its outputs, so usually there is nothing left to push.
        if _missing_on_remote(space, made):
            _push_data(space, *stages)
            # `dvc push` only warns about files that are neither here nor there, and succeeds.
            if missing := _missing_on_remote(space, made):
                raise StepError(
                    f"DVC remote: lacks {', '.join(missing[:3])} of {commit[:12]}, and so does this machine; "
                    "clear the task that makes it, so that it runs again"
                )
    for path, digest in made.items():
        log.info("On the DVC remote: %s (md5 %s)", path, digest)
    return commit


def _tracked_inputs(space: Workspace, stage: str) -> list[str]:
    """The targets of `dvc pull` that bring the inputs of a stage.

    `dvc repro --pull --single-item` takes an input that is not there for unchanged, and, where nothing else
    has changed, the stage for up to date, even one that never ran. It does not fetch files that are missing
    in a folder that exists.
    """
    return list(_stage(space, stage).pulls)


def _pipeline(space: Workspace) -> dict[str, Step]:
    try:
        return provenance.pipeline(space.repository, space.commit)
    except ProvenanceError as error:
        raise StepError(str(error)) from error


def _stage(space: Workspace, stage: str) -> Step:
    """Return a stage of the commit as DVC resolves it; all stages of a loop, under its name, as one.

    Raises:
        StepError: if there is no such stage, or DVC cannot read the pipeline.

    """
    found = [step for name, step in _pipeline(space).items() if name == stage or name.startswith(f"{stage}@")]
    if not found:
        raise StepError(f"dvc.yaml of {space.commit[:12]}: has no stage {stage}")
    return Step(
        tuple(target for step in found for target in step.pulls),
        tuple(out for step in found for out in step.outs),
        recorded=any(step.recorded for step in found),
        dropped=any(step.dropped for step in found),
    )


def _made(space: Workspace, stages: Sequence[str]) -> dict[str, str]:
    """Path and MD5 of each output of `stages` that DVC keeps and git does not."""
    outs = [out for stage in stages for out in _stage(space, stage).outs]
    return {out.path: out.md5 for out in outs if out.cached and out.md5}


def _missing_on_remote(space: Workspace, paths: Iterable[str]) -> list[str]:
    command = ["data", "status", "--not-in-remote", "--json"]
    done = subprocess.run(
        dvc_program([command], space.path),
        cwd=space.path,
        env=environment(space.path),
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    if done.returncode != 0:
        raise StepError(
            f"dvc {' '.join(command)}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    absent = json.loads(done.stdout.partition("\n")[2]).get("not_in_remote", [])
    return [name for name in absent if any(PurePath(name).is_relative_to(path) for path in paths)]


def _push_data(space: Workspace, *targets: str) -> None:
    def announce(_: RetryCallState) -> None:
        log.warning("The DVC remote did not take the outputs of %s; trying again.", ", ".join(targets))

    Retrying(
        retry=retry_if_exception_type(StepError),
        stop=stop_after_attempt(_PUSH_ATTEMPTS),
        wait=wait_exponential(multiplier=4, max=120),
        before_sleep=announce,
        reraise=True,
    )(call, ["dvc", "push", *targets], space.path, timedelta(hours=2))


def _cost(sizes: tuple[int, int], seconds: float, before: resource.struct_rusage) -> StageCost:
    """Return the cost of a stage, by the processes that this one has waited for since `before`."""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    gpus = gpus_seen()
    return StageCost(
        seconds=round(seconds, 1),
        cpu_seconds=round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        # Of all of them so far: a task is a process of its own, with one stage.
        peak_bytes=after.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        read_bytes=sizes[0],
        written_bytes=sizes[1],
        gpu_seconds=round(seconds * gpus, 1) if gpus else None,
    )


def gpus_seen() -> int:
    """Return the number of NVIDIA's GPUs that a stage sees."""
    there = len([*_DEVICES.glob("nvidia[0-9]*")])
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return there
    return min(there, len([one for one in chosen.split(",") if one.strip() not in ("", "-1")]))


def commit_changes(
    space: Workspace, branch: str, message: str, cost: Mapping[str, StageCost] | None = None
) -> str:
    """Commit the changes in a workspace, push them to a branch wherever it was, and return the commit.

    The commit gets the cost of its stages, and that of the commits before it on the same branch.

    Raises:
        StepError: if the workspace has a repository in it, or the configuration of its git changed.
        GitError: if the origin refuses.

    """
    repository = space.repository
    if configuration(space.path) != space.configured:
        raise StepError(f"{message}: changed the configuration of git in its checkout; nothing is committed")
    if inner := _inner_repository(space.path):
        raise StepError(f"{message}: {inner}: a repository in the checkout; nothing is committed")
    repository.git("add", "--all")
    if not repository.git("status", "--porcelain"):
        log.info("Nothing changed: %s stands.", space.commit)
        return space.commit
    earlier = Cost.of(repository.commit_info(space.commit).cost, branch)
    spent = (earlier or Cost(run=branch)).adding(cost or {})
    repository.git(
        "-c",
        "commit.gpgSign=false",
        "commit",
        "--quiet",
        "--no-verify",
        "-m",
        f"{message}\n\n{spent.trailer}" if spent.stages else message,
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


def _inner_repository(folder: Path) -> Path | None:
    """Return a repository in a checkout, or None. Git would execute the filters that it configures."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = (Path(root) / name).relative_to(folder)
            if name.lower() == ".git" and path != Path(".git"):
                return path
    return None
