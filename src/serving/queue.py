"""The items that wait for an answer, and the batches that are made of them.

A batch starts as soon as there are fewer than AHEAD of them, with as many of the waiting items as can be
answered within the budget of latency, by the time that earlier items took. So a single client waits for
nobody, and many clients share batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from serving.errors import RefusedError, WorkerError
from serving.worker import AHEAD, ROOM, Answer, Item, Model

LARGEST = 64  # items in a batch
_WEIGHT = 0.2  # of the last batch in the mean time of an item


@dataclass(frozen=True)
class Release:
    """The release that answered: its commit, and its model."""

    commit: str
    model: Model


Respond = Callable[[Sequence[Item]], Awaitable[tuple[list[Answer], Release]]]
_Waiting = tuple[Item, asyncio.Future[tuple[Answer, Release]]]


class Queue:
    """Answers items in batches, first come, first served.

    Attributes:
        waiting: The number of items without an answer.

    """

    def __init__(self, respond: Respond, budget: float, capacity: int, patience: float) -> None:
        """Make a queue; `run` answers its items.

        Args:
            respond: Answers a batch, and names the release that did so.
            budget: Seconds that a batch should take at most.
            capacity: Items that may wait.
            patience: Seconds after which a request gives up.

        """
        self._respond = respond
        self._budget = budget
        self._capacity = capacity
        self._patience = patience
        self._items: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._seconds = budget / LARGEST  # of an item
        self._ended = 0.0  # when the last batch was answered

    @property
    def waiting(self) -> int:
        return len(self._items)

    async def ask(self, items: Sequence[Item]) -> list[tuple[Answer, Release]]:
        """Return for each item its answer, and the release that gave it.

        Raises:
            RefusedError: Too many items wait, it takes too long, or the process that answers ended.

        """
        if self._items and len(self._items) + len(items) > self._capacity:
            wait = max(1, round(len(self._items) * self._seconds))
            raise RefusedError(429, f"{len(self._items)} photographs wait already; try again", wait)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self._items.extend(zip(items, futures, strict=True))
        self._arrived.set()
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.gather(*futures)
        except TimeoutError:
            raise RefusedError(503, f"no answer within {self._patience:g} s; try again", 1) from None
        finally:
            for future in futures:
                future.cancel()

    async def run(self) -> None:
        """Answer items, for ever."""
        turns = asyncio.Semaphore(AHEAD)
        async with asyncio.TaskGroup() as batches:
            while True:
                await self._arrived.wait()
                await turns.acquire()
                batch = self._batch()
                if not batch:
                    self._arrived.clear()
                    turns.release()
                    continue
                batches.create_task(self._answer(batch)).add_done_callback(lambda _: turns.release())

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        start = monotonic()
        try:
            answers, release = await self._respond([item for item, _ in batch])
        except (RefusedError, WorkerError) as error:
            refusal = (
                error if isinstance(error, RefusedError) else RefusedError(503, f"{error}; try again", 1)
            )
            for _, future in batch:
                if not future.done():
                    future.set_exception(refusal)
            return
        end = monotonic()
        # The batch before this one may have taken a part of the time
        seconds = (end - max(start, self._ended)) / len(batch)
        self._ended = end
        self._seconds += _WEIGHT * (seconds - self._seconds)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result((answer, release))

    def _batch(self) -> list[_Waiting]:
        size = min(LARGEST, max(1, int(self._budget / self._seconds)))
        batch, room = [], ROOM
        while self._items and len(batch) < size and len(self._items[0][0].content) <= room:
            item, future = self._items.popleft()
            if not future.done():  # nobody waits for it any longer
                batch.append((item, future))
                room -= len(item.content)
        return batch
