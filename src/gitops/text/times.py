"""Times for people: the one place that decides how a page writes them.

Without a script a page shows them in UTC. The script of the dashboard shows them in the reader's zone.
"""

from datetime import UTC, datetime

from markupsafe import Markup


def minute(at: datetime) -> str:
    """Return a time as text, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def element(at: datetime) -> Markup:
    """Return a time as an element of HTML."""
    moment = at.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(moment, minute(at))
