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
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from gitops.isolation import Isolated
from serving.errors import WorkerError

AHEAD = 2  # batches that a process may have: it takes one up while the answers of the other are sent
ROOM = (32 << 20) + 4096  # bytes of the contents of a batch
_LENGTH = 8  # bytes
_LARGEST = 64 << 20  # bytes of an answer
_START, _ANSWER, _STOP = 60.0, 60.0, 30.0  # seconds
_NO_ANSWER = "its process sent a message that is no answer"


@dataclass(frozen=True)
class Item:
    """A photograph, or the pixels of an aligned face, to answer.

    Attributes:
        content: A file's content; or uint8 RGB (218, 178, 3). At most ROOM bytes.
        kind: `photograph` or `pixels`.
        name: The id of the item in files of scores.
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


class _Described(BaseModel):
    faces: list[Place] = []
    error: str | None = None


class _Answers(BaseModel):
    answers: list[_Described]


class Model(BaseModel):
    """The model of a worker, as its first message describes it."""

    format: Literal[1]
    model_sha256: str
    attributes: list[str]
    thresholds: list[float]


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
        # Both let tasks in by the order in which they came, so each task gets the answer to its own request
        self._sending, self._receiving = asyncio.Lock(), asyncio.Lock()
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

    async def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answer to each item. Their contents have at most ROOM bytes together.

        Raises:
            WorkerError: The process ended.

        """
        async with self._turns:
            part = self._memory.free.popleft()
            try:
                async with self._sending:
                    await self._send(items, part)
                async with self._receiving:
                    return await self._answers(len(items))
            finally:
                self._memory.free.append(part)

    async def _send(self, items: Sequence[Item], part: int) -> None:
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
        request = json.dumps({"items": described}).encode()
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(len(request).to_bytes(_LENGTH) + request)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerError(_ended(await self._process.wait())) from None

    async def _answers(self, count: int) -> list[Answer]:
        try:
            async with asyncio.timeout(_ANSWER):
                answers = _Answers.model_validate_json(await _receive(self._process)).answers
                numbers = array("f", await _receive(self._process))
        except TimeoutError:
            _kill(self._process)
            raise WorkerError(f"its process took longer than {_ANSWER:.0f} s") from None
        except ValueError:
            _kill(self._process)
            raise WorkerError(_NO_ANSWER) from None
        width, faces = len(self.model.attributes), sum(len(answer.faces) for answer in answers)
        if len(answers) != count or len(numbers) != faces * width or not math.isfinite(sum(numbers)):
            _kill(self._process)
            raise WorkerError(_NO_ANSWER)
        rows = iter(range(0, len(numbers), width))
        return [
            Answer(
                tuple(Face(face, numbers[(row := next(rows)) : row + width]) for face in answer.faces),
                answer.error,
            )
            for answer in answers
        ]

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


def _ended(status: int) -> str:
    return f"its process ended with {f'signal {-status}' if status < 0 else f'status {status}'}"


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
