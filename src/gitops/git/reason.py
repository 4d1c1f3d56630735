"""The failures of git: the kind of each, the reason that git gives, and the remedy, as one line."""

import errno
import os
import re

from gitops.errors import BusyError, GitError, NetworkError, PushRejectedError

_REJECTION = re.compile(
    r"\[(?:remote )?rejected\]|\(stale info\)|pre-receive hook declined|matches more than one"
)
_NETWORK = re.compile(
    r"could not resolve|couldn't resolve|couldn't connect|failed to connect|connection (?:refused|timed out)"
    r"|connection (?:reset|closed)|operation timed out|network is unreachable|no route to host|early eof"
    r"|rpc failed|hung up unexpectedly|unexpected disconnect|returned error: (?:429|5\d\d)|tls connection"
    r"|temporary failure",
    re.IGNORECASE,
)
_EXISTS = os.strerror(errno.EEXIST)
_BUSY = re.compile(
    rf"unable to create '(.*\.lock)': {_EXISTS}"
    r"|cannot lock ref '.*': (?:is at [0-9a-f]+ but expected|reference already exists)",
    re.IGNORECASE,
)
"""Another process of git has the file at this moment, or changed the reference between two looks."""
_TOO_LARGE = os.strerror(errno.EFBIG)
# Git cuts off the reason, which comes after the name.
_UNLOCKED = re.compile(r"error: cannot lock ref '([^']*)")
_LONGEST_NAME = 1000
_MOST_LINES, _LONGEST_REASON = 20, 400

_ADVICE = re.compile(r", call: git ")
_REMEDIES = (
    (
        r"unknown repository extension|unknown (?:ref storage|hash algorithm)|expected git repo version",
        "this git is older than the one that made the repository; install a newer one",
    ),
    (
        r"not a git repository: .*/worktrees/",
        "this folder or the repository that it belongs to was moved; in that repository: "
        "git worktree repair <this folder>",
    ),
    (
        r"mismatched algorithms",
        "its ids are SHA-256, and release files name SHA-1 ids; "
        "make the remote again: git init --bare --object-format=sha1",
    ),
    (
        r"exceeded maximum include depth",
        "a configuration of git includes itself; take that line out of the file",
    ),
)
"""The remedies that git itself does not mention."""


def lines_of(text: str) -> list[str]:
    """Return the lines of an error, those that git indents with the line before, which they end."""
    lines: list[str] = []
    listing = False
    for line in filter(str.strip, text.splitlines()):
        if line.startswith("\t") and lines:
            lines[-1] += f"{', ' if listing else ' '}{line.strip()}"
            listing = True
        else:
            lines.append(line.strip())
            listing = False
    return lines


def reason(lines: list[str], *, first: bool = False) -> str:
    """Return the line with the reason of a failure, without its mark, and the remedy.

    Args:
        lines: The error output of git, from `lines_of`.
        first: Whether the first fault is the cause, as it is with remotes, rather than the last.

    """
    # "git: 'remote-htp' is not a git command", and then a list of similar ones
    faults = [line for line in lines if line.startswith(("fatal: ", "error: ", "git: "))]
    line = (faults[0] if first else faults[-1]) if faults else lines[-1]
    # A line about another one may name the command that helps.
    advice = next((row for row in lines[lines.index(line) + 1 :] if _ADVICE.search(row)), "")
    if not advice:
        advice = next((text for fault, text in _REMEDIES if re.search(fault, line, re.IGNORECASE)), "")
    line = line.removeprefix("fatal: ").removeprefix("error: ")
    return f"{line}; {advice}" if advice else line


def failure(command: str, stdout: str, stderr: str, status: int) -> tuple[type[GitError], str]:
    """Return the kind of a failure and its line.

    Args:
        command: The first word after `git`.
        stdout: Its output.
        stderr: Its error output.
        status: Its exit status.

    """
    lines = lines_of(stderr) or [f"exit status {status}"]
    refused = [row for row in (*stdout.splitlines(), *lines) if _REJECTION.search(row)]
    if command == "push" and refused:
        # A forge or a hook has the reason: "GH006: Protected branch update failed"
        theirs = [row.removeprefix("remote: ") for row in lines if row.startswith("remote: ")]
        line = " ".join([refused[0].removeprefix("!"), *theirs][:_MOST_LINES])
        return PushRejectedError, " ".join(line.split())[:_LONGEST_REASON]
    for kind, pattern in ((BusyError, _BUSY), (NetworkError, _NETWORK)):
        if (line := next(filter(pattern.search, lines), None)) is not None:
            left = _BUSY.search(line)
            advice = f"; if no git runs here, delete {left[1]}" if left and left[1] else ""
            return kind, line.removeprefix("fatal: ").removeprefix("error: ").removesuffix(".") + advice
    # The last line may only explain it: "Stopping at filesystem boundary".
    return GitError, reason(lines, first=command in ("fetch", "clone", "push", "ls-remote"))


def too_large(complaints: str) -> bool:
    """Whether the limit of a fetch has ended a command."""
    return _TOO_LARGE in complaints


def names_too_long(complaints: str) -> bool:
    """Whether a fetch brought everything but references whose names are too long for a file here.

    No name of Visage is, and whoever may push a tag must not keep all others from fetching.
    """
    names = [_UNLOCKED.match(line) for line in complaints.splitlines()]
    return bool(names) and all(name and len(name[1]) > _LONGEST_NAME for name in names)
