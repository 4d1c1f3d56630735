"""Jobs of a forge that check a change: how each ended, and where and why it failed."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gitops.errors import GitopsError
from gitops.text.markdown import one_line

_MOST_REASONS = 5
_LONGEST_REASON = 200
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HOOK = re.compile(r"^(\S.*?)\.{3,}(?:\([^)]*\))?(Passed|Failed|Skipped)$")
_PLACE = re.compile(r"(?<![\w/.-])([\w.-][\w./-]*\.?[\w-]+:\d+)\b")
_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?: - (.*))?$")
_REFUSED = re.compile(r"^(?:refused|gitops|make): (.+)$")
_ENDED = re.compile(r"^##\[error\]|^exit status \d+$|^Process completed with exit code")


class Job(BaseModel):
    """A job that ended.

    Attributes:
        result: `success`, `skipped`, `failure` or another conclusion; `missing` if there was no such job.
        seconds: How long it took.
        url: The page with its log.
        reasons: The lines of its log that name the fault.

    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    result: str
    seconds: float = 0
    url: str = ""
    reasons: tuple[str, ...] = ()


_JOBS = TypeAdapter(dict[str, Job])


def load(path: Path) -> dict[str, Job]:
    """Read the jobs that `gitops github run` wrote.

    Raises:
        GitopsError: if the file is not there, or is another one.

    """
    try:
        return _JOBS.validate_json(path.read_bytes())
    except OSError as error:
        raise GitopsError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise GitopsError(f"{path}: not a JSON object of job names to results") from error


def dump(jobs: Mapping[str, Job]) -> str:
    """Return the jobs as JSON, which `load` reads."""
    return _JOBS.dump_json(dict(jobs), indent=2).decode() + "\n"


def reasons(log: str) -> tuple[str, ...]:
    """Return the lines of a log that name a fault: hooks with a place, tests, refusals, or its last line.

    The code of a change may have written the log, so each reason is only text.
    """
    lines = [_COLOUR.sub("", _TIMESTAMP.sub("", line)).rstrip() for line in log.splitlines()]
    found = [*_hooks(lines), *_tests(lines)]
    found = found or [match[1] for line in lines if (match := _REFUSED.match(line))]
    if not found:
        found = [line for line in lines if line.strip() and not _ENDED.match(line)][-1:]
    short = [one_line(reason, longest=_LONGEST_REASON) for reason in dict.fromkeys(found)]
    more = [f"and {len(short) - _MOST_REASONS} more"] if len(short) > _MOST_REASONS else []
    return (*short[:_MOST_REASONS], *more)


def _hooks(lines: list[str]) -> Iterator[str]:
    """Yield each hook of pre-commit that failed, with the first place that it names."""
    failed = ""
    for line in lines:
        if line.startswith("make: "):
            break
        if match := _HOOK.match(line):
            if failed:
                yield failed
            failed = match[1] if match[2] == "Failed" else ""
        elif failed and (place := _PLACE.search(line)):
            yield f"{failed}: {place[1]}"
            failed = ""
    if failed:
        yield failed


def _tests(lines: list[str]) -> Iterator[str]:
    """Yield each test of the short summary of pytest."""
    for line in lines:
        if match := _TEST.match(line):
            yield f"{match[1]}: {match[2]}" if match[2] else match[1]
