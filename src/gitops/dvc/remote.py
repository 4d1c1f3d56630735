"""The DVC remote: whether it has the model that a commit's `dvc.lock` records, and the model itself.

Data can move. So the present settings name the remote, and the places that they named before are asked where
an object is not there. `DVC_GLOBAL_CONFIG_DIR` of the process is a setting of the environment: a remote that
it names comes before the one that the configuration in a commit names.

DVC runs in a process of its own, with a question as JSON on its command line: it is slow to load, and a
process that waits for a remote can be ended.
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.dvc.lockfile import LOCK, Lock
from gitops.dvc.place import configuration, folder_problem
from gitops.dvc.process import own_module, with_files
from gitops.errors import ModelError, StorageError
from gitops.findings import Finding
from gitops.isolation import hide
from gitops.paths import MODEL

_ATTEMPTS = 3
_TIMEOUT = 60
_LONGEST_READ = 200_000_000
"""Bytes: the content of a larger object is not compared. A model has a few million."""


class Answer(BaseModel):
    """The answer of the remote: whether it has an object, and which, or that there is no remote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Literal["there", "missing", "no remote", "unreachable"]
    size: int | None = None
    md5: str | None = None
    """The digest of the content, if it was read."""
    detail: str = ""


@dataclass(frozen=True)
class Presence:
    """Whether the model of a commit can be fetched.

    Attributes:
        finding: The reason why it cannot, or None.
        checked: False where no remote is configured, and none was needed.

    """

    finding: Finding | None = None
    checked: bool = True


