"""The reason that git gives for a failure, and the remedy, as one line."""

import re

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
