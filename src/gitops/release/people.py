"""The people behind a change of main: who proposed it, and who merged it.

Git records both: the author of the last commit of the merged branch, and the author of the merge. Commits
only claim these names; a signature or the forge proves them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitops.git.repository import Repository
from gitops.text.markdown import one_line

_SEPARATOR = "\x1f"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class People:
    """Who proposed a change, and who merged it; of a change that nobody merged, both are who pushed it."""

    proposed: str
    merged: str

    def __str__(self) -> str:
        if self.proposed == self.merged:
            return f"proposed and merged by {self.merged}"
        return f"proposed by {self.proposed}, merged by {self.merged}"


def people(repository: Repository, commits: Iterable[str]) -> Mapping[str, People]:
    """Return the people behind commits of main, given by their full ids."""
    found = _authors(repository, dict.fromkeys(commits))
    merged = {parents[1] for parents, _, _ in found.values() if len(parents) > 1}
    heads = _authors(repository, dict.fromkeys(merged))
    named: dict[str, People] = {}
    for commit, (parents, author, committer) in found.items():
        if len(parents) > 1:
            named[commit] = People(heads[parents[1]][1] if parents[1] in heads else author, author)
        else:
            # A forge that squashes keeps the author, and commits for the person who merged.
            named[commit] = People(author, committer)
    return named


def _authors(repository: Repository, commits: Iterable[str]) -> dict[str, tuple[list[str], str, str]]:
    names = "".join(f"{commit}\n" for commit in commits)
    if not names:
        return {}
    form = _SEPARATOR.join(("%H", "%P", "%an", "%cn"))
    listed = repository.git(
        "log", "--no-walk=unsorted", "--ignore-missing", f"--format={form}", "--stdin", input=names
    )
    rows = (line.split(_SEPARATOR) for line in listed.splitlines())
    return {row[0]: (row[1].split(), _name(row[2]), _name(row[3])) for row in rows if len(row) == 4}


def _name(name: str) -> str:
    return one_line(name, longest=_LONGEST_NAME) or "nobody"
