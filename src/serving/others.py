"""Other releases, to compare with the one that answers: those that main declares for any environment."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from time import monotonic

from gitops.errors import GitopsError
from serving.errors import RefusedError, WorkerError
from serving.queue import Release
from serving.releases import Prepare, Prepared, start
from serving.worker import Answer, Item, Worker

log = logging.getLogger(__name__)

_IDLE = 600.0  # seconds after which the process of another release ends
_LOOK = 30.0  # seconds
_WAITING = 4  # requests

# The names of the environments of each release
Declared = Callable[[], Mapping[str, Sequence[str]]]


class Others:
    """Answers items by a release that the environment does not serve. One release runs at a time."""

    def __init__(self, declared: Declared, prepare: Prepare, idle: float = _IDLE) -> None:
        """Make it without a process.

        Args:
            declared: Returns the releases to choose from.
            prepare: Fetches and checks out a release, until the end of its context.
            idle: Seconds after which a process that nobody asks ends.

        """
        self._declared = declared
        self._prepare = prepare
        self._idle = idle
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._asked = 0.0
        self._running: tuple[Worker, Release, AbstractContextManager[Prepared]] | None = None

    async def releases(self) -> Mapping[str, Sequence[str]]:
        """Return the releases to choose from, each with the names of its environments.

        Raises:
            RefusedError: Git cannot be read.

        """
        try:
            return await asyncio.to_thread(self._declared)
        except GitopsError as error:
            raise RefusedError(503, f"the releases cannot be read: {error}", 30) from None

    async def answer(self, commit: str, items: Sequence[Item]) -> tuple[list[Answer], Release]:
        """Answer items by a release.

        Raises:
            RefusedError: No environment has this release, it does not start, or others wait already.

        """
        if commit not in await self.releases():
            raise RefusedError(404, f"{commit[:12]}: main declares this release for no environment")
        if self._waiting >= _WAITING:
            raise RefusedError(429, f"{self._waiting} comparisons wait already; try again", 10)
        self._waiting += 1
        try:
            async with self._lock:
                self._asked = monotonic()
                worker, release = await self._run(commit)
                found = [await reply for reply in (await worker.answer(items)).replies]
                answers = [answer for answer in found if answer is not None]
                if len(answers) < len(items):
                    raise WorkerError("its process left out an answer")
                return answers, release
        except (GitopsError, OSError, WorkerError) as error:
            await self.close()
            raise RefusedError(503, f"release {commit[:12]}: {error}", 30) from None
        finally:
            self._waiting -= 1

    async def _run(self, commit: str) -> tuple[Worker, Release]:
        if self._running is not None and self._running[1].commit == commit:
            return self._running[:2]
        await self._stop()
        context = self._prepare(commit)
        prepared = await asyncio.to_thread(context.__enter__)
        try:
            worker = await start(commit, prepared, ["--scores", str(prepared.checkout / "scores")])
        except BaseException:
            await asyncio.to_thread(context.__exit__, None, None, None)
            raise
        release = Release(commit, worker.model)
        self._running = worker, release, context
        log.info("Release %s runs for comparisons.", commit[:12])
        return worker, release

    async def _stop(self) -> None:
        if self._running is None:
            return
        (worker, _, context), self._running = self._running, None
        await worker.stop()
        await asyncio.to_thread(context.__exit__, None, None, None)

    async def close(self) -> None:
        """End the process, if there is one."""
        async with self._lock:
            await self._stop()

    async def expire(self) -> None:
        """End the process when nobody has asked it for a while, for ever."""
        while True:
            await asyncio.sleep(min(_LOOK, self._idle))
            if self._running is not None and monotonic() - self._asked > self._idle:
                await self.close()
