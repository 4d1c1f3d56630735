"""The DAGs that a commit defines, as Airflow loads them from its DAG files.

DAG files are programs, so they have to run to show which DAGs they define. That happens only where somebody
asks for it (`--load-dags`): each commit's are written to a folder that is thrown away, and loaded there by an
isolated process, see `gitops.isolation`: `python -m gitops.diff.dags FOLDER`. Else `outlines` compares their
syntax, and nothing is executed.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gitops import isolation
from gitops.diff import outline
from gitops.errors import DagsError, UnfinishedDagsError
from gitops.git.repository import Repository
from gitops.paths import PARAMETERS
from gitops.runtime import installed

FOLDER = "dags"
_TIMEOUT = 120


class Task(BaseModel):
    """One task: its operator, and the tasks that it waits for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    operator: str
    upstream: tuple[str, ...]
    trigger_rule: str
    retries: int


class Dag(BaseModel):
    """One DAG as Airflow understands it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    schedule: str
    params: dict[str, str]
    tasks: dict[str, Task]


class Dags(BaseModel):
    """All DAGs of a commit by id, and the files that do not load: name -> last line of the reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dags: dict[str, Dag] = {}
    errors: dict[str, str] = {}


@dataclass(frozen=True)
class DagChange:
    """The change of one DAG: `kind` is added, removed, changed or broken; `details` are lines for people."""

    dag: str
    kind: str
    details: tuple[str, ...] = field(default=())


def load(repository: Repository, commit: str) -> Dags:
    """Load the DAG files of a commit.

    Raises:
        DagsError: if the process that loads them fails.
        UnfinishedDagsError: if it takes too long, or the system kills it.

    """
    # DAG files may read the parameters beside their folder.
    paths = repository.files(commit, f"{FOLDER}/", PARAMETERS)
    if odd := [path for path in paths if {"..", ".git"} & set(path.split("/"))]:
        raise DagsError(f"{odd[0]}: no path that git itself would write; remove it")
    with tempfile.TemporaryDirectory(prefix="gitops-dags-") as temporary:
        root = Path(temporary)
        folder = root / "checkout" / FOLDER
        folder.mkdir(parents=True)
        for path, content in zip(paths, repository.read_all([(commit, p) for p in paths]), strict=True):
            target = root / "checkout" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content or b"")
        return _in_a_process(folder, root / "home")


def trouble() -> str | None:
    """Return why no DAG files can be loaded here at all, whatever is in them; None if they can."""
    with tempfile.TemporaryDirectory(prefix="gitops-dags-") as temporary:
        folder = Path(temporary) / FOLDER
        folder.mkdir()
        try:
            _in_a_process(folder, Path(temporary) / "home")
        except DagsError as error:
            return str(error)
    return None


def outlines(repository: Repository, before: str, after: str) -> list[DagChange]:
    """Return the changes of the DAG files between two commits, by their syntax. Nothing is executed."""
    paths = [path for path in repository.changed(before, after) if path.startswith(f"{FOLDER}/")]
    contents = repository.read_all([(commit, path) for path in paths for commit in (before, after)])
    results: list[DagChange] = []
    for path, old, new in zip(paths, contents[::2], contents[1::2], strict=True):
        if old is None or new is None:
            results.append(DagChange(path, "added" if old is None else "removed"))
            continue
        details = outline.compare(outline.read(old), outline.read(new)) if path.endswith(".py") else []
        results.append(DagChange(path, "changed", tuple(details) or ("changed",)))
    return results


def changes(repository: Repository, before: str, after: str) -> list[DagChange]:
    """Return the changes of the DAGs between two commits. Nothing is loaded if no DAG file differs.

    Raises:
        DagsError: if the DAG files cannot be loaded at all.

    """
    if repository.tree_id(before, f"{FOLDER}/") == repository.tree_id(after, f"{FOLDER}/"):
        return []
    if not installed("airflow"):
        raise DagsError(
            f"{FOLDER}/: tasks and schedules are not compared, since Airflow is not installed beside gitops; "
            "run make setup, or install visage-gitops[airflow]"
        )
    with ThreadPoolExecutor(2) as pool:
        old, new = pool.map(load, (repository, repository), (before, after))
    return compare(old, new, set(repository.changed(before, after)))


