"""The address of the runbook of an alarm or a DAG: a page in docs/runbooks of the release."""

import re
from pathlib import Path

_GITHUB = re.compile(
    r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)github\.com[:/](?P<name>[^/]+/.+?)(?:\.git)?/?"
)


def link(name: str, origin: str, release: str, checkout: Path | None = None) -> str:
    """Return the address of a page where origin is GitHub, else its path.

    Args:
        name: an alarm or a DAG.
        origin: the repository's URL or path; "" where it is not known.
        release: the commit that the page belongs to; "" where it is not known.
        checkout: the folder of the release, where it is checked out.

    """
    page = f"docs/runbooks/{name}.md"
    match = _GITHUB.fullmatch(origin)
    if match is not None:
        return f"https://github.com/{match['name']}/blob/{release or 'main'}/{page}"
    return str(checkout / page) if checkout else f"{page} in the repository"
