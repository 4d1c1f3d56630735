"""Whether a commit's model was made from that commit: its `dvc.lock` is compared with the commit.

`dvc.lock` records the command, the parameters and the digests of inputs and outputs of every stage. If
the commit differs from it, its model is that of an earlier commit, and only a training makes it this
one's. DVC's own reading decides (`gitops.dvc.provenance_process`), and the data need not be there: an input
that another stage makes is compared by its digest in the lock.
"""

import atexit
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from gitops.dvc import provenance_process
from gitops.dvc.lockfile import PIPELINE, Lock
from gitops.dvc.parameters import FILE
from gitops.errors import ModelError, ProvenanceError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.paths import MODEL
from gitops.text import instructions
from gitops.text.markdown import one_line
from gitops.text.parse import is_mapping, is_sequence

SECONDS = 20
"""How much time of a processor DVC may take to read one commit."""

_WAIT = 3
"""How many times as long a busy machine may need for that."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
_SHOWN = 3
_REPAIR = "repair it"
_CORRECT = "every stage would stop there: correct it"


@dataclass(frozen=True)
class Stage:
    """A stage whose record in `dvc.lock` is not of this commit, and each thing that differs."""

    name: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Contradiction:
    """A file that one stage made and another read, with two digests in one `dvc.lock`."""

    path: str
    maker: str
    made: str
    reader: str
    read: str

    def __str__(self) -> str:
        return (
            f"{self.maker} made {self.path} with the digest {self.made[:12]}, "
            f"{self.reader} read it with {self.read[:12]}"
        )


@dataclass(frozen=True)
class Provenance:
    """The origin of a commit's model.

    Attributes:
        trained: Whether `dvc.lock` records a model at all.
        stale: The stages that a training would run because their inputs changed; those after them may follow.
        contradictions: Files on whose digest the stages disagree.
        made: The outputs of all stages.

    """

    trained: bool
    stale: tuple[Stage, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    made: frozenset[str] = frozenset()

    @property
    def belongs(self) -> bool:
        """Whether the model is this commit's own."""
        return self.trained and not self.stale and not self.contradictions

    @cached_property
    def changes(self) -> tuple[str, ...]:
        """Each difference once, with the stages that it concerns."""
        stages: dict[str, list[str]] = {}
        for stage in self.stale:
            for change in stage.changes:
                stages.setdefault(change, []).append(stage.name)
        return tuple(f"{change} ({', '.join(names)})" for change, names in stages.items())

    @property
    def summary(self) -> str:
        """The changes in one line, the first few by name."""
        reasons = [*self.changes, *map(str, self.contradictions)]
        more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
        return "; ".join(reasons[:_SHOWN]) + more


def of_commit(repository: Repository, commit: str) -> Provenance:
    """Return how the model of a commit was made; the answer is kept for the life of this process.

    Args:
        repository: Where the commit is, bare or not.
        commit: Any commit, also one that no branch has, such as a merge that was only computed.

    Raises:
        ProvenanceError: if DVC cannot read `dvc.yaml`, `dvc.lock` or a file that they name, or if no release
            could fetch the model that they describe.

    """
    return _of_commit(str(repository.path.resolve()), repository.resolve(commit))


@lru_cache(maxsize=256)
def _of_commit(repository: str, commit: str) -> Provenance:
    lineage = _printable(_reader.ask("lineage", repository, [commit]))
    stale = [Stage(stage["name"], tuple(stage["changes"])) for stage in lineage["stages"]]
    trained = _records_model(repository, commit)
    # DVC ignores the record of a stage that `dvc.yaml` does not have.
    if trained and MODEL not in lineage["made"]:
        stale.insert(0, Stage("dvc.yaml", (f"no stage makes {MODEL}",)))
    return Provenance(
        trained=trained,
        stale=tuple(stale),
        contradictions=tuple(Contradiction(**contradiction) for contradiction in lineage["contradictions"]),
        made=frozenset(lineage["made"]),
    )


@dataclass(frozen=True)
class Output:
    """A path that a stage makes: whether DVC keeps it (else git does), and its digest in the lock."""

    path: str
    cached: bool
    md5: str | None


@dataclass(frozen=True)
class Step:
    """A stage as DVC resolves it: its outputs, and whether it was ever run.

    `pulls` are the targets of `dvc pull` that bring the inputs which DVC keeps and the commit records.
    `dropped` is True if its record has inputs or outputs that `dvc.yaml` no longer lists. DVC then takes the
    stage for unchanged, and needs `--force` to run it.
    """

    pulls: tuple[str, ...]
    outs: tuple[Output, ...]
    recorded: bool
    dropped: bool


def pipeline(repository: Repository, commit: str) -> dict[str, Step]:
    """Return the stages of a commit by name, with variables, loops and folders resolved as DVC resolves them.

    Raises:
        ProvenanceError: if DVC cannot read `dvc.yaml` or `dvc.lock`.

    """
    return _pipeline(str(repository.path.resolve()), repository.resolve(commit))


@lru_cache(maxsize=64)
def _pipeline(repository: str, commit: str) -> dict[str, Step]:
    stages = _reader.ask("pipeline", repository, [commit])
    return {
        name: Step(
            tuple(stage["pulls"]),
            tuple(Output(*out) for out in stage["outs"]),
            stage["recorded"],
            stage["dropped"],
        )
        for name, stage in stages.items()
    }


