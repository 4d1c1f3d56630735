"""Where the page of an alarm is: docs/runbooks of the release that raised it."""

import re
from pathlib import Path

_GITHUB = re.compile(
    r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)github\.com[:/](?P<name>[^/]+/.+?)(?:\.git)?/?"
)


def link(alarm: str, origin: str, release: str, checkout: Path) -> str:
    """The address of a page where origin is GitHub, else its path in the release's checkout."""
    page = f"docs/runbooks/{alarm}.md"
    found = _GITHUB.fullmatch(origin)
    if found is None:
        return str(checkout / page)
    return f"https://github.com/{found['name']}/blob/{release}/{page}"
