"""What the user sees: a list of steps with their times; on a terminal alive, elsewhere plain lines."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gitops.airflow.training_runs import duration


class Step:
    """One step while it is at work."""

    def __init__(self, screen: "Screen", title: str) -> None:
        self._screen = screen
        self.title = title
        self.result = ""
        self.began = time.monotonic()

    @property
    def lively(self) -> bool:
        """Whether `show` shows anything."""
        return self._screen.lively

    def say(self, line: str) -> None:
        """Add a line that stays."""
        self._screen.print(f"    {line}")

    def passing(self, line: str) -> None:
        """Show a line until the next one; a terminal alone can."""
        self.show(Text(f"    {line}", style="dim"))

    def done(self, result: str) -> None:
        """Say in a few words what came of it; shown beside the title."""
        self.result = result

    def show(self, content: RenderableType | None) -> None:
        """Put something that changes below the title, while the step is at work; nothing off a terminal."""
        self._screen.refresh(self, content)


class Screen:
    """Prints steps to `console`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None

    @property
    def lively(self) -> bool:
        """Whether there is a terminal, on which something can change after it was printed."""
        return self.console.is_terminal

    def print(self, line: str, style: str | None = None) -> None:
        self.console.print(Text(line, style=style or ""), soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block is at work, and its time and result at the end."""
        step = Step(self, title)
        mark, style = "✗", "red"
        if not self.lively:
            self.print(f"… {title}")
        try:
            if self.lively:
                with Live(console=self.console, refresh_per_second=8, transient=True) as self._live:
                    self.refresh(step, None)
                    yield step
            else:
                yield step
            mark, style = "✓", "green"
        except KeyboardInterrupt:
            mark, style = "■", "yellow"
            raise
        finally:
            self._live = None
            took = duration(time.monotonic() - step.began)
            line = Text.assemble(
                (mark, style),
                f" {title}",
                (f"  {step.result}" if step.result else ""),
                (f"  ({took})", "dim"),
            )
            self.console.print(line, soft_wrap=True)

    def refresh(self, step: Step, content: RenderableType | None) -> None:
        if self._live is None:
            return
        block = Table.grid()
        block.add_row(Spinner("dots", _Title(step)))
        if content is not None:
            block.add_row(content)
        self._live.update(block)


@dataclass(frozen=True)
class _Title:
    """A step's title with the time that it has taken so far."""

    step: Step

    def __rich__(self) -> Text:
        elapsed = duration(time.monotonic() - self.step.began)
        return Text.assemble(f" {self.step.title}", (f"  {elapsed}", "dim"))


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
