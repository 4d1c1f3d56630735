"""One process of git that answers many questions about objects: to start one for each takes most of the time.

It lives for one task, such as a refresh or a promotion, in the thread that began it.
"""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_CHUNK = 4096
"""Bytes of questions before the answers are read. A pipe holds more, so neither side waits for the other."""
_HEADER = re.compile(rb"([0-9a-f]{40,64}) ([a-z]+) ([0-9]+)")
_PART = 1 << 20


class ReaderError(Exception):
    """The process has ended, or is too slow. A command of its own shows the reason."""


class Reader:
    """`git cat-file --batch-command` in a repository.

    Args:
        folder: The folder of the repository.
        variables: All variables of the process.
        timeout: The seconds for all answers to one question.

    """

    def __init__(self, folder: Path, variables: Mapping[str, str], timeout: float = 60) -> None:
        self._timeout = timeout
        self._left = b""
        self._process = subprocess.Popen(
            ["git", "cat-file", "--batch-command", "--buffer"],
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def info(self, names: Sequence[str]) -> list[tuple[str, str, int] | None]:
        """Return the id, the kind and the size of objects by name; None where there is none."""
        return [None if answer is None else answer[:3] for answer in self._ask("info", names)]

    def contents(self, names: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Return the kind and the content of objects by name; None where there is none."""
        return [None if answer is None else (answer[1], answer[3]) for answer in self._ask("contents", names)]

    def close(self) -> None:
        """End the process."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _ask(self, command: str, names: Sequence[str]) -> list[tuple[str, str, int, bytes] | None]:
        deadline = time.monotonic() + self._timeout
        answers: list[tuple[str, str, int, bytes] | None] = []
        waiting = [f"{command} {name}\n".encode() for name in names]
        while waiting:
            size, count = 0, 0
            while count < len(waiting) and (not count or size + len(waiting[count]) < _CHUNK):
                size += len(waiting[count])
                count += 1
            self._write(b"".join(waiting[:count]) + b"flush\n", deadline)
            answers += [self._answer(command == "contents", deadline) for _ in range(count)]
            del waiting[:count]
        return answers

    def _write(self, data: bytes, deadline: float) -> None:
        assert self._process.stdin is not None
        descriptor = self._process.stdin.fileno()
        try:
            while data:
                self._wait(None, descriptor, deadline)
                data = data[os.write(descriptor, data[:_CHUNK]) :]
        except BrokenPipeError as error:
            raise ReaderError from error

    def _answer(self, whole: bool, deadline: float) -> tuple[str, str, int, bytes] | None:
        while b"\n" not in self._left:
            self._read(deadline)
        header, _, self._left = self._left.partition(b"\n")
        match = _HEADER.fullmatch(header)
        if match is None:
            return None  # missing or ambiguous
        size, content = int(match[3]), b""
        if whole:
            parts, have = [self._left], len(self._left)
            while have <= size:
                self._left = b""
                self._read(deadline)
                parts.append(self._left)
                have += len(self._left)
            everything = b"".join(parts)
            content, self._left = everything[:size], everything[size + 1 :]
        return match[1].decode(), match[2].decode(), size, content

    def _read(self, deadline: float) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        self._wait(descriptor, None, deadline)
        part = os.read(descriptor, _PART)
        if not part:
            raise ReaderError
        self._left += part

    @staticmethod
    def _wait(to_read: int | None, to_write: int | None, deadline: float) -> None:
        left = max(0.0, deadline - time.monotonic())
        reads, writes = ([] if one is None else [one] for one in (to_read, to_write))
        if not any(select.select(reads, writes, [], left)[:2]):
            raise ReaderError
