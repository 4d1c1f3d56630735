import io
import re
import threading

import pytest
from rich.console import Console

from gitops.airflow.training_runs import duration
from infra.local.screen import Screen
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0 s"), (61, "1 min 01 s"), (3599, "59 min 59 s"), (3660, "1 h 01 min")]
)
def test_a_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_there_are_plain_lines() -> None:
    output = io.StringIO()
    with Screen(Console(file=output)).step("Choose ports") as step:
        step.transient("soon gone")
        step.say("a line [with] brackets that is much longer than the eighty columns of what is no terminal")
        step.done("dev 8080")
    assert output.getvalue() == (
        "… Choose ports\n"
        "    a line [with] brackets that is much longer than the eighty columns of what is no terminal\n"
        "✓ Choose ports  dev 8080  (0 s)\n"
    )


def test_without_a_terminal_a_long_step_reports_that_it_goes_on() -> None:
    output = io.StringIO()
    with Screen(Console(file=output), seconds=0.2).step("Start dev") as step:
        step.transient("  prod: first answer")
        wait_for(lambda: output.getvalue().count("\n") == 3, seconds=20)
        step.say("a line of its own")
    lines = output.getvalue().splitlines()
    assert lines[0] == "… Start dev"
    assert [line.partition("  (")[0] for line in lines[1:3]] == ["… Start dev: prod: first answer"] * 2
    assert lines[3:] == ["    a line of its own", "✓ Start dev  (0 s)"]
    assert "goes-on" not in {thread.name for thread in threading.enumerate()}


def test_a_terminal_shows_what_passes_and_keeps_what_stays() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100, color_system=None)
    with Screen(console).step("Train") as step:
        step.transient("soon gone")
        step.say("stays")
    text = output.getvalue()
    assert "soon gone" in text
    assert "stays" in text
    assert text.rstrip().endswith("✓ Train  (0 s)")


@pytest.mark.parametrize(("error", "mark"), [(ValueError, "✗"), (KeyboardInterrupt, "■")])
def test_a_step_that_ends_badly_is_marked(error: type[BaseException], mark: str) -> None:
    output = io.StringIO()
    with pytest.raises(error), Screen(Console(file=output)).step("Train"):
        raise error
    assert output.getvalue().splitlines()[-1] == f"{mark} Train  (0 s)"


def test_a_planned_step_shows_its_place_its_usual_duration_and_the_time_passed() -> None:
    output = io.StringIO()
    screen = Screen(Console(file=output), seconds=0.2)
    screen.plan(["Choose ports", "Train a model", "Start dev"], {"Start dev": 95})
    with screen.step("Start dev") as step:  # the one before it was not needed
        step.transient("prod: first answer")
        wait_for(lambda: output.getvalue().count("\n") == 2, seconds=20)
    with screen.step("Another"):
        pass
    assert [re.sub(r"\d+ s", "0 s", line) for line in output.getvalue().splitlines()] == [
        "… Start dev  (step 3 of 3, usually 1 min 0 s)",
        "… Start dev: prod: first answer  (0 s, usually 1 min 0 s; step 3 of 3, 0 s in all)",
        "✓ Start dev  (0 s; step 3 of 3, 0 s in all)",
        "… Another",
        "✓ Another  (0 s)",
    ]
