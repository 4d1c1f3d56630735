"""Pages as one file without a script, which load nothing and are light or dark as the reader's system is."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from gitops.model import cost
from gitops.release.environments import TERMINAL
from gitops.text import numbers, times

_FOLDER = Path(__file__).parent
_ADDRESS = re.compile(r"(?<![\w.+-])([\w.+-]+)@[\w.-]+")


@cache
def style() -> str:
    """Return the style sheet, with the colours of environments."""
    colors = "".join(f".c-{name} {{ --color: {value}; }}\n" for name, value in TERMINAL.items())
    return (_FOLDER / "page.css").read_text() + colors


@dataclass(frozen=True)
class Frame:
    """The web interface that a page is a part of: its title, and the way to its folder of static files."""

    title: str
    root: str


def policy(*, scripts: bool = False) -> str:
    """Return the Content-Security-Policy of a page: its own style sheet, and nothing else.

    With `scripts`, those of the server are allowed, too.
    """
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    own = "script-src 'self'; img-src 'self'; " if scripts else ""
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; {own}base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )


def render(name: str, values: Mapping[str, object]) -> str:
    """Return the HTML of a template. All values are escaped."""
    # The style sheet is ours, and its digest must be that of the bytes between the tags.
    return _templates().get_template(name).render(style=Markup(style()), **values)  # noqa: S704


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {
        "minute": times.element,
        "person": without_addresses,
        "percent": numbers.percent,
        "interval": numbers.interval,
        "size": numbers.size,
        "span": numbers.duration,
        "milliseconds": numbers.milliseconds,
        "cost": cost.line,
    }
    environment.filters.update(filters)  # pyright: ignore[reportUnknownMemberType] Jinja2 has no type for it
    return environment


def without_addresses(people: str) -> str:
    """Return text about people without their addresses, which everybody who has the page would see.

    Of an address without a name, the part before the @ stays.
    """
    return _ADDRESS.sub(r"\1", re.sub(r" <[^>]*>", "", people))
