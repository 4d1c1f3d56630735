"""A step of the pipeline: a function from a commit to a commit.

A step checks its input commit out into a throw-away clone, runs one DVC stage there, pushes what the stage
made to the DVC remote, commits `dvc.lock` and the metrics, and pushes that commit to the branch of its run.
A retry starts again from the same input, so a step can be run any number of times, by any worker.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import yaml
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import StepError
from gitops.workspace import Origin, Workspace, workspace

log = logging.getLogger(__name__)

# `dvc push` starts again from what has arrived, so trying again is cheap; in all about four minutes.
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
    with workspace(origin, commit, home) as space:
        if tracked := _tracked_inputs(space, stage):
            call(["dvc", "pull", *tracked], space.path, timeout)
        # --pull fetches the stage's outputs where this commit already has them.
        call(["dvc", "repro", "--pull", "--single-item", stage], space.path, timeout)
        _push_data(space, stage)
        return _commit(space, branch, f"{stage}: run for {branch}")


def run_command(
    origin: Origin, commit: str, command: Sequence[str], *, branch: str, home: Path, message: str
) -> str:
    """Run `command` on `commit` and return the commit that holds what it changed; else as `run_stage`."""
    with workspace(origin, commit, home) as space:
        call(command, space.path, timedelta(minutes=10))
        return _commit(space, branch, message)


def call(command: Sequence[str], folder: Path, timeout: timedelta) -> None:
    """Run `command` in the checkout `folder`, with its own code on the path, each line of output to the log.

    The whole process group ends with this call: at the timeout, and when the calling task is stopped.

    :raises StepError: when it fails or takes longer than `timeout`.
    """
    environment = os.environ | {
        # The release's own code, not the one that this interpreter has installed.
        "PYTHONPATH": str(folder / "src"),
        # `python` and `dvc` are those of this interpreter's environment, be it activated or not.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    shown = " ".join(command)
    log.info("$ %s", shown)
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(timeout.total_seconds(), expire)
    watchdog.start()
    last = complaint = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip():
                last = text
                # DVC says what is wrong first, and then where to read about it.
                if text.startswith("ERROR: "):
                    complaint = text
                log.info("%s", text)
        status = process.wait()
    finally:
        watchdog.cancel()
        _end_group(process)
    if expired.is_set():
        raise StepError(f"{shown}: stopped, it took longer than {timeout}")
    if status != 0:
        raise StepError(f"{shown}: exit status {status}: {complaint or last}")


def _end_group(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the group; the group's id stays taken as long as any member lives."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _tracked_inputs(space: Workspace, stage: str) -> list[str]:
    """What DVC keeps of a stage's inputs: outputs of other stages, and `.dvc` files in folders that it reads.

    `dvc repro --pull --single-item` takes an input that is not there for unchanged, and, where nothing else
    has changed, the stage for up to date. Of a folder that is there it does not fetch what is missing in it.
    """
    pipeline = yaml.safe_load((space.path / "dvc.yaml").read_text())
    inputs = pipeline.get("stages", {}).get(stage, {}).get("deps", [])
    # An input is a path, or a mapping from one to its options; and without any, git lists everything.
    paths = [next(iter(item)) if isinstance(item, dict) else item for item in inputs]
    files = space.repository.git("ls-files", "-z", "--", *paths).split("\0") if paths else []
    lock_file = space.path / "dvc.lock"
    lock = yaml.safe_load(lock_file.read_text()) if lock_file.is_file() else {}
    made = {out["path"] for one in lock.get("stages", {}).values() for out in one.get("outs", [])}
    return [
        *(file for file in files if file.endswith(".dvc")),
        # An output that git keeps is there already.
        *(path for path in paths if path in made and path not in files),
    ]


def _push_data(space: Workspace, stage: str) -> None:
    def announce(state: RetryCallState) -> None:
        log.warning("The DVC remote did not take the outputs of %s; trying again.", stage)

    Retrying(
        retry=retry_if_exception_type(StepError),
        stop=stop_after_attempt(_PUSH_ATTEMPTS),
        wait=wait_exponential(multiplier=4, max=120),
        before_sleep=announce,
        reraise=True,
    )(call, ["dvc", "push", stage], space.path, timedelta(hours=2))


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
