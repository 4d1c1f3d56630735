"""The interface of an engine that runs previews."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from infra.local.screen import Screen, Step
from infra.preview.record import Preview


@dataclass(frozen=True)
class Running:
    """A preview on an engine.

    Attributes:
        preview: The preview.
        url: The address of its web interface.
        state: Whether its processes run; `ending` once its time is over.
        password: Where its password is, as the end of a sentence.

    """

    preview: Preview
    url: str
    state: Literal["up", "down", "ending"]
    password: str = ""


class Host(Protocol):
    """An engine that runs previews."""

    def up(self, branch: str, commit: str, hours: float, step: Step) -> Running:
        """Start the preview of a branch at a commit, or bring it to that commit. Its time begins again.

        Raises:
            EngineError: The engine cannot start it.
            GitopsError: The branch cannot be used.

        """
        ...

    def down(self, branch: str, screen: Screen) -> bool:
        """Take the preview of a branch down with its data. Return whether there was one."""
        ...

    def all(self, now: datetime) -> list[Running]:
        """Return all previews."""
        ...
