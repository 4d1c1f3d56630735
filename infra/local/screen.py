"""Progress output: a list of steps with their durations, updated live on a terminal and plain elsewhere.

Where there is no terminal, a step that takes long prints a line now and then.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gitops.airflow.training_runs import HEARTBEAT, duration


class Step:
    """A step in progress."""

    def __init__(self, screen: "Screen", title: str) -> None:
        self._screen = screen
        self.title = title
        self.result = ""
        self.now = ""
        """The present part of the step; '' if it is not known."""
        self.began = time.monotonic()

    @property
    def interactive(self) -> bool:
        """Whether the output is a terminal, so that `show` has an effect."""
        return self._screen.interactive

    def say(self, line: str) -> None:
        """Print a permanent line."""
        self._screen.print(f"    {line}")

    def transient(self, line: str) -> None:
        """Show a line until the next one. Without a terminal, the next line that it goes on shows it."""
        self.now = line.strip()
        self.show(Text(f"    {line}", style="dim"))

    def done(self, result: str) -> None:
        """Set the result, a few words that are shown beside the title."""
        self.result = result

    def show(self, content: RenderableType | None) -> None:
        """Show changing content below the title while the step is in progress. Needs a terminal."""
        self._screen.refresh(self, content)


class Screen:
    """Print steps to `console`; without a terminal, a line every `seconds` in which nothing was printed."""

    def __init__(self, console: Console, seconds: float = HEARTBEAT) -> None:
        self.console = console
        self._live: Live | None = None
        self._seconds = seconds
        self._printed = 0.0
        self._began = time.monotonic()
        self._plan: tuple[str, ...] = ()
        self._usual: Mapping[str, float] = {}

    def plan(self, titles: Iterable[str], usual: Mapping[str, float] | None = None) -> None:
        """Count the steps with these titles from now on; a step that is not needed leaves its number out.

        Args:
            titles: The titles of all steps, in order.
            usual: The seconds that a step usually takes, by its title.

        """
        self._plan, self._usual = tuple(titles), usual or {}

    def usual(self, title: str) -> str:
        """Return the usual duration of a step; "" if it is not known."""
        return f"usually {duration(self._usual[title])}" if title in self._usual else ""

    def place(self, title: str, *, passed: bool = True) -> str:
        """Return the place of a step in the plan, and the time since the command began; "" without a plan."""
        if title not in self._plan:
            return ""
        place = f"step {self._plan.index(title) + 1} of {len(self._plan)}"
        return f"{place}, {duration(time.monotonic() - self._began)} in all" if passed else place

    @property
    def interactive(self) -> bool:
        """Whether the output is a terminal, where printed text can change."""
        return self.console.is_terminal

    def print(self, line: str, style: str | None = None) -> None:
        self._printed = time.monotonic()
        self.console.print(Text(line, style=style or ""), soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs, and its duration and result at the end."""
        step = Step(self, title)
        mark, style = "✗", "red"
        if not self.interactive:
            known = ", ".join(filter(None, (self.place(title, passed=False), self.usual(title))))
            self.print(f"… {title}{f'  ({known})' if known else ''}")
        try:
            if self.interactive:
                with Live(console=self.console, refresh_per_second=8, transient=True) as self._live:
                    self.refresh(step, None)
                    yield step
            else:
                with self._goes_on(step):
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
                (f"  ({_joined(took, self.place(title))})", "dim"),
            )
            self.console.print(line, soft_wrap=True)

    @contextmanager
    def _goes_on(self, step: Step) -> Iterator[None]:
        """Print that a step goes on, for as long as the block runs."""
        over = threading.Event()

        def report() -> None:
            while not over.wait(max(self._printed + self._seconds - time.monotonic(), 0.01)):
                if time.monotonic() - self._printed >= self._seconds:
                    now = f": {step.now}" if step.now else ""
                    self.print(f"… {step.title}{now}  ({self.so_far(step)})")

        thread = threading.Thread(target=report, name="goes-on", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def so_far(self, step: Step) -> str:
        """Return the duration of a step until now, its usual one, and its place."""
        took = duration(time.monotonic() - step.began)
        return _joined(", ".join(filter(None, (took, self.usual(step.title)))), self.place(step.title))

    def refresh(self, step: Step, content: RenderableType | None) -> None:
        if self._live is None:
            return
        block = Table.grid()
        block.add_row(Spinner("dots", _Title(step, self)))
        if content is not None:
            block.add_row(content)
        self._live.update(block)


@dataclass(frozen=True)
class _Title:
    """The title of a step with its duration so far."""

    step: Step
    screen: Screen

    def __rich__(self) -> Text:
        return Text.assemble(f" {self.step.title}", (f"  {self.screen.so_far(self.step)}", "dim"))


def _joined(took: str, place: str) -> str:
    return f"{took}; {place}" if place else took


def listed(names: Sequence[str]) -> str:
    """Return names as an enumeration: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def start_title(names: Sequence[str]) -> str:
    """Return the title of the step that starts environments."""
    return f"Start {listed(names)}"
