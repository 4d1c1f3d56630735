"""The process that answers: `python -m face_attributes online` of a release, in a checkout of that release.

The messages are described in that module.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from gitops.isolation import Isolated
from serving.errors import WorkerError

_LENGTH = 8  # bytes
_LARGEST = 64 << 20  # bytes of an answer
_PIPE = 1 << 20  # bytes, the most that a user may ask for by default
_START, _ANSWER, _STOP = 60.0, 60.0, 30.0  # seconds


@dataclass(frozen=True)
class Item:
    """A photograph, or the pixels of an aligned face, to answer.

    Attributes:
        content: A file's content; or uint8 RGB (218, 178, 3).
        kind: `photograph` or `pixels`.
        name: The id of the item in files of scores.
        sampled: Whether the answer goes to the files of scores.

    """

    content: bytes
    kind: str
    name: str
    sampled: bool


class Face(BaseModel):
    """A face of an item; `box` and `score` are None for an item that came aligned."""

    box: tuple[float, float, float, float] | None
    score: float | None
    probabilities: list[float]


class Answer(BaseModel):
    """The faces of an item, or the reason why it cannot be used."""

    faces: list[Face] = []
    error: str | None = None


class _Answers(BaseModel):
    answers: list[Answer]


class Model(BaseModel):
    """The model of a worker, as its first message describes it."""

    format: int
    model_sha256: str
    attributes: list[str]
    thresholds: list[float]


class Worker:
    """A running process. One request at a time."""

    def __init__(self, process: asyncio.subprocess.Process, model: Model) -> None:
        self._process = process
        self.model = model

    @property
    def pid(self) -> int:
        return self._process.pid

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
        process = await asyncio.create_subprocess_exec(
            *(*place.prefix, sys.executable, "-P", "-m", "face_attributes", "online", *arguments),
            cwd=checkout,
            env=dict(place.variables),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        _widen(process)
        try:
            async with asyncio.timeout(_START):
                return cls(process, Model.model_validate(await _receive(process)))
        except BaseException as error:
            _kill(process)
            if isinstance(error, TimeoutError):
                raise WorkerError(f"its process did not start within {_START:.0f} s") from None
            if isinstance(error, ValidationError):
                raise WorkerError("its first message is not that of a worker") from None
            raise

    async def answer(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answer to each item.

        Raises:
            WorkerError: The process ended.

        """
        described = [
            {"kind": item.kind, "id": item.name, "bytes": len(item.content), "sampled": item.sampled}
            for item in items
        ]
        header = json.dumps({"items": described}).encode()
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(len(header).to_bytes(_LENGTH) + header)
            stdin.writelines(item.content for item in items)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerError(await self._end()) from None
        try:
            async with asyncio.timeout(_ANSWER):
                answers = _Answers.model_validate(await _receive(self._process)).answers
        except TimeoutError:
            _kill(self._process)
            raise WorkerError(f"its process took longer than {_ANSWER:.0f} s") from None
        except ValidationError:
            _kill(self._process)
            raise WorkerError("its process sent a message that is no answer") from None
        if len(answers) != len(items):
            _kill(self._process)
            raise WorkerError(f"its process sent {len(answers)} answers to {len(items)} items")
        return answers

    async def stop(self) -> None:
        """Let the process write its samples and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP):
                await self._process.wait()
        except TimeoutError:
            _kill(self._process)
            await self._process.wait()

    def kill(self) -> None:
        """End the process at once."""
        _kill(self._process)

    async def _end(self) -> str:
        return _ended(await self._process.wait())


def _widen(process: asyncio.subprocess.Process) -> None:
    """Let a pipe take several photographs at once, if the system can do that; by default it takes 64 KiB."""
    assert process.stdin is not None
    pipe = process.stdin.get_extra_info("pipe")
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(PermissionError):  # the user has too many large pipes already
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


async def _receive(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    try:
        length = int.from_bytes(await process.stdout.readexactly(_LENGTH))
        if length > _LARGEST:
            _kill(process)
            raise WorkerError("its process sent a message that is no answer")
        return json.loads(await process.stdout.readexactly(length))
    except asyncio.IncompleteReadError:
        raise WorkerError(_ended(await process.wait())) from None
    except ValueError:
        _kill(process)
        raise WorkerError("its process sent a message that is no answer") from None


def _ended(status: int) -> str:
    return f"its process ended with {f'signal {-status}' if status < 0 else f'status {status}'}"


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