def parameter_faults(repository: Repository, commit: str, main: str) -> tuple[Finding, ...]:
    """Return the problems of `params.yaml` and its overlays in a commit, as its stages would report them.

    Args:
        repository: Where both commits are.
        commit: The commit to be judged. It brings the schema to judge it by; see `gitops.dvc.parameters`.
        main: The commit whose schema is used where `commit` has none.

    """
    return _parameter_faults(
        str(repository.path.resolve()), repository.resolve(commit), repository.resolve(main)
    )


@lru_cache(maxsize=256)
def _parameter_faults(repository: str, commit: str, main: str) -> tuple[Finding, ...]:
    try:
        answer = _reader.ask("faults", repository, [commit, main])
    except ProvenanceError as error:
        return (Finding(FILE, error.finding.problem, _CORRECT, rule="parameters"),)
    return tuple(
        Finding(file, problem, _CORRECT, rule="parameters") for file, problem in _printable(answer["faults"])
    )


def _printable(answer: Any) -> Any:
    """Return an answer whose words are each a line that can be printed: they come from anybody's files."""
    if is_mapping(answer):
        return {key: _printable(value) for key, value in answer.items()}
    if is_sequence(answer):
        return [_printable(value) for value in answer]
    return one_line(answer, longest=600) if isinstance(answer, str) else answer


def _records_model(repository: str, commit: str) -> bool:
    try:
        Lock.load(Repository(repository), commit).recorded(MODEL)
    except ModelError as error:
        if error.finding.rule == "no-model":
            return False
        raise ProvenanceError(error.finding.subject, error.finding.problem, error.finding.remedy) from error
    return True


def train_command(branch: str) -> str:
    """Return the command that trains a model from the present commit of a branch."""
    return f"train it: {instructions.train(branch)}"


@dataclass(frozen=True)
class Notice:
    """A warning about a release's model: a line, and the command that repairs it."""

    text: str
    command: str


def notice(repository: Repository, commit: str) -> Notice | None:
    """Return the warning for a release whose model was not made from it, or None if all is well."""
    command = instructions.train("main")
    try:
        provenance = of_commit(repository, commit)
    except ProvenanceError as error:
        return Notice(f"whether the model is of this commit is not known: {error}", ".venv/bin/gitops check")
    if not provenance.trained:
        return Notice("no model yet: train", command)
    if provenance.belongs:
        return None
    return Notice(f"model of an earlier commit: train. Since then: {provenance.summary}", command)


def begin() -> None:
    """Start the process that reads commits, so that the first answer comes sooner."""
    _reader.begin()


class _Reader:
    """The process that reads commits; it ends by itself when it has had nothing to do for a while."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Leave the process to whoever started it: after a fork that is the parent."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._home: str | None = None

    def begin(self) -> None:
        with self._lock:
            self._start()

    def ask(self, question: str, repository: str, commits: Sequence[str]) -> dict[str, Any]:
        asked = {"ask": question, "repository": repository, "commits": list(commits), "seconds": SECONDS}
        try:
            with self._lock:
                line = self._exchange(json.dumps(asked).encode() + b"\n")
        except OSError as error:
            raise ProvenanceError(PIPELINE, f"cannot be read here: {error}", _REPAIR) from error
        reply = json.loads(line)
        if "unreadable" in reply:
            file, problem = _printable(reply["unreadable"])
            raise ProvenanceError(file, problem, _REPAIR)
        answer: dict[str, Any] = reply["answer"]
        return answer

    def _exchange(self, question: bytes) -> bytes:
        # It may have ended by itself while the question was on its way.
        for _ in range(2):
            process = self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(question)
                process.stdin.flush()
                line = _line(process, SECONDS * _WAIT)
            except BrokenPipeError:
                line = b""
            except TimeoutError:
                self.stop()
                break
            if line:
                return line
            self.stop()
        return b'{"unreadable": ["dvc.yaml", "this file, or one that it names, takes too long"]}'

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        home = self._home = tempfile.mkdtemp(prefix="gitops-provenance-")
        # Nothing of the machine's secrets, and none of its DVC settings.
        variables = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        variables |= {"HOME": home, "DVC_NO_ANALYTICS": "1", "LC_ALL": "C.UTF-8"}
        variables |= {f"DVC_{kind}_CONFIG_DIR": home for kind in ("GLOBAL", "SYSTEM")}
        variables |= {"DVC_SITE_CACHE_DIR": home, "GIT_CONFIG_NOSYSTEM": "1"}
        variables |= {"GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
        # Only objects are read: it is no matter who owns the repository.
        (Path(home) / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", provenance_process.__name__],
            cwd=home,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def stop(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Return the next line of a process's output, or nothing where the process has ended.

    Raises:
        TimeoutError: The line was not there within `seconds`.

    """
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(process.stdout.fileno(), 1 << 20)
            if not part:
                return b""
            line += part
    return line


_reader = _Reader()
atexit.register(_reader.stop)
os.register_at_fork(after_in_child=_reader.forget)