class Storage:
    """The DVC remote that a checkout's configuration names.

    Args:
        checkout: The folder whose `.dvc/` names the remote; the user's own DVC settings count too.
        optional: Let a model pass unchecked where no remote is configured at all.
        former: Folders whose `.dvc/` names places where objects may be that the present one lacks.

    """

    def __init__(self, checkout: Path, *, optional: bool = False, former: Sequence[Path] = ()) -> None:
        self.checkout = checkout
        self.optional = optional
        self.former = tuple(former)
        self._answers: dict[str, Future[Answer]] = {}
        self._pool = ThreadPoolExecutor(1)

    def presence(self, lock: Lock) -> Presence:
        """Return whether the model that a commit records can be fetched from the remote."""
        short = lock.commit[:12]
        try:
            file = lock.recorded(MODEL)
        except ModelError as error:
            return Presence(error.finding)
        try:
            answer = self._asked(file.md5).result()
        except StorageError as error:
            return _absent(
                f"whether the model of {short} exists is not known: {error}", "try again when it answers"
            )
        if answer.state == "no remote":
            if self.optional:
                return Presence(checked=False)
            return _absent(
                f"whether the model of {short} exists is not known: no DVC remote is configured",
                "configure one (dvc remote add --default), or use --without-dvc-remote",
            )
        what = f"{MODEL} of {short} ({file.md5})"
        again = f"push it from where it was made: dvc push {MODEL}"
        if answer.state == "missing":
            return _absent(f"{what} is not on the DVC remote", again)
        if file.size is not None and answer.size not in (None, file.size):
            return _absent(
                f"{what} is damaged on the DVC remote: {answer.size} bytes, dvc.lock records {file.size}",
                f"remove it there and {again}",
            )
        if answer.md5 not in (None, file.md5):
            return _absent(
                f"{what} is damaged on the DVC remote: its content has the MD5 digest {answer.md5[:12]}",
                f"remove it there and {again}",
            )
        return Presence()

    def begin(self, lock: Lock) -> None:
        """Ask about a commit's model now, so that `presence` has the answer sooner."""
        try:
            self._asked(lock.recorded(MODEL).md5)
        except ModelError:
            return  # `presence` reports it

    def _asked(self, md5: str) -> Future[Answer]:
        if md5 not in self._answers:
            self._answers[md5] = self._pool.submit(self._ask, md5)
        return self._answers[md5]

    def fetch(self, md5: str, target: Path, *, timeout: timedelta) -> None:
        """Copy the object with this digest to the file `target`. The copy is not checked.

        Raises:
            StorageError: if the remote does not have it, or does not answer.

        """
        answer = self._ask(md5, target, timeout=timeout.total_seconds())
        if answer.state != "there":
            what = "has no such object" if answer.state == "missing" else "is configured nowhere"
            raise StorageError(
                f"the DVC remote {what}: {md5}; push it from where it was made: .venv/bin/dvc push",
                following=".venv/bin/dvc push",
            )

    def _ask(self, md5: str, target: Path | None = None, timeout: float | None = None) -> Answer:
        def ask(place: Path, *, former: bool) -> Answer:
            return Retrying(
                retry=retry_if_exception_type(StorageError),
                stop=stop_after_attempt(_ATTEMPTS),
                wait=wait_exponential(multiplier=0.5, max=5),
                reraise=True,
            )(self._ask_once, place, md5, target, timeout=timeout or _TIMEOUT, former=former)

        failure: StorageError | None = None
        answer = Answer(state="no remote")
        try:
            answer = ask(self.checkout, former=False)
        except StorageError as error:
            failure = error
        for place in self.former if answer.state != "there" else ():
            try:
                earlier = ask(place, former=True)
            except StorageError:
                continue  # a place that is no more; the present one's answer counts
            if earlier.state == "there":
                return earlier
        if failure is not None:
            raise failure
        return answer

    def _ask_once(
        self, place: Path, md5: str, target: Path | None, *, timeout: float, former: bool
    ) -> Answer:
        question = {"folder": str(place), "md5": md5, "target": target and str(target), "former": former}
        try:
            done = subprocess.run(
                [*own_module("gitops.dvc.remote"), json.dumps(question)],
                env=os.environ | self._engine() | {"DVC_NO_ANALYTICS": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StorageError(f"the DVC remote did not answer within {timeout:g} s") from error
        try:
            answer = Answer.model_validate_json(done.stdout.rpartition("\0")[2])
        except ValidationError as error:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise StorageError(f"DVC failed: {lines[-1]}") from error
        if answer.state == "unreachable":
            raise StorageError(f"the DVC remote does not answer: {with_files(answer.detail)}")
        return answer

    def _engine(self) -> dict[str, str]:
        """Return where the local engine, if it is up in this checkout, keeps its DVC settings."""
        state = self.checkout / ".visage"
        if "DVC_GLOBAL_CONFIG_DIR" in os.environ or not (state / "dvc-config").is_dir():
            return {}
        return {
            "DVC_GLOBAL_CONFIG_DIR": str(state / "dvc-config"),
            "DVC_SITE_CACHE_DIR": str(state / "dvc-site-cache"),
        }


def _absent(problem: str, remedy: str) -> Presence:
    return Presence(Finding(LOCK, problem, remedy, rule="dvc-remote"))


def _look(folder: str, md5: str, target: str | None = None, *, former: bool = False) -> Answer:
    # Not dvc.repo, which loads all of DVC: this needs one file of one file system.
    from dvc.fs import get_cloud_fs  # pyright: ignore[reportUnknownVariableType]

    try:
        config = configuration(Path(folder), former=former)
        name: str | None = config["core"].get("remote")
        if name is None:
            return Answer(state="no remote")
        remote = cast(tuple[Any, dict[str, Any], str], get_cloud_fs(config, name=name))
        kind, options, root = remote
        if options.get("worktree") or options.get("version_aware"):
            detail = (
                f"remote {name} keeps versions of the cloud; Visage needs one that keeps objects by digest"
            )
            return Answer(state="unreachable", detail=detail)
        if kind.protocol == "local" and (problem := folder_problem(config, name, root)):
            return Answer(state="unreachable", detail=problem + _named_in(folder))
        files = kind(**options)
        path = files.join(root, "files", "md5", md5[:2], md5[2:])
        info = files.info(path)
        size: Any = info.get("size")
        size = size if isinstance(size, int) else None
        digest = None
        if target is not None:
            files.get(path, target)
        elif size is not None and size <= _LONGEST_READ:
            # An object of the right name and size may still have another content.
            with files.open(path, "rb") as content:
                digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return Answer(state="missing")
    except Exception as error:  # whatever a storage's own library raises
        text = " ".join(str(error).split())
        return Answer(state="unreachable", detail=(text[:300] or type(error).__name__) + _named_in(folder))
    return Answer(state="there", size=size, md5=digest)


def _named_in(folder: str) -> str:
    own = Path(folder) / ".dvc/config.local"
    return f" ({own} comes before .dvc/config)" if own.is_file() else ""


if __name__ == "__main__":
    hide()
    print("\0" + json.dumps(_look(**json.loads(sys.argv[1])).model_dump()))
