"""The canary: another model, which answers a share of the photographs by the code of the release.

A hash of the photograph decides who answers it, so the same one gets the same model. If the canary fails, the
release answers, and a note beside the scores lets the environment end the canary.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitops.errors import GitopsError
from gitops.release import canaries
from serving.errors import RefusedError, WorkerError
from serving.queue import Queue, Release
from serving.releases import Prepared, Releases, start
from serving.worker import Answer, Item, Replies, Worker

log = logging.getLogger(__name__)

_LOOK = 10.0  # seconds
_LONGEST_REASON = 300
_ANSWER_WITHIN = 30.0  # seconds


@dataclass(frozen=True)
class Share:
    """The canary that main declares: its commit, and the share that it answers, in percent."""

    commit: str
    percent: int


@dataclass(frozen=True)
class Count:
    """The photographs, or tensors' faces, that were answered since a canary began.

    Attributes:
        canary: Those that the canary answered.
        release: Those that the release answered.
        failed: Those that the canary should have answered; the release did.

    """

    canary: int = 0
    release: int = 0
    failed: int = 0


Declared = Callable[[], Share | None]
# Checks out a release, the first commit, and fetches the model of the second one
PrepareModel = Callable[[str, str], AbstractContextManager[Prepared]]
_Running = tuple[Worker, Release, AbstractContextManager[Prepared]]


class Canary:
    """Answers a share of the items by the canary that main declares, if there is one.

    Attributes:
        count: Who answered how many.
        problem: Why the declared canary answers nothing, if it does not.

    """

    def __init__(
        self,
        declared: Declared,
        releases: Releases,
        prepare: PrepareModel,
        options: Sequence[str],
        notes: Path,
        look: float = _LOOK,
    ) -> None:
        """Make it without a process; `watch` starts one.

        Args:
            declared: Returns the canary that main declares, as far as it counts here.
            releases: Knows the release, whose code runs the model.
            prepare: Fetches code and model, until the end of its context.
            options: Of the command of the worker.
            notes: The folder of the results of canaries, in which failures are noted.
            look: Seconds between two looks at the declaration.

        """
        self._declared = declared
        self._releases = releases
        self._prepare = prepare
        self._options = options
        self._notes = notes
        self._look = look
        self._share: Share | None = None
        self._running: _Running | None = None
        self._failed: tuple[str, str] | None = None
        self._pair: tuple[str, str] | None = None  # the release and the canary of the last process
        self._queue = Queue(self._respond, 0.1, 256, _ANSWER_WITHIN)
        self.count = Count()
        self.problem: str | None = None

    @property
    def share(self) -> Share | None:
        """The canary that main declares; None without one."""
        return self._share

    @property
    def worker(self) -> Worker | None:
        """The process that answers; None without one."""
        return self._running[0] if self._running else None

    def picks(self, content: bytes | memoryview) -> bool:
        """Return whether the canary answers a request with this content."""
        share, running = self._share, self._running
        if share is None or running is None or running[1].commit != share.commit:
            return False
        return canaries.picks(hashlib.sha256(content).hexdigest(), share.commit, share.percent)

    async def ask(self, items: Sequence[Item], client: str) -> list[tuple[Answer, Release]] | None:
        """Return the answers of the canary; None if it fails, and the release has to answer."""
        running = self._running
        try:
            answers = await self._queue.ask(items, client)
        except RefusedError as error:
            self._add(failed=len(items))
            if running is not None and running is self._running and running[0].ended:
                await self._fail(running[1].commit, str(error))
            return None
        self._add(canary=len(items))
        return answers

    def answered_by_release(self, number: int) -> None:
        """Count items that the release answered while there is a canary."""
        if self._share is not None:
            self._add(release=number)

    async def watch(self) -> None:
        """Follow the declaration, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._queue.run())
            while True:
                await self.look()
                await asyncio.sleep(self._look)

    async def look(self) -> None:
        """Read the declaration, and start or end the process."""
        try:
            wanted = await asyncio.to_thread(self._declared)
        except (GitopsError, OSError) as error:
            log.warning("The canary stays as it is: %s", error)
            return
        if wanted != self._share:
            self._share, self.count, self.problem, self._failed = wanted, Count(), None, None
        release = self._releases.current
        pair = (release.commit, wanted.commit) if release and wanted else None
        if self._running is not None and (pair is None or self._pair != pair):
            await self._stop()
        if pair is not None and self._running is None and self._failed != pair:
            await self._start(*pair)

    async def _start(self, release: str, commit: str) -> None:
        self._pair = release, commit
        context = self._prepare(release, commit)
        try:
            prepared = await asyncio.to_thread(context.__enter__)
        except (GitopsError, OSError) as error:
            # The model or the code cannot be had now, which is no fault of the canary.
            self.problem = str(error)
            log.warning("The canary %s answers nothing: %s", commit[:12], error)
            return
        try:
            worker = await start(commit, prepared, self._options)
        except WorkerError as error:
            await asyncio.to_thread(context.__exit__, None, None, None)
            await self._fail(commit, str(error))
            return
        self._running, self.problem = (worker, Release(commit, worker.model), context), None
        share = self._share.percent if self._share else 0
        log.info("The canary %s answers %d%%, by the code of %s.", commit[:12], share, release[:12])

    async def _respond(self, items: Sequence[Item], within: float) -> tuple[Replies, Release]:
        if self._running is None:
            raise RefusedError(503, f"no canary answers: {self.problem}")
        worker, release, _ = self._running
        return await worker.answer(items, within), release

    async def _fail(self, commit: str, reason: str) -> None:
        """Let the release answer everything until main declares another canary, and note the reason."""
        self._failed, self.problem = self._pair, reason
        log.error("The canary %s failed, and the release answers: %s", commit[:12], reason)
        await self._stop()
        note = self._notes / commit[:12] / "failed" / f"online-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        await asyncio.to_thread(_write, note, f"online: {reason}"[:_LONGEST_REASON])

    def _add(self, canary: int = 0, release: int = 0, failed: int = 0) -> None:
        known = self.count
        self.count = Count(known.canary + canary, known.release + release, known.failed + failed)

    async def _stop(self) -> None:
        if self._running is None:
            return
        (worker, _, context), self._running = self._running, None
        await worker.stop()
        await asyncio.to_thread(context.__exit__, None, None, None)

    async def close(self) -> None:
        """Let the process write its samples and end."""
        await self._stop()


def _write(note: Path, text: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(text, "utf-8")