def compare(old: Dags, new: Dags, edited: set[str] | frozenset[str] = frozenset()) -> list[DagChange]:
    """Tell two sets of DAGs apart; `edited` are the files that differ, to name DAGs whose code alone does."""
    results: list[DagChange] = []
    for name in sorted(old.dags.keys() | new.dags.keys()):
        before, after = old.dags.get(name), new.dags.get(name)
        if before is None and after is not None:
            tasks = ", ".join(after.tasks)
            results.append(
                DagChange(name, "added", (f"schedule: {after.schedule}", f"tasks: {tasks or 'none'}"))
            )
        elif after is None:
            # A file that no longer loads removes its DAGs; the change "broken" of the file covers them.
            results.append(DagChange(name, "removed"))
        elif before is not None and (details := _details(before, after)):
            results.append(DagChange(name, "changed", tuple(details)))
        elif f"{FOLDER}/{after.file}" in edited:
            results.append(DagChange(name, "changed", ("code alone: same tasks, dependencies and schedule",)))
    results += [DagChange(file, "broken", (reason,)) for file, reason in sorted(new.errors.items())]
    return results


def _details(old: Dag, new: Dag) -> list[str]:
    details: list[str] = []
    if old.schedule != new.schedule:
        details.append(f"schedule: {old.schedule} -> {new.schedule}")
    for name in sorted(old.params.keys() | new.params.keys()):
        if old.params.get(name) != new.params.get(name):
            details.append(f"param {name}: {old.params.get(name, 'none')} -> {new.params.get(name, 'none')}")
    for name in [*old.tasks, *(task for task in new.tasks if task not in old.tasks)]:
        before, after = old.tasks.get(name), new.tasks.get(name)
        if before is None or after is None:
            details.append(f"task {name}: {'removed' if after is None else 'added'}")
            if after is None or not after.upstream:
                continue
            details.append(f"task {name}: after {', '.join(after.upstream)}")
            continue
        details += [
            f"task {name}: {what} {getattr(before, key)} -> {getattr(after, key)}"
            for key, what in (
                ("operator", "operator"),
                ("trigger_rule", "trigger rule"),
                ("retries", "retries"),
            )
            if getattr(before, key) != getattr(after, key)
        ]
        # The line "removed" covers upstream tasks that were removed.
        gone = [task for task in before.upstream if task not in after.upstream and task in new.tasks]
        came = [task for task in after.upstream if task not in before.upstream]
        details += [f"task {name}: no longer after {task}" for task in gone]
        details += [f"task {name}: now after {task}" for task in came]
    return details


def _in_a_process(folder: Path, home: Path) -> Dags:
    code = Path(__file__).resolve().parents[2]
    variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "PYTHONPATH": str(code),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    home.mkdir()
    place = isolation.Place(writable=(home,), readable=(folder, folder.with_name(PARAMETERS), code))
    try:
        with isolation.isolated(place, variables) as isolated:
            command = [sys.executable, "-m", "gitops.diff.dags", str(folder)]
            done = isolation.run(command, isolated, home, _TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise UnfinishedDagsError(
            f"{FOLDER}/: not loaded within {_TIMEOUT} s; a DAG file does work that belongs into a task"
        ) from error
    if done.status in isolation.KILLED:
        raise UnfinishedDagsError(f"{FOLDER}/: the system killed the process that loads them")
    answer = done.output.rpartition("\n\0")[2]
    reason = done.last_line or f"status {done.status}"
    try:
        if done.status == 0:
            return TypeAdapter(Dags).validate_json(answer)
    except ValidationError:
        reason = "its output cannot be read"
    raise DagsError(f"{FOLDER}/: cannot be loaded: {reason}")


def _load(folder: Path) -> Dags:
    sys.path.insert(0, str(folder))
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=folder, bundle_path=folder)
    return Dags(
        dags={
            name: Dag(
                file=str(Path(dag.fileloc).relative_to(folder)),
                schedule=_plain(dag.schedule),
                params={key: _plain(value) for key, value in dag.params.dump().items()},
                tasks={
                    task.task_id: Task(
                        operator=task.task_type,
                        upstream=tuple(sorted(task.upstream_task_ids)),
                        trigger_rule=str(getattr(task.trigger_rule, "value", task.trigger_rule)),
                        retries=task.retries or 0,
                    )
                    for task in dag.tasks
                },
            )
            for name, dag in sorted(bag.dags.items())
        },
        errors={
            os.path.relpath(name, folder) if Path(name).is_absolute() else str(name): _last_line(reason)
            for name, reason in bag.import_errors.items()
        },
    )


def _plain(value: object) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def _last_line(reason: str) -> str:
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _main(arguments: Sequence[str]) -> None:
    # DAG files print too. The result comes last, after a mark that no other text contains.
    sys.stdout.write(f"\n\0{_load(Path(arguments[0])).model_dump_json()}")
    sys.stdout.flush()
    # Airflow's exit handlers have nothing to put in order here, and take their time.
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1:])
