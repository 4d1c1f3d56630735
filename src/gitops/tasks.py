"""The contract between a release and the runtime: everything that a DAG may import from `gitops`.

A DAG belongs to its release; `gitops` belongs to the image that runs Airflow. So a DAG of last year runs with
the `gitops` of today. To keep that working:

- DAGs import this module and no other module of `gitops`.
- Functions take keyword arguments, and return text, numbers or values that JSON can carry.
- A name is never removed and never changes incompatibly. To replace one, add another, and keep the old one.
- Adding a name raises `CONTRACT`, in `gitops.runtime`. A release states the contract that it needs in
  `dags/runtime.yaml`; a runtime with a lower number does not serve it.

Every function works on the current task's environment, release and git repository. Commits are full ids of 40
hexadecimal digits, folders and files absolute paths.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gitops.errors import ParseError, RuleError
from gitops.errors import StepError as CommandError
from gitops.isolation import hide
from gitops.runtime import CONTRACT

if TYPE_CHECKING:
    from airflow.sdk import AssetWatcher, BaseOperator
    from airflow.sdk.definitions.deadline import DeadlineAlert

    from gitops.release.file import Declaration

__all__ = (
    "CONTRACT",
    "CommandError",
    "ParseError",
    "RuleError",
    "archive",
    "branch_commit",
    "call",
    "canary",
    "canary_batches",
    "changed_files",
    "check_storage",
    "checkout_release",
    "deadline",
    "environment",
    "fetch_model",
    "fetch_reference",
    "find_commit",
    "home",
    "incoming_batches",
    "inspect",
    "judge",
    "notify",
    "on_late_run",
    "parse_yaml",
    "propose",
    "publish_shadow",
    "publish_verdict",
    "pull_data",
    "push_data",
    "release",
    "remove_expired",
    "rollback_instructions",
    "run_command",
    "run_for_result",
    "run_link",
    "run_stage",
    "run_stage_given",
    "runbook",
    "safe_name",
    "setting",
    "shadow",
    "step_down",
    "training_ref",
    "untried_batches",
    "unverified",
    "unverified_release",
    "verify",
    "watch_health",
)

log = logging.getLogger(__name__)

# A task of any executor comes by here before it starts code of a commit, which could read its secrets.
hide()


# The place of the task


def environment() -> str:
    """Return the name of the environment that the task runs in."""
    from gitops.airflow import task_context

    return task_context.environment()


def home() -> str:
    """Return the data folder of the environment."""
    from gitops.airflow import task_context

    return str(task_context.home())


def setting(*, name: str) -> Any:
    """Return a setting of the environment: text, a number, a boolean, or a list of texts.

    Args:
        name: Its name in `environments/<env>/settings.env`.

    """
    from gitops.release.settings import Settings

    return Settings.from_environ().value(name)


def release(*, checkout: str) -> str:
    """Return the commit of the release that the task belongs to.

    Args:
        checkout: The folder that the release is checked out in, for a task that Airflow did not start.

    """
    from gitops.airflow import task_context

    return task_context.release(Path(checkout))


def checkout_release(*, checkout: str) -> str:
    """Return the commit of the release that is checked out in a folder, as a callback of a run needs it."""
    from gitops.airflow import task_context

    return task_context.checkout_release(Path(checkout))


def incoming_batches() -> "AssetWatcher":
    """Return the watcher that starts a run when a batch arrives in `incoming/` of the data folder."""
    from airflow.sdk import AssetWatcher

    from gitops.airflow.watch import IncomingBatches

    return AssetWatcher(name="incoming_batches", trigger=IncomingBatches())


# Commits


def training_ref(*, ref: str, release: str) -> str:
    """Return the branch or the commit that a training takes in this environment.

    Args:
        ref: The branch or the commit that somebody asked for, or "".
        release: The commit of the release that runs here.

    Raises:
        RuleError: when this environment may not train `ref`.

    """
    from gitops.airflow import task_context
    from gitops.training import source as training_source

    environment = task_context.environment()
    environments = task_context.environments()
    return training_source.source(environment, ref, release, environments=environments)


def find_commit(*, ref: str) -> dict[str, Any]:
    """Find the commit that a training takes.

    Args:
        ref: A branch, or the full id of a commit of a branch.

    Returns:
        `commit`, or "" where there is none. Then `problem` is the reason, and `transient` is true where
        trying again may help.

    """
    from gitops.airflow import task_context
    from gitops.errors import GitError, TransientError
    from gitops.git.workspace import resolve

    try:
        commit = resolve(task_context.origin(), ref, task_context.workspaces(), mirror=task_context.mirror())
    except GitError as error:
        return {"commit": "", "problem": str(error), "transient": isinstance(error, TransientError)}
    return {"commit": commit, "problem": "", "transient": False}


def branch_commit(*, branch: str) -> str:
    """Return the commit that a branch of the repository names now."""
    from gitops.airflow import task_context
    from gitops.git.workspace import resolve

    return resolve(task_context.origin(), branch, task_context.workspaces())


def inspect(*, commit: str, files: Sequence[str] = (), storage: bool = False) -> dict[str, Any]:
    """Read files of a commit, and see whether its DVC remote answers.

    Args:
        commit: The commit.
        files: Paths in the repository.
        storage: Whether to ask the DVC remote.

    Returns:
        `files`: each path with its text, or None where the commit has no such file or it is not UTF-8 text.
        `storage_problem`: the reason why the DVC remote cannot be used, or "".

    """
    from dataclasses import replace

    from gitops.airflow import task_context
    from gitops.dvc.run import storage_problem
    from gitops.git.workspace import workspace

    origin = task_context.origin()
    if not storage:
        # No code of the commit runs, so it may be any commit. DVC would run with the commit's configuration.
        origin = replace(origin, admit=None)
    with workspace(origin, commit, task_context.workspaces()) as space:
        return {
            "files": {path: _text(space.repository.read(commit, path)) for path in files},
            "storage_problem": storage_problem(space.path) if storage else "",
        }


def changed_files(*, base: str, commit: str) -> list[str]:
    """Return the paths in which two commits differ."""
    from gitops.airflow import task_context
    from gitops.git.workspace import fetch, workspace

    origin = task_context.origin()
    with workspace(origin, commit, task_context.workspaces()) as space:
        fetch(space.repository, origin, base)
        return list(space.repository.changed(base, commit))


def parse_yaml(*, text: str) -> Any:
    """Read one YAML document into text, lists and mappings. Numbers, dates and booleans stay text.

    Raises:
        ParseError: for text that is not YAML, is too large, or uses tags.

    """
    from gitops.text import parse

    return parse.yaml_value(text.encode(), parse.PARAMS)


# Steps: from a commit to a commit


def run_stage(*, commit: str, stage: str, run_id: str, hours: float = 6) -> str:
    """Run one DVC stage on a commit, and return the commit that holds its results.

    Raises:
        CommandError: when the stage or the DVC remote fails. Nothing is committed or pushed then.

    """
    return run_stage_given(commit=commit, stage=stage, run_id=run_id, given={}, hours=hours)


def run_stage_given(
    *, commit: str, stage: str, run_id: str, given: Mapping[str, str], hours: float = 6
) -> str:
    """Run one DVC stage as `run_stage`, with files that it may read and that are not committed.

    Args:
        commit: The commit.
        stage: The stage.
        run_id: The DAG run, whose branch is moved to the new commit.
        given: The texts of the files, by their paths in the repository.
        hours: The time that the stage may take.

    """
    from gitops.airflow import lineage, task_context
    from gitops.training import stages as training_stages
    from gitops.training.candidate import run_branch

    return training_stages.run_stage(
        task_context.origin(),
        commit,
        stage,
        branch=run_branch(run_id),
        home=task_context.workspaces(),
        timeout=timedelta(hours=hours),
        given=given,
        report=lineage.report,
    )


def run_command(
    *,
    commit: str,
    command: Sequence[str],
    run_id: str,
    message: str,
    data: Sequence[str] = (),
    needs: Sequence[str] = (),
    minutes: float = 10,
) -> str:
    """Run a command in a checkout of a commit, and return the commit that holds its changes.

    Args:
        commit: The commit.
        command: The program and its arguments.
        run_id: The DAG run, whose branch is moved to the new commit.
        message: The message of the new commit.
        data: DVC targets that the command makes, which are pushed to the DVC remote.
        needs: DVC targets that the command reads, which are pulled before it.
        minutes: The time that the command may take.

    Raises:
        CommandError: when the command or the DVC remote fails. Nothing is committed or pushed then.

    """
    from gitops.airflow import task_context
    from gitops.training import stages as training_stages
    from gitops.training.candidate import run_branch

    return training_stages.run_command(
        task_context.origin(),
        commit,
        command,
        branch=run_branch(run_id),
        home=task_context.workspaces(),
        message=message,
        data=data,
        needs=needs,
        timeout=timedelta(minutes=minutes),
    )


def run_for_result(
    *,
    commit: str,
    command: Sequence[str],
    result: str,
    given: Mapping[str, str],
    needs: Sequence[str] = (),
    minutes: float = 10,
) -> Any:
    """Run a command in a checkout of a commit, and return the JSON document that it writes.

    Args:
        commit: The commit.
        command: The program and its arguments.
        result: The path of the document in the checkout. Nothing is committed.
        given: The texts of files that the command reads, by their paths.
        needs: DVC targets that the command reads, which are pulled before it.
        minutes: The time that the command may take.

    Raises:
        CommandError: when the command or the DVC remote fails, or the document cannot be read.

    """
    from gitops.airflow import task_context
    from gitops.training import stages as training_stages

    return training_stages.run_for_result(
        task_context.origin(),
        commit,
        command,
        home=task_context.workspaces(),
        result=result,
        given=given,
        needs=needs,
        timeout=timedelta(minutes=minutes),
    )


def pull_data(*, commit: str, stages: Sequence[str]) -> str:
    """Copy the data of stages of a commit from the DVC remote to the cache; return `commit`."""
    from gitops.airflow import task_context
    from gitops.training import stages as training_stages

    return training_stages.pull(task_context.origin(), commit, stages, home=task_context.workspaces())


def push_data(*, commit: str, stages: Sequence[str]) -> str:
    """Make sure that the DVC remote has everything that stages of a commit made; return `commit`."""
    from gitops.airflow import task_context
    from gitops.training import stages as training_stages

    return training_stages.push(task_context.origin(), commit, stages, home=task_context.workspaces())


def call(*, command: Sequence[str], folder: str, minutes: float) -> None:
    """Run a command in a folder that holds a release, with that release's code. Its output goes to the log.

    Raises:
        CommandError: when it fails or takes longer than `minutes`.

    """
    from gitops.dvc import run

    run.call(command, Path(folder), timedelta(minutes=minutes), writable=False)


# Models


def fetch_model(*, release: str) -> str:
    """Fetch the model of a release, check its digest, and return its path: a folder, and <SHA-256>.onnx.

    Returns:
        The path, or "" for a release without a model.

    """
    from gitops.airflow import task_context
    from gitops.errors import NoModelError
    from gitops.model import download
    from gitops.training import vouched

    try:
        vouched.require(task_context.origin(), release, mirror=task_context.mirror())
        path = download.fetch_model(task_context.origin(), release, cache=task_context.home() / "models")
    except NoModelError as error:
        log.info("%s", error)
        return ""
    return str(path)


def fetch_reference(*, release: str) -> str:
    """Fetch the drift reference of a release, check its digest, and return its path."""
    from gitops.airflow import task_context
    from gitops.model import download

    cache = task_context.home() / "references"
    return str(download.fetch_reference(task_context.origin(), release, cache=cache))


# Candidates


def archive(*, commit: str, run_id: str) -> str:
    """Keep the metrics, plots and parameters of a run, and tag its commit; return the folder of the copy."""
    from gitops.airflow import task_context
    from gitops.training import archive

    folder = archive.archive(
        task_context.origin(),
        commit,
        run_id=run_id,
        runs=task_context.home() / "runs",
        home=task_context.workspaces(),
    )
    return str(folder)


def judge(*, commit: str, incumbent: str) -> dict[str, Any]:
    """Judge the results of a run by the gates of this environment.

    Args:
        commit: The results of the run.
        incumbent: The commit of the release that runs here.

    Returns:
        `table`: the results of the gates as Markdown. `failed`: a line for each gate that failed.

    """
    from gitops.airflow import task_context
    from gitops.gates.gates import markdown
    from gitops.training import candidate

    rows = candidate.judge(
        task_context.origin(),
        commit,
        incumbent,
        task_context.environment(),
        home=task_context.workspaces(),
        cache=task_context.home(),
        mirror=task_context.mirror(),
    )
    return {"table": markdown(rows), "failed": [str(row) for row in rows if not row.ok]}


def propose(*, base: str, commit: str, run_id: str) -> str:
    """Push the results of a run as one commit on a branch of its own.

    Args:
        base: The commit that the run started from.
        commit: The results of the run.
        run_id: The run.

    Returns:
        The branch, or "" where the results are those that `base` or main already has.

    """
    from gitops.airflow import task_context
    from gitops.training import candidate

    origin, folder = task_context.origin(), task_context.workspaces()
    return candidate.propose(origin, base, commit, run_id=run_id, home=folder) or ""


# Verification


def unverified(*, release: str) -> str:
    """Return "" for a release that waits for its verdict here, else the reason why it does not."""
    from gitops.airflow import task_context
    from gitops.training import verification

    reason = verification.pending(
        task_context.origin(), release, task_context.environment(), mirror=task_context.mirror()
    )
    return reason or ""


def unverified_release() -> "AssetWatcher":
    """Return the watcher that starts a run when the release waits for the verdict of this environment."""
    from airflow.sdk import AssetWatcher

    from gitops.airflow.watch import UnverifiedRelease

    return AssetWatcher(name="unverified_release", trigger=UnverifiedRelease())


def verify(*, release: str) -> dict[str, Any]:
    """Score the hold-out of a release with its model, compare with its claim, and return the verdict."""
    from gitops.airflow import task_context
    from gitops.training import verification

    verdict = verification.verify(
        task_context.origin(),
        release,
        task_context.environment(),
        home=task_context.workspaces(),
        mirror=task_context.mirror(),
    )
    return verdict.model_dump(mode="json")


def watch_health(*, verdict: Any) -> "BaseOperator":
    """Return the task `watch_health`: it waits for HEALTH_MINUTES without a worker, and returns the verdict.

    Args:
        verdict: The result of the task that calls `verify`.

    """
    from gitops.airflow.health_task import WatchHealth

    # An ill environment gives no result: the next attempt goes on waiting.
    longest = timedelta(minutes=setting(name="HEALTH_MINUTES") + 30)
    return WatchHealth(task_id="watch_health", verdict=verdict, execution_timeout=longest)


def publish_verdict(*, verdict: Mapping[str, Any]) -> dict[str, str]:
    """Sign a verdict with the key of this environment, and push it as a tag.

    Returns:
        `tag`: its name. `message`: its message. `reason`: the reason of a rejection, or "".

    Raises:
        RuleError: if it is a verdict of another environment.

    """
    from gitops.airflow import task_context
    from gitops.findings import Finding
    from gitops.release.verdicts import Verdict
    from gitops.training import verification

    read = Verdict.model_validate(verdict)
    if read.environment != task_context.environment():
        problem = f"{task_context.environment()} does not sign for {read.environment}"
        raise RuleError(Finding(read.tag, problem, rule="verdict"))
    pushed = verification.publish(task_context.origin(), read, mirror=task_context.mirror())
    return {"tag": pushed.tag, "message": pushed.message, "reason": pushed.reason}


# Retention


def remove_expired() -> dict[str, Any]:
    """Remove data that is older than the settings of this environment allow, see `RETENTION_DAYS_SCORED`.

    With `RETENTION_DAYS_OBJECTS`, also the branches, tags and objects of trainings that nobody needs.

    Returns:
        `removed`: the number of entries that went, by folder. `kept`: those that somebody still needs.
        `reason`: why all were kept, or "". `pruned`, where it prunes: `references` and `objects`.

    """
    from gitops.upkeep import schedule

    return schedule.remove_expired(*_place(), **_now())


def check_storage() -> dict[str, int]:
    """Ask the DVC remote for every object that a kept release of this environment needs.

    Returns:
        The numbers of `objects`, of those whose bytes were `read`, and of `releases`.

    Raises:
        StorageError: if one is missing or damaged.

    """
    from gitops.upkeep import schedule

    return schedule.check_storage(*_place(), **_now())


def _place() -> tuple[Any, str, Path]:
    from gitops.airflow import task_context

    return task_context.origin(), task_context.environment(), task_context.home()


def _now() -> dict[str, Any]:
    from datetime import UTC, datetime

    from gitops.airflow import task_context
    from gitops.release.settings import Settings

    return {"mirror": task_context.mirror(), "settings": Settings.from_environ(), "now": datetime.now(UTC)}


# Shadows


def shadow() -> str:
    """Return the commit whose model this environment has to try beside its release, or "".

    That is the shadow, or the canary.
    """
    declaration = _trial()
    return (declaration.release.trial if declaration else None) or ""


def canary() -> dict[str, Any]:
    """Return the canary of this environment: `commit`, `share` in percent, and `since`; {} without one.

    `since` is the time from which that share counts, in the form of ISO 8601.
    """
    declaration = _trial()
    if declaration is None or declaration.release.canary is None:
        return {}
    release = declaration.release
    return {"commit": release.canary, "share": release.share, "since": declaration.at.isoformat()}


def canary_batches(*, batches: Sequence[str]) -> dict[str, str]:
    """Return those of some batches that a canary scores in place of the release, each with its commit.

    The names decide, so a retry gets the same answer. If git does not answer soon, the last known main
    counts. If the model of the canary cannot be fetched, the release scores all of them.
    """
    from gitops.errors import GitopsError
    from gitops.training import shadowing

    if not batches:
        return {}
    try:
        picked = shadowing.picked(_trial(waits=False), batches)
        for commit in set(picked.values()):
            fetch_model(release=commit)
    except GitopsError as error:
        log.error("The release scores all batches, and its canary none: %s", error)
        return {}
    return picked


def untried_batches() -> "AssetWatcher":
    """Return the watcher that starts a run when a shadow or a canary has not scored a batch that exists."""
    from airflow.sdk import AssetWatcher

    from gitops.airflow.watch import UntriedBatches

    return AssetWatcher(name="untried_batches", trigger=UntriedBatches())


def step_down(*, canary: str, reason: str) -> str:
    """End a canary that could not score a batch which the release scored; return the name of the tag, or "".

    Where the tag cannot be pushed, the report on the canary tries that again.
    """
    from gitops.airflow import task_context
    from gitops.errors import GitopsError
    from gitops.release.checks import Check
    from gitops.training import shadowing

    found = Check(name="batches that the canary cannot score", value=reason, limit="none", result="failed")
    environment, mirror = task_context.environment(), task_context.mirror()
    try:
        verdict = shadowing.step_down(task_context.origin(), environment, canary, [found], mirror=mirror)
    except GitopsError as error:
        log.error("The canary %s is not rejected yet: %s", canary[:12], error)
        return ""
    return verdict.tag


def _trial(*, waits: bool = True) -> "Declaration | None":
    from gitops.airflow import task_context
    from gitops.release.settings import Settings
    from gitops.training import shadowing

    return shadowing.declared(
        task_context.origin(),
        task_context.environment(),
        mirror=task_context.mirror(),
        signed=Settings.from_environ().require_signed_releases,
        waits=waits,
    )


def publish_shadow(
    *,
    release: str,
    incumbent: str,
    models: Sequence[str],
    failed: int,
    reason: str,
    figures: Mapping[str, Any] | None,
) -> dict[str, str]:
    """Sign the report on a shadow with the key of this environment, and push it as a tag.

    Args:
        release: The commit of the shadow.
        incumbent: The commit of the release.
        models: The SHA-256 digests of the model of the shadow, and of that of the release.
        failed: The number of batches that the shadow could not score.
        reason: The reason why it could not score the last of them, or "".
        figures: The output of `python -m face_attributes shadow`; None if it scored no batch.

    Returns:
        `tag`: its name. `message`: its message. A canary that is worse is rejected, and both are those of the
        rejection.

    """
    from gitops.airflow import task_context
    from gitops.release.settings import Settings
    from gitops.training import shadowing

    origin, mirror, present = task_context.origin(), task_context.mirror(), canary()
    report = shadowing.report(
        task_context.environment(),
        (release, incumbent),
        models,
        failed,
        reason,
        figures,
        present["share"] if present and present["commit"] == release else None,
    )
    shadowing.publish(origin, report, mirror=mirror)
    verdict = shadowing.judge(origin, report, Settings.from_environ(), mirror=mirror)
    tag, message = (verdict.tag, verdict.message) if verdict else (report.tag, report.message)
    return {"tag": tag, "message": message.partition("\n")[0]}


# Notices


def notify(*, subject: str, body: str, facts: Mapping[str, str]) -> None:
    """Send a notice by e-mail and Slack, where the environment has the connections, and log it.

    Args:
        subject: The event, in a few words.
        body: The reason, or the details.
        facts: A table below the body; `environment` and `DAG` are part of the title.

    """
    from gitops.airflow.notices import send_notice

    send_notice(subject, body, facts)


def runbook(*, name: str, release: str, checkout: str) -> str:
    """Return the address of a runbook: that of GitHub, else its path.

    Args:
        name: An alarm or a DAG.
        release: The commit of the release that the runbook belongs to.
        checkout: The folder that the release is checked out in.

    """
    from gitops.airflow import runbooks, task_context

    return runbooks.link(name, task_context.url(), release, Path(checkout))


def rollback_instructions(*, environment: str) -> str:
    """Return the commands that bring an environment back to its previous release, with a line of text."""
    from gitops.airflow import task_context
    from gitops.text import instructions

    if task_context.environments().follows(environment):
        return f"{environment} follows main. Its page Visage has the commands that revert the change there."
    commands = instructions.roll_back(environment, instructions.meeting(task_context.url()))
    return f"To go back, in a checkout after make setup:\n\n{instructions.text(commands)}\n"


def run_link(*, dag_id: str, run_id: str) -> str:
    """Return the address of a run in the web interface of this Airflow."""
    from gitops.airflow import notices

    return notices.run_link(dag_id, run_id)


def deadline(*, dag_id: str, seconds: float) -> "DeadlineAlert":
    """Return the deadline of a DAG, counted from when a run was first queued.

    People get a notice about a run that misses it.
    """
    from airflow import sdk

    from gitops.airflow.deadline import FirstQueued

    due = timedelta(seconds=seconds)
    # Airflow's stub of this module lacks both names.
    untyped = cast(Any, sdk)
    return untyped.DeadlineAlert(
        name=f"{dag_id} within {due}",
        # A run that a person starts has no logical date to count from.
        reference=FirstQueued(),
        interval=due,
        # In the triggerer, which every engine has: not every executor runs callbacks, and a scheduler whose
        # executor does not ends at the first late run (apache/airflow#62887).
        callback=untyped.AsyncCallback(on_late_run),
    )


async def on_late_run(context: Mapping[str, Any]) -> None:
    """Send a notice about a run that takes longer than its deadline allows; the triggerer calls this.

    Airflow stores the import path of this function with each run that has a deadline, so it keeps its name.

    Args:
        context: `dag_run` as the REST API describes it, and `deadline` with its `deadline_time`.

    """
    from gitops.airflow import notices

    # In a thread: a mail server may take its time, and the triggerer has other triggers to run.
    await asyncio.to_thread(notices.send_late_notice, context)


def safe_name(*, run_id: str) -> str:
    """Return a run id as part of a branch or folder name: letters, digits, dashes and underscores."""
    from gitops.training.candidate import slug

    return slug(run_id)


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode("utf-8")
    except UnicodeDecodeError:
        return None
