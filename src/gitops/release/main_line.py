"""The line of main: the commits that it pointed to, one after the other.

Each promotion and each rollback is a commit of this line, so the releases that an environment ran are read
from it. A force push replaces the line. If somebody merges main into work of their own and pushes that to
main (a "foxtrot merge"), their work becomes the line, and main's own commits become a side branch.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gitops.findings import Finding

SUBJECT = "main"


@dataclass(frozen=True)
class Known:
    """A commit that main pointed to.

    Attributes:
        commit: The full id.
        source: A clause on how that is known.
        forget: The command after which it is not known any more.

    """

    commit: str
    source: str
    forget: str


def trunk(tip: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the commits that main pointed to, newest first.

    Args:
        tip: The newest commit of main.
        parents: The parents of each commit that main has.

    """
    line: list[str] = []
    commits = [tip]
    while commits and commits[0] in parents:
        line.append(commits[0])
        commits = list(parents[commits[0]][:1])
    return line


def fault(
    tip: str, trunk: Collection[str], commits: Collection[str], known: Iterable[Known], remote: str
) -> Finding | None:
    """Return the reason why main is not the line that is known, or None if it is.

    Args:
        tip: The newest commit of main.
        trunk: The commits that main pointed to, by its first parents.
        commits: All commits that main has.
        known: Commits that it pointed to.
        remote: The remote that main is on, for the command.

    """
    for entry in known:
        commit, short, shown = entry.commit, entry.commit[:12], tip[:12]
        if commit not in commits:
            problem = f"was rewritten: {shown} does not contain {short}, {entry.source}"
            right = f"git push --force {remote} {commit}:main"
        elif commit not in trunk:
            problem = f"a merge that ends in {shown} made {short}, {entry.source}, a side branch"
            right = f"git switch --detach {commit} && git merge --no-ff {tip} && git push {remote} HEAD:main"
        else:
            continue
        return Finding(
            SUBJECT,
            problem,
            f"{right}; if it was meant: {entry.forget}",
            rule="main-rewritten",
            command=right,
        )
    return None
