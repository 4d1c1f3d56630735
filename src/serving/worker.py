"""The process that answers: `python -m face_attributes online` of a release, in a checkout of that release.

The messages are described in that module.
"""

import asyncio
import fcntl
import json
import math
import mmap
import os
import signal
import sys
import tempfile
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError

from gitops.isolation import Isolated
from serving.errors import WorkerError

AHEAD = 2  # batches that a process may have: it takes one up while the answers of the other are sent
ROOM = (32 << 20) + 4096  # bytes of the contents of a batch
_Result = TypeVar("_Result")
_LENGTH = 8  # bytes
_LARGEST = 64 << 20  # bytes of an answer
_START, _ANSWER, _STOP = 60.0, 60.0, 30.0  # seconds
_NO_ANSWER = "its process sent a message that is no answer"
_SLOW = f"its process took longer than {_ANSWER:.0f} s"


@dataclass(frozen=True)
class Item:
    """A photograph, or the pixels of an aligned face, to answer.

    Attributes:
        content: A file's content; or uint8 RGB (218, 178, 3). At most ROOM bytes.
        kind: `photograph` or `pixels`.
        name: The id of the item, which no other one has; files of scores have it too.
        sampled: Whether the answer goes to the files of scores.
        explained: Whether each face gets maps.

    """

    content: bytes | memoryview
    kind: str
    name: str
    sampled: bool
    explained: bool = False


class Place(BaseModel):
    """A face as the worker describes it; `box` and `score` are None for an item that came aligned."""

    box: tuple[float, float, float, float] | None
    score: float | None
    light: Literal["dark", "medium", "bright"] | None = None
    picture: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+=*$")] | None = None
    maps: dict[str, list[list[Annotated[int, Field(ge=0, le=100)]]]] | None = None


@dataclass(frozen=True)
class Face:
    """A face of an item."""

    place: Place
    probabilities: "array[float]"


@dataclass(frozen=True)
class Answer:
    """The faces of an item, or the reason why it cannot be used."""

    faces: tuple[Face, ...] = ()
    error: str | None = None


Reply = asyncio.Future[Answer | None]
"""The answer to an item. None means that the worker has not begun with it, so you ask again."""


@dataclass(frozen=True)
class Replies:
    """The replies to the items of a request.

    Attributes:
        seconds: That the worker took for them, without those in which it answered the request before.

    """

    replies: list[Reply]
    seconds: float


class _Described(BaseModel):
    faces: list[Place] = []
    error: str | None = None
    late: bool = False
    again: bool = False


class _Answers(BaseModel):
    late: str | None = None
    answers: list[_Described]


class Model(BaseModel):
    """The model of a worker, as its first message describes it.

    Attributes:
        cores: How many photographs it reads at the same time. Releases that answer nothing late have 1.

    """

    format: Literal[1]
    model_sha256: str
    attributes: list[str]
    thresholds: list[float]
    cores: int = Field(1, ge=1, le=4096)


class Memory:
    """Memory that this process writes contents to, and the worker reads: a part for each batch."""

    def __init__(self) -> None:
        size = AHEAD * ROOM
        if sys.platform == "linux":
            self.descriptor = os.memfd_create("visage-serving", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.descriptor, size)
            # Otherwise the code of a release could shrink it, and this process would end at its next write
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        else:
            with tempfile.TemporaryFile() as file:
                file.truncate(size)
                self.descriptor = os.dup(file.fileno())
        self._map = mmap.mmap(self.descriptor, size)
        self.free = deque(range(AHEAD))

    def put(self, part: int, contents: Sequence[bytes | memoryview]) -> list[int]:
        """Write contents to a part, and return where each of them starts."""
        starts, start = [], part * ROOM
        for content in contents:
            self._map[start : start + len(content)] = content
            starts.append(start)
            start += len(content)
        return starts

    def close(self) -> None:
        """Give the memory back; the worker keeps its own view of it."""
        self._map.close()
        os.close(self.descriptor)


