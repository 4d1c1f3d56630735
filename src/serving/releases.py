"""The release that answers, and its successor: fetch, check out and start it, then let the old one end."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from gitops.errors import GitopsError, ParseError
from gitops.isolation import Isolated
from gitops.model.evaluation import Evaluation
from gitops.paths import EVALUATION
from gitops.release import serving as serving_file
from gitops.text import record
from serving.errors import RefusedError, WorkerError
from serving.queue import Release
from serving.worker import Item, Replies, Worker

log = logging.getLogger(__name__)

_LOOK, _RETRY = 1.0, 30.0  # seconds


@dataclass(frozen=True)
class Prepared:
    """A release on this machine: the folder of its checkout, the file of its model, and where it runs."""

    checkout: Path
    model: Path
    place: Isolated

    def evaluation(self) -> Evaluation | None:
        """Return the evaluation of the release, or None if it has none that can be read."""
        try:
            return record.read_file(Evaluation, self.checkout / EVALUATION)
        except (OSError, ParseError):
            return None


Prepare = Callable[[str], AbstractContextManager[Prepared]]


async def start(commit: str, prepared: Prepared, options: Sequence[str]) -> Worker:
    """Start the process of a release.

    Raises:
        WorkerError: It does not start.

    """
    own = ["--model", str(prepared.model), "--release", commit]
    return await Worker.start([*own, *options], prepared.checkout, prepared.place)


class Releases:
    """Answers items by the release that the environment serves.

    Attributes:
        problem: Why the declared release does not answer.

    """

    def __init__(
        self,
        bundle: Path,
        prepare: Prepare,
        options: Sequence[str],
    ) -> None:
        """Read the release from `bundle`; `watch` starts it.

        Args:
            bundle: The folder with release.json.
            prepare: Fetches and checks out a release, until the end of its context.
            options: Of the command of the worker.

        """
        self._bundle = bundle
        self._prepare = prepare
        self._options = options
        self._changing = asyncio.Lock()
        self._worker: Worker | None = None
        self._prepared: tuple[AbstractContextManager[Prepared], Prepared] | None = None
        self._evaluation: Evaluation | None = None
        self._failed: tuple[str, float] = ("", 0.0)
        self._release: Release | None = None
        self.problem: str | None = "the release is starting"

    @property
    def current(self) -> Release | None:
        """The release that answers; None if there is none, and while its process starts again."""
        return self._release if self._worker is not None else None

    @property
    def worker(self) -> Worker | None:
        """The process that answers."""
        return self._worker

    @property
    def prepared(self) -> Prepared | None:
        """The files of the release that answers."""
        return self._prepared[1] if self._prepared else None

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation of the release that answers."""
        return self._evaluation

    async def respond(self, items: Sequence[Item], within: float) -> tuple[Replies, Release]:
        """Answer a batch within some seconds, and return the release that does so.

        Raises:
            RefusedError: There is no release.
            WorkerError: The process ended. Another one is being started.

        """
        async with self._changing:
            worker, release = self._worker, self._release
        if worker is None or release is None:
            raise RefusedError(503, f"no release answers: {self.problem}", 5)
        try:
            return await worker.answer(items, within), release
        except WorkerError as error:
            await self._restart(worker, release.commit, error)
            raise

    async def _restart(self, dead: Worker, commit: str, error: WorkerError) -> None:
        async with self._changing:
            if self._worker is not dead:
                return
            log.error("Release %s: %s; starting it again.", commit[:12], error)
            assert self._prepared is not None
            self._worker = None
            dead.kill()
            await dead.stop()
            try:
                self._worker = await self._start(commit, self._prepared[1])
                self._release = Release(commit, self._worker.model)
            except WorkerError as failure:
                self._release, self.problem = None, str(failure)
                self._failed = commit, asyncio.get_running_loop().time()

    async def watch(self) -> None:
        """Serve the release that release.json names, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK)

    async def look(self) -> None:
        """Start a worker that ended again, read release.json, and change to the release that it names."""
        worker, release = self._worker, self._release
        if worker is not None and release is not None and worker.ended:
            await self._restart(worker, release.commit, WorkerError("its process ended"))
        try:
            served = await asyncio.to_thread(serving_file.read, self._bundle)
        except GitopsError as error:
            self.problem = str(error)
            return
        wanted = served.commit if served else None
        if wanted is None:
            self.problem = "the environment has no release yet"
            await self._change(None, None, None)
        elif self._release is not None and wanted == self._release.commit:
            self.problem = None
        elif self._may_try(wanted):
            await self._serve(wanted)

    def _may_try(self, commit: str) -> bool:
        failed, when = self._failed
        return commit != failed or asyncio.get_running_loop().time() - when > _RETRY

    async def _serve(self, commit: str) -> None:
        context = self._prepare(commit)
        try:
            prepared = await asyncio.to_thread(context.__enter__)
        except (GitopsError, OSError) as error:
            self._fail(commit, error)
            return
        try:
            worker = await self._start(commit, prepared)
        except WorkerError as error:
            await asyncio.to_thread(context.__exit__, None, None, None)
            self._fail(commit, error)
            return
        await self._change(commit, worker, (context, prepared))
        self.problem = None
        log.info("Release %s answers, with model %s.", commit[:12], worker.model.model_sha256[:12])

    def _fail(self, commit: str, error: Exception) -> None:
        self._failed = commit, asyncio.get_running_loop().time()
        self.problem = f"release {commit[:12]}: {error}"
        log.error("Release %s does not answer: %s", commit[:12], error)

    async def _start(self, commit: str, prepared: Prepared) -> Worker:
        return await start(commit, prepared, self._options)

    async def _change(
        self,
        commit: str | None,
        worker: Worker | None,
        prepared: tuple[AbstractContextManager[Prepared], Prepared] | None,
    ) -> None:
        # A batch that has started is answered by the release that it started with
        async with self._changing:
            old, old_prepared = self._worker, self._prepared
            self._worker, self._prepared = worker, prepared
            self._evaluation = prepared[1].evaluation() if prepared else None
            self._release = Release(commit, worker.model) if commit and worker else None
        if old is not None:
            await old.stop()
        if old_prepared is not None:
            await asyncio.to_thread(old_prepared[0].__exit__, None, None, None)

    async def close(self) -> None:
        """Let the worker write its samples and end."""
        await self._change(None, None, None)
