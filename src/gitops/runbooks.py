"""Where the page that says what to do is, for an alarm or for a DAG: docs/runbooks of the release."""

import re
from pathlib import Path

_GITHUB = re.compile(
    r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)github\.com[:/](?P<name>[^/]+/.+?)(?:\.git)?/?"
)


def link(name: str, origin: str, release: str, checkout: Path) -> str:
    """The address of a page where origin is GitHub, else its path in the release's checkout."""
    page = f"docs/runbooks/{name}.md"
    found = _GITHUB.fullmatch(origin)
    if found is None:
        return str(checkout / page)
    return f"https://github.com/{found['name']}/blob/{release}/{page}"
