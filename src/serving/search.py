"""Search of scored images: a short process of the release, `python -m face_attributes search`."""

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from gitops import isolation
from serving.errors import RefusedError
from serving.releases import Releases

log = logging.getLogger(__name__)

READINGS = "readings"
"""The folder, in the data folder of an environment, of the records of who saw photographs."""
_SECONDS = 60.0
_AT_ONCE = 2
_LARGEST = 32 << 20  # bytes
_PART = 1 << 16  # bytes


class Found(BaseModel):
    """A scored face; `picture` is a JPEG in base64, null if its photograph is not kept."""

    id: str
    batch: str = Field(max_length=4096)
    day: str | None
    release: str | None
    attributes: dict[str, float]
    picture: str | None = Field(default=None, pattern=r"^[A-Za-z0-9+/]+=*$")


class SearchAnswer(BaseModel):
    """The newest faces that were found, and the number of files that were searched."""

    faces: list[Found]
    files: int


class Search:
    """Searches the files of scores of an environment."""

    def __init__(self, home: Path, releases: Releases) -> None:
        self._home = home
        self._releases = releases
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(
        self, client: str, has: Sequence[str], lacks: Sequence[str], most: int
    ) -> SearchAnswer:
        """Return faces with some attributes and without others, and record that `client` saw them.

        Raises:
            RefusedError: No release answers, there is no such attribute, or the search fails.

        """
        current, prepared = self._releases.current, self._releases.prepared
        if current is None or prepared is None:
            raise RefusedError(503, f"no release answers: {self._releases.problem}", 5)
        for name in (*has, *lacks):
            if name not in current.model.attributes:
                raise RefusedError(422, f"{name[:64]!r}: no attribute of this release")
        if self._turns.locked():
            raise RefusedError(429, "other searches run already; try again", 5)
        options = [*(f"--has={name}" for name in has), *(f"--lacks={name}" for name in lacks)]
        options += [f"--photographs={self._home / 'scored'}", f"--most={most}", str(self._home / "scores")]
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                *(*prepared.place.prefix, sys.executable, "-P", "-m", "face_attributes", "search", *options),
                cwd=prepared.checkout,
                env=dict(prepared.place.variables),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(_SECONDS):
                    output, problem = await outputs(process, _LARGEST)
            except TimeoutError:
                raise RefusedError(503, f"the search took longer than {_SECONDS:.0f} s", 30) from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        try:
            if process.returncode:
                reason = isolation.last_line(problem.decode(errors="replace"))
                raise RefusedError(422, (reason or "the search failed")[:300])
            answer = SearchAnswer.model_validate_json(output)
        except ValidationError:
            raise RefusedError(503, "the search of this release gave no answer", 30) from None
        pictures = Counter(face.batch for face in answer.faces if face.picture is not None)
        try:
            if pictures:
                record(self._home, client, has, lacks, pictures, datetime.now(UTC))
        except OSError as error:
            log.error("The record of readings: %s", error)
            raise RefusedError(503, "the photographs cannot be shown: nobody could record it", 60) from None
        return answer


async def outputs(process: asyncio.subprocess.Process, most: int) -> tuple[bytes, bytes]:
    """Wait for a process; return its output and the end of its complaints.

    Code of a release writes both, so neither is kept without a bound.

    Raises:
        RefusedError: The output has more than `most` bytes.

    """
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(_end(process.stderr))
    try:
        output = bytearray()
        while part := await process.stdout.read(_PART):
            output += part
            if len(output) > most:
                raise RefusedError(503, f"the search answered more than {most >> 20} MiB", 30)
        problem = await complaints
    finally:
        complaints.cancel()
    await process.wait()
    return bytes(output), problem


async def _end(stream: asyncio.StreamReader) -> bytes:
    end = b""
    while part := await stream.read(_PART):
        end = (end + part)[-_PART:]
    return end


def record(
    home: Path,
    client: str,
    has: Sequence[str],
    lacks: Sequence[str],
    pictures: Mapping[str, int],
    now: datetime,
) -> None:
    """Add a line to the day's record of who saw photographs; `pictures` counts them by batch.

    The record has no name of a photograph, so that nobody is found by it.

    Raises:
        OSError: The line cannot be written.

    """
    line = {
        "format": 1,
        "at": now.isoformat(timespec="seconds"),
        "client": client,
        "has": [*has],
        "lacks": [*lacks],
        "pictures": dict(pictures),
    }
    folder = home / READINGS
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{now:%Y-%m-%d}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
