"""CODEOWNERS: whose approval a change of a file needs on a forge.

The last line that fits a path counts, so one line without an owner takes the owner from every file that it
fits. Only files that Visage itself commits, and that other rules judge, may go without.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch

from gitops.errors import ParseError
from gitops.findings import Finding
from gitops.paths import CODEOWNERS
from gitops.release import file as release_file
from gitops.release.environments import Environments
from gitops.text import parse

_LARGEST = 65_536
# As GitHub divides a line, and as it knows an owner. Python's own blanks and line ends are more.
_BLANKS = re.compile(r"[ \t]+")
_OWNER = re.compile(r"@[A-Za-z0-9][\w.-]*(/[\w.-]+)?|[\w.+-]+@[\w.-]+", re.ASCII)
UNOWNED = {
    "/data/labelled/*.dvc": "a labelled batch, of which the gates judge the model that learnt from it",
    "/dvc.lock": "the results of a training, which the gates judge",
    "/metrics/": "the results of a training, which the gates judge",
    "/plots/": "pictures, which no environment reads",
    "/search/": "the results of a search, from which a training starts",
}
"""The patterns that may have no owner, and the reasons."""


def of(content: bytes, path: str) -> list[str]:
    """Return the owners of a file: those of the last line that fits it.

    Args:
        content: `.github/CODEOWNERS`.
        path: The path of the file.

    Raises:
        ParseError: where the content is no text, or too large.

    """
    found: list[str] = []
    for _, (pattern, *owners) in _lines(parse.text(content, _LARGEST)):
        inside = pattern.lstrip("/")
        if fnmatch(path, inside) or path.startswith(f"{inside.rstrip('/')}/"):
            found = owners
    return found


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """Return the number and the words of each line that has any."""
    return [
        (number, words)
        for number, line in enumerate(text.split("\n"), start=1)
        if (words := _BLANKS.split(line.partition("#")[0].strip(" \t\r"))) != [""]
    ]


def faults(content: bytes | None, environments: Environments) -> Iterator[Finding]:
    """Yield a finding for each line by which a file that an environment reads would have no owner.

    Args:
        content: `.github/CODEOWNERS`; None where it is gone.
        environments: The environments. The release file of one that others take releases from may have no
            owner: the rules judge a promotion.

    """
    if content is None:
        yield Finding(
            CODEOWNERS, "missing", "restore it: nobody would have to approve a change", rule="codeowners"
        )
        return
    try:
        text = parse.text(content, _LARGEST)
    except ParseError as error:
        right = "correct it: GitHub ignores lines that it cannot read"
        yield Finding(error.place(CODEOWNERS), str(error), right, rule="codeowners")
        return
    last = environments.last_wave
    allowed = UNOWNED.keys() | {f"/{release_file.path_of(name)}" for name in environments if name not in last}
    lines = _lines(text)
    for number, (_, *owners) in lines:
        if odd := [owner for owner in owners if not _OWNER.fullmatch(owner)]:
            problem = f"no name of an owner: {ascii(odd[0])[:80]}; GitHub ignores the line"
            right = "write @user, @organisation/team or an address, with blanks between"
            yield Finding(f"{CODEOWNERS}:{number}", problem, right, rule="codeowners")
    if not lines or lines[0][1][0] != "*" or len(lines[0][1]) == 1:
        yield Finding(
            CODEOWNERS,
            "does not begin with an owner of everything",
            "begin with `* OWNER`",
            rule="codeowners",
        )
    for number, (pattern, *owners) in lines[1:]:
        if not owners and pattern not in allowed:
            shown = pattern[:80]
            right = f"name an owner; only {', '.join(sorted(allowed))} may have none"
            problem = f"no owner has to approve a change of {shown}"
            yield Finding(f"{CODEOWNERS}:{number}", problem, right, rule="codeowners")
