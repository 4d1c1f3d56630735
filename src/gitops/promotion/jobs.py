"""Jobs of a forge that check a change: how each ended, and where and why it failed."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gitops.errors import GitopsError
from gitops.text.markdown import one_line

_MOST_REASONS = 5
# GitHub shows no more of one step.
_MOST_ANNOTATIONS = 10
_LONGEST_REASON = 200
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HOOK = re.compile(r"^(\S.*?)\.{3,}(?:\([^)]*\))?(Passed|Failed|Skipped)$")
_PLACE = re.compile(r"(?<![\w/.-])([\w.-][\w./-]*\.?[\w-]+:\d+)\b")
_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?: - (.*))?$")
_REFUSED = re.compile(r"^(?:Cannot [^:]+|refused|gitops|make): (.+)$")
_ENDED = re.compile(r"^##\[error\]|^::error |^exit status \d+$|^Process completed with exit code")


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


def annotations(log: str, remedy: str) -> tuple[str, ...]:
    """Return the faults of a log as commands that GitHub Actions and Forgejo show at the lines of files.

    Args:
        log: The output of `make lint` or of pytest.
        remedy: The next action of the reader.

    """
    lines = [_COLOUR.sub("", line).rstrip() for line in log.splitlines()]
    found = [
        _annotation(hook, f"{text or hook}; {remedy}", *place.rsplit(":", 1))
        for hook, place, text in _places(lines)
    ]
    found += [
        _annotation(match[1], f"{match[2] or match[1]}; {remedy}", match[1].partition("::")[0])
        for line in lines
        if (match := _TEST.match(line))
    ]
    return tuple(dict.fromkeys(found))[:_MOST_ANNOTATIONS]


def _annotation(title: str, text: str, path: str = "", number: str = "") -> str:
    place = {"file": path, "line": number, "title": one_line(title, longest=_LONGEST_REASON)}
    shown = ",".join(f"{key}={_escaped(value, also=':,')}" for key, value in place.items() if value)
    return f"::error {shown}::{_escaped(one_line(text, longest=_LONGEST_REASON))}"


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{also}" else letter for letter in text)


def _places(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each place that a hook of pre-commit found a fault at, with its line of output.

    A hook that names no place is yielded once, with two empty texts.
    """
    failed, places = "", 0
    for line in lines:
        if line.startswith("make: "):
            break
        if match := _HOOK.match(line):
            if failed and not places:
                yield failed, "", ""
            failed, places = match[1] if match[2] == "Failed" else "", 0
        elif failed and (place := _PLACE.search(line)):
            places += 1
            yield failed, place[1], line
    if failed and not places:
        yield failed, "", ""


def _hooks(lines: list[str]) -> Iterator[str]:
    """Yield each hook of pre-commit that failed, with the first place that it names."""
    named: set[str] = set()
    for hook, place, _ in _places(lines):
        if hook not in named:
            named.add(hook)
            yield f"{hook}: {place}" if place else hook


def _tests(lines: list[str]) -> Iterator[str]:
    """Yield each test of the short summary of pytest."""
    for line in lines:
        if match := _TEST.match(line):
            yield f"{match[1]}: {match[2]}" if match[2] else match[1]
