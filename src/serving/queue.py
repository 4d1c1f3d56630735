"""The items that wait for an answer, and the batches that are made of them.

A batch starts as soon as there are fewer than AHEAD of them, with as many of the waiting items as can be
answered within half of the budget of latency, by the time that earlier items took. So a single client waits
for nobody, and many clients share batches. The next item is always one of the client that used least of the
time of the process, so a client with many or large photographs delays its own.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from serving.errors import RefusedError, WorkerError
from serving.worker import AHEAD, ROOM, Answer, Item, Model, Replies, Reply

LARGEST = 64  # items in a batch
_WEIGHT = 0.2  # of the last item in the mean time of an item
_QUICK = 0.1  # of the time of a batch: for items that are known to take longer than all of it
_OWN = 4  # items of a client that may always wait for each other
_CLIENTS = 1000  # that are remembered


@dataclass(frozen=True)
class Release:
    """The release that answered: its commit, and its model."""

    commit: str
    model: Model


Respond = Callable[[Sequence[Item], float], Awaitable[tuple[Replies, Release]]]


@dataclass
class _Waiting:
    """An item that waits; `charged` are the seconds that its client was charged with when it was sent."""

    item: Item
    future: asyncio.Future[tuple[Answer, Release]]
    charged: float = 0.0

    def finish(self, answer: Answer, release: Release) -> None:
        if not self.future.done():
            self.future.set_result((answer, release))

    def refuse(self, error: RefusedError | WorkerError) -> None:
        if not self.future.done():
            refusal = (
                error if isinstance(error, RefusedError) else RefusedError(503, f"{error}; try again", 1)
            )
            self.future.set_exception(refusal)


@dataclass
class _Client:
    """The waiting items of a client.

    Attributes:
        seconds: That an item takes.
        used: Seconds of the process that its items took, counted from `Queue._used` when it came.
        late: How many of its items are answered late.

    """

    seconds: float
    used: float
    late: int = 0
    items: deque[_Waiting] = field(default_factory=deque)

    @property
    def backlog(self) -> float:
        """The seconds that its waiting items take."""
        return len(self.items) * self.seconds

    def charge(self, waiting: _Waiting, seconds: float) -> None:
        """Charge the client with the seconds that an item took beyond those that were expected."""
        # Nobody gets time back, as others came meanwhile who started with the time that was used then
        self.used += max(0.0, seconds - waiting.charged)
        self.seconds = _mean(self.seconds, seconds)


class Queue:
    """Answers items in batches."""

    def __init__(self, respond: Respond, budget: float, capacity: int, patience: float) -> None:
        """Make a queue; `run` answers its items.

        Args:
            respond: Answers a batch within some seconds, and names the release that does so.
            budget: Seconds that an answer should take. A request that would take more than two is refused.
            capacity: Items that may wait.
            patience: Seconds after which a request gives up.

        """
        self._respond = respond
        self._longest = 2 * budget
        self._batch_seconds = budget / AHEAD
        self._capacity = capacity
        self._patience = patience
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._changed = asyncio.Event()
        self._seconds = self._batch_seconds / LARGEST  # of an item of a client that is not known
        self._used = 0.0  # of the client whose item was sent last
        self._sent = 0.0  # seconds that the batches take which are being answered
        self._cores = 1

    async def ask(self, items: Sequence[Item], name: str) -> list[tuple[Answer, Release]]:
        """Return for each item its answer, and the release that gave it.

        Args:
            items: The items.
            name: The name of the client.

        Raises:
            RefusedError: Too many items wait, it takes too long, or the process that answers ended.

        """
        client = self._client(name)
        self._admit(client, len(items))
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(item, loop.create_future()) for item in items]
        client.items.extend(waiting)
        self._changed.set()
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.gather(*(one.future for one in waiting))
        except TimeoutError:
            raise RefusedError(503, f"no answer within {self._patience:g} s; try again", 1) from None
        finally:
            for one in waiting:
                one.future.cancel()

    def _client(self, name: str) -> _Client:
        client = self._clients.pop(name, None) or _Client(self._seconds, self._used)
        if not client.items:
            client.used = max(client.used, self._used)  # whoever asked nothing for a while has saved no time
        self._clients[name] = client
        for other in [*self._clients][: max(0, len(self._clients) - _CLIENTS)]:
            if not (self._clients[other].items or self._clients[other].late):
                del self._clients[other]
        return client

    def _admit(self, client: _Client, count: int) -> None:
        """Refuse items that would wait for too long, or of which too many wait."""
        clients = [other for other in self._clients.values() if other.items]
        if not clients:
            return
        number, own = sum(len(other.items) for other in clients), len(client.items) + count
        # The others' items take turns with these ones
        others = sum(min(other.backlog, own * client.seconds) for other in clients if other is not client)
        expected = self._sent + others + client.backlog
        # The photographs of whoever sends large ones wait for each other, and nobody else does
        longest = min(max(self._longest, _OWN * client.seconds), self._patience / 2)
        share = self._capacity // (len(clients) + (not client.items))
        if (number + count > self._capacity and own > share) or expected > longest:
            wait = max(1, math.ceil(expected - longest))
            raise RefusedError(429, f"{number} photographs wait already; try again", wait)

    async def run(self) -> None:
        """Answer items, for ever."""
        turns = asyncio.Semaphore(AHEAD)
        async with asyncio.TaskGroup() as batches:
            while True:
                await self._changed.wait()
                await turns.acquire()
                batch, seconds = self._batch()
                if not batch:
                    self._changed.clear()
                    turns.release()
                    continue
                task = batches.create_task(self._answer(batch, seconds))
                task.add_done_callback(lambda _: turns.release())

    def _batch(self) -> tuple[list[tuple[_Client, _Waiting]], float]:
        """Take the next items out of the queue; return them, and the seconds that they should take."""
        batch: list[tuple[_Client, _Waiting]] = []
        room, seconds = ROOM, 0.0
        clients = [client for client in self._clients.values() if client.late < self._cores]
        while len(batch) < LARGEST and (clients := [client for client in clients if client.items]):
            client = min(clients, key=lambda one: one.used)
            waiting = client.items[0]
            if waiting.future.done():  # nobody waits for it any longer
                client.items.popleft()
                continue
            size = len(waiting.item.content)
            if batch and (size > room or seconds + client.seconds > self._batch_seconds):
                break
            client.items.popleft()
            self._used = max(self._used, client.used)
            waiting.charged = client.seconds
            client.used += waiting.charged
            batch.append((client, waiting))
            room, seconds = room - size, seconds + client.seconds
        return batch, seconds

    async def _answer(self, batch: Sequence[tuple[_Client, _Waiting]], seconds: float) -> None:
        within = self._batch_seconds * (1 if seconds <= self._batch_seconds else _QUICK)
        expected = min(seconds, within)
        self._sent += expected
        try:
            answered, release = await self._respond([waiting.item for _, waiting in batch], within)
        except (RefusedError, WorkerError) as error:
            for _, waiting in batch:
                waiting.refuse(error)
            return
        finally:
            self._sent -= expected
        self._cores = release.model.cores
        # Without the time in which the process of the release was started again
        replies, start = answered.replies, monotonic() - answered.seconds
        # A process that ended meanwhile answers none of those that are late
        late = {reply for reply in replies if not reply.done() or reply.exception() is not None}
        ready = sum(reply not in late and reply.result() is not None for reply in replies)
        seconds = answered.seconds / max(1, ready)
        if ready and not late:
            self._seconds = _mean(self._seconds, seconds)
        for (client, waiting), reply in reversed([*zip(batch, replies, strict=True)]):
            if reply in late:
                client.late += 1
                reply.add_done_callback(partial(self._finish_late, client, waiting, release, start))
            elif (answer := reply.result()) is None:
                client.used -= waiting.charged
                client.items.appendleft(waiting)
            else:
                client.charge(waiting, waiting.charged if late else seconds)
                waiting.finish(answer, release)
        self._changed.set()

    def _finish_late(
        self, client: _Client, waiting: _Waiting, release: Release, start: float, reply: Reply
    ) -> None:
        client.late -= 1
        client.charge(waiting, monotonic() - start)
        error = reply.exception()
        if isinstance(error, WorkerError):
            waiting.refuse(error)
        elif (answer := reply.result()) is not None:
            waiting.finish(answer, release)
        self._changed.set()


def _mean(mean: float, value: float) -> float:
    return mean + _WEIGHT * (value - mean)
