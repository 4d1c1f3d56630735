"""The order of items, with a process that the tests play."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest

from serving.errors import RefusedError
from serving.queue import Queue, Release
from serving.worker import Answer, Item, Model, Replies, Reply

RELEASE = Release("1" * 40, Model(format=1, model_sha256="", attributes=[], thresholds=[], cores=1))
LARGE = b"large"
BUDGET = 0.1


def items(count: int, content: bytes = b"small") -> list[Item]:
    return [Item(content, "photograph", str(number), sampled=False) for number in range(count)]


class Process:
    """Answers small photographs at once, and large ones when `finish` is called."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.late: list[Reply] = []
        self.most: int | None = None  # items of a batch that it begins
        self.turn = asyncio.Event()
        self.turn.set()

    async def respond(self, batch: Sequence[Item], within: float) -> tuple[Replies, Release]:
        self.batches.append([item.content for item in batch])
        await self.turn.wait()
        replies: list[Reply] = [asyncio.get_running_loop().create_future() for _ in batch]
        for item, reply in zip(batch, replies, strict=True):
            if item.content == LARGE:
                self.late.append(reply)
            else:
                begun = self.most is None or batch.index(item) < self.most
                reply.set_result(Answer() if begun else None)
        return Replies(replies, 0.0), RELEASE

    def finish(self) -> None:
        """Answer all that is late."""
        for reply in self.late:
            if not reply.done():
                reply.set_result(Answer())


def play(scene: Callable[[Queue, Process], Coroutine[None, None, None]], capacity: int = 256) -> None:
    async def main() -> None:
        process = Process()
        queue = Queue(process.respond, BUDGET, capacity, 10)
        running = asyncio.create_task(queue.run())
        try:
            async with asyncio.timeout(20):
                await scene(queue, process)
        finally:
            running.cancel()

    asyncio.run(main())


def test_large_photographs_of_a_client_wait_for_each_other_and_for_nobody_else() -> None:
    async def scene(queue: Queue, process: Process) -> None:
        large = [asyncio.create_task(queue.ask(items(1, LARGE), "phone"))]
        await asyncio.sleep(0.05)
        large.append(asyncio.create_task(queue.ask(items(2, LARGE), "phone")))
        for _ in range(3):
            await asyncio.wait_for(queue.ask(items(1), "shop"), 5)
        assert len(process.late) == 1, "this process has one core"
        process.finish()
        await large[0]
        await asyncio.sleep(0.05)
        assert len(process.late) > 1
        while not large[1].done():
            process.finish()
            await asyncio.sleep(0.05)
        assert len(await large[1]) == 2

    play(scene)


def test_photographs_that_were_not_begun_keep_their_places() -> None:
    async def scene(queue: Queue, process: Process) -> None:
        process.turn.clear()
        process.most = 2
        numbers = [bytes([number]) for number in range(6)]
        asked = [Item(number, "photograph", "", sampled=False) for number in numbers]
        answers = asyncio.create_task(queue.ask(asked, "shop"))
        await asyncio.sleep(0.05)
        process.turn.set()
        assert len(await answers) == 6
        assert process.batches == [numbers, numbers[2:], numbers[4:]]

    play(scene)


def test_the_client_that_used_least_is_next() -> None:
    async def scene(queue: Queue, process: Process) -> None:
        process.turn.clear()
        many = asyncio.create_task(queue.ask(items(192, b"many"), "many"))
        await asyncio.sleep(0.05)
        few = asyncio.create_task(queue.ask(items(2, b"few"), "few"))
        await asyncio.sleep(0.05)
        process.turn.set()
        await asyncio.gather(many, few)
        # Two batches were on their way
        assert [batch.count(b"few") for batch in process.batches[:3]] == [0, 0, 2]

    play(scene)


def test_whoever_would_wait_for_more_than_two_budgets_is_told_when_to_come_back() -> None:
    async def scene(queue: Queue, process: Process) -> None:
        process.turn.clear()
        accepted = asyncio.create_task(queue.ask(items(300), "many"))
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError, match="photographs wait already; try again") as refused:
            await queue.ask(items(1), "many")
        assert (refused.value.status, refused.value.wait) == (429, 1)
        other = asyncio.create_task(queue.ask(items(1), "few"))
        await asyncio.sleep(0.05)
        process.turn.set()
        assert len(await other) == 1
        assert len(await accepted) == 300

    play(scene, capacity=1000)


def test_a_client_cannot_fill_the_queue_for_others() -> None:
    async def scene(queue: Queue, process: Process) -> None:
        process.turn.clear()
        accepted = []
        for count in (1, 1, 8):  # Two batches of one are on their way, and the rest waits
            accepted.append(asyncio.create_task(queue.ask(items(count), "many")))
            await asyncio.sleep(0.05)
        with pytest.raises(RefusedError):
            await queue.ask(items(1), "many")
        accepted.append(asyncio.create_task(queue.ask(items(4), "few")))
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError):
            await queue.ask(items(1), "few")
        process.turn.set()
        assert [len(answers) for answers in await asyncio.gather(*accepted)] == [1, 1, 8, 4]

    play(scene, capacity=8)