class Worker:
    """A running process. It takes up to AHEAD requests, and answers them in turn."""

    def __init__(self, process: asyncio.subprocess.Process, model: Model, memory: Memory) -> None:
        self._process = process
        self._memory = memory
        self._turns = asyncio.Semaphore(AHEAD)
        self._sending = asyncio.Lock()
        # The requests that were sent, and the items that are answered late
        self._sent: deque[tuple[Sequence[Item], float, asyncio.Future[Replies]]] = deque()
        self._answered = 0.0  # when the last request was answered
        self._late: dict[str, Reply] = {}
        self._error: WorkerError | None = None
        self._reader = asyncio.create_task(self._read())
        self.model = model

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether its process is over, by itself or killed."""
        return self._process.returncode is not None

    @classmethod
    async def start(cls, arguments: Sequence[str], checkout: Path, place: Isolated) -> Self:
        """Start the command of a release, and wait until it has loaded its model.

        Args:
            arguments: Of the command `online`.
            checkout: The folder of the release.
            place: Where it runs, without the secrets of this process.

        Raises:
            WorkerError: It ends, takes too long, or is another program.

        """
        memory = Memory()
        program = (*place.prefix, sys.executable, "-P", "-m", "face_attributes", "online")
        process = await asyncio.create_subprocess_exec(
            *(*program, *arguments, f"--memory={memory.descriptor}"),
            cwd=checkout,
            env=dict(place.variables),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(memory.descriptor,),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_START):
                return cls(process, Model.model_validate_json(await _receive(process)), memory)
        except BaseException as error:
            _kill(process)
            memory.close()
            if isinstance(error, TimeoutError):
                raise WorkerError(f"its process did not start within {_START:.0f} s") from None
            if isinstance(error, ValidationError):
                raise WorkerError("its first message is not that of a worker") from None
            raise

    async def answer(self, items: Sequence[Item], within: float | None = None) -> Replies:
        """Return the reply to each item.

        Args:
            items: The items. Their contents have at most ROOM bytes together.
            within: Seconds after which the replies to photographs that take longer are still open; None waits
                for all of them.

        Raises:
            WorkerError: The process ended.

        """
        async with self._turns:
            part = self._memory.free.popleft()
            replies: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
            try:
                async with self._sending:
                    if self._error is not None:
                        raise self._error
                    self._sent.append((items, monotonic(), replies))
                    await self._send(items, part, within)
                async with asyncio.timeout(_ANSWER):
                    return await replies
            except TimeoutError:
                _kill(self._process)
                raise WorkerError(_SLOW) from None
            finally:
                self._memory.free.append(part)

    async def _send(self, items: Sequence[Item], part: int, within: float | None) -> None:
        starts = self._memory.put(part, [item.content for item in items])
        described = [
            {
                "kind": item.kind,
                "id": item.name,
                "start": start,
                "bytes": len(item.content),
                "sampled": item.sampled,
                "explained": item.explained,
            }
            for item, start in zip(items, starts, strict=True)
        ]
        request = json.dumps({"items": described, "within": within}).encode()
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(len(request).to_bytes(_LENGTH) + request)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return  # the reader reports how the process ended

    async def _read(self) -> None:
        """Take the answers, until the process ends."""
        try:
            while True:
                self._take(await _receive(self._process), await _receive(self._process))
        except WorkerError as error:
            self._error = error
        except (ValueError, LookupError):
            _kill(self._process)
            self._error = WorkerError(_NO_ANSWER)
        open_replies = [*(replies for *_, replies in self._sent), *self._late.values()]
        self._sent.clear()
        self._late.clear()
        for reply in open_replies:
            if not reply.done():
                reply.set_exception(self._error)

    def _take(self, document: bytes, numbers: bytes) -> None:
        """Give the answers in a message to those who wait for them.

        Raises:
            ValueError: It is no answer.
            LookupError: Nobody asked.

        """
        message = _Answers.model_validate_json(document)
        rows, width = array("f", numbers), len(self.model.attributes)
        faces = sum(len(answer.faces) for answer in message.answers)
        if len(rows) != faces * width or not math.isfinite(sum(rows)):
            raise ValueError
        starts = iter(range(0, len(rows), width))
        answers = [
            Answer(
                tuple(Face(face, rows[(row := next(starts)) : row + width]) for face in answer.faces),
                answer.error,
            )
            for answer in message.answers
        ]
        if message.late is not None:
            (answer,) = answers
            _set(self._late.pop(message.late), answer)
            return
        items, start, replies = self._sent.popleft()
        found = [
            self._reply(item, described, answer)
            for item, described, answer in zip(items, message.answers, answers, strict=True)
        ]
        start, self._answered = max(start, self._answered), monotonic()
        _set(replies, Replies(found, self._answered - start))

    def _reply(self, item: Item, described: _Described, answer: Answer) -> Reply:
        loop = asyncio.get_running_loop()
        reply: Reply = loop.create_future()
        if not described.late:
            reply.set_result(None if described.again else answer)
            return reply
        if item.name in self._late:
            raise ValueError
        self._late[item.name] = reply
        expiry = loop.call_later(_ANSWER, _kill, self._process)
        reply.add_done_callback(lambda _: expiry.cancel())
        return reply

    async def stop(self) -> None:
        """Answer the requests that were sent, and let the process write its samples and end."""
        for _ in range(AHEAD):
            await self._turns.acquire()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP):
                await self._process.wait()
        except TimeoutError:
            _kill(self._process)
            await self._process.wait()
        await self._reader
        self._memory.close()

    def kill(self) -> None:
        """End the process at once."""
        _kill(self._process)


async def _receive(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    try:
        length = int.from_bytes(await process.stdout.readexactly(_LENGTH))
        if length > _LARGEST:
            _kill(process)
            raise WorkerError(_NO_ANSWER)
        return await process.stdout.readexactly(length)
    except asyncio.IncompleteReadError:
        raise WorkerError(_ended(await process.wait())) from None


def _set(future: "asyncio.Future[_Result]", result: _Result) -> None:
    if not future.done():
        future.set_result(result)


def _ended(status: int) -> str:
    return f"its process ended with {f'signal {-status}' if status < 0 else f'status {status}'}"


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
