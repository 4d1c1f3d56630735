"""The sections of a Markdown page."""

import re

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def sections(page: str) -> dict[str, str]:
    """Return the text below each heading of the second level, by its title."""
    _, *parts = _HEADING.split(page)
    return dict(zip(parts[::2], parts[1::2], strict=True))
