"""The interface of an engine that runs previews, and the program that such an engine is worked with."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from infra.local.errors import EngineError
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


@dataclass(frozen=True)
class Tool:
    """The program that an engine is worked with.

    Attributes:
        name: Its name, as in messages.
        missing: The remedy if it is not on PATH.
        following: The command that shows whether it works.
        seconds: The time that a command may take.

    """

    name: str
    missing: str
    following: str
    seconds: float = 900

    def run(self, command: Sequence[str], *, given: str = "", env: Mapping[str, str] | None = None) -> str:
        """Run a command and return its output.

        Args:
            command: The words of the command.
            given: Its standard input.
            env: Its variables; by default those of this process.

        Raises:
            EngineError: The program is missing, fails, or takes too long.

        """
        try:
            done = subprocess.run(
                command,
                input=given,
                env=env,
                capture_output=True,
                text=True,
                timeout=self.seconds,
                check=False,
            )
        except FileNotFoundError as error:
            raise EngineError(f"{self.name}: not on PATH; {self.missing}") from error
        except subprocess.TimeoutExpired as error:
            problem = f"{self.name}: no end after {self.seconds:g} s"
            raise EngineError(problem, command=self.following) from error
        if done.returncode:
            last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no output")
            raise EngineError(f"{self.name}: {last}", command=self.following)
        return done.stdout
