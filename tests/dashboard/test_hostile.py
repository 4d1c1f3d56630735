"""Whatever is in a file, a commit or a tag, the page is shown: 200, with what can be known."""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboard import app, charts, model_card, page
from dashboard.access import may_read
from tests.dashboard.world import NOW, World, check_line, column, merged, performance
from tests.gitops import poison

BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (number, number, b", ".join([b"*a%d" % (number - 1)] * 9))
    for number in range(1, 12)
)


def line(world: World, **more: Any) -> None:
    """Add a line to the record of the checks, after an honest one."""
    with (world.home / "monitoring/decisions.jsonl").open("a") as file:
        file.write(json.dumps(merged(check_line(NOW, "monitoring/x"), more)) + "\n")


@pytest.fixture
def seen(world: World) -> World:
    world.release("first")
    world.batch(NOW.date(), "monday", 100)
    world.check(
        NOW - timedelta(days=1), drift={"columns": {"brightness": column(0.2)}}, performance=performance(0.9)
    )
    return world


@pytest.mark.parametrize(
    "more",
    [
        {"at": "9999-12-31T23:59:59-14:00"},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "0001-01-01"},
        {"at": 1e308},
        {"drift": {"columns": {"brightness": {"distance": 1e308, "distance_threshold": 1e-308}}}},
        {"drift": {"columns": {"brightness": {"distance": 1, "distance_threshold": 1e-308}}}},
        {"drift": {"columns": {"brightness": {"distance": -1e308, "distance_threshold": -1e308}}}},
        {"drift": {"rows": 10**400, "columns": [1]}},
        {"performance": performance(1e308)},
        {"performance": {**performance(0.9), "mean_accuracy_low": None, "mean_accuracy_high": 0.95}},
        {"performance": {**performance(0.9), "threshold": 1e308}},
        {
            "episodes": {"drift": {"state": "goes on", "since": "9999-12-31T23:59:59-14:00"}},
            "alarm": ["drift"],
        },
        {"alarm": {"a": [{}]}, "reasons": [1, None, {}], "triggered": {}},
        {"evidence": "../../../../etc"},
        {"evidence": "\0"},
    ],
)
def test_a_line_of_the_record(seen: World, more: dict[str, Any]) -> None:
    line(seen, **more)
    html = _shown(seen)
    assert "Running release" in html
    assert "91.80% to 92.20%" in html or "90.00%" in html


@pytest.mark.parametrize(
    "content", [BOMB, b"a: &a [*a]\n", b"[" * 5000, b"a: !!python/object:x {}\n", b"\xff", b"- x\n"]
)
def test_parameters_of_a_release(seen: World, content: bytes) -> None:
    commit = seen.lab.land({"params.yaml": content})
    seen.lab.declare("staging", f"commit: {commit}\n")
    html = _shown(seen)
    assert commit[:12] in html
    assert "The model" in html


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)


@pytest.mark.parametrize("make", [pipe, endless, huge])
@pytest.mark.parametrize(
    "name",
    [
        "monitoring/decisions.jsonl",
        "monitoring/*/drift.json",
        "monitoring/*/performance.json",
        f"scores/date={NOW.date()}/monday.json",
    ],
)
def test_a_file_that_is_no_regular_one(seen: World, name: str, make: Callable[[Path], None]) -> None:
    """A task may leave anything in its environment's folder."""
    [path] = seen.home.glob(name)
    path.unlink()
    make(path)
    began = time.monotonic()
    assert "Running release" in _shown(seen)
    assert time.monotonic() - began < 20


def test_tags_that_are_no_verdicts(seen: World) -> None:
    commit = seen.lab.state().present("staging").commit or ""
    verdict = seen.lab.verdict("staging", commit)
    odd = list(poison.tags(seen.lab.origin, "rejected", "staging", commit))
    poison.tag(seen.lab.origin, verdict.tag, commit, verdict.message.encode())
    html = _shown(seen)
    assert odd
    assert "rejected" not in html
    assert "verified" in html


def test_a_part_that_cannot_be_drawn_leaves_the_others(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it cannot be rendered" not in _shown(seen)
    real = model_card.read

    class Hostile(str):
        def __html__(self) -> str:
            raise OverflowError("too large")

    def read(*arguments: Any) -> model_card.ModelCard:
        found = real(*arguments)
        return model_card.ModelCard(
            found.figures, found.attributes, found.slices, ((Hostile("x"), "y"),), found.parameters
        )

    monkeypatch.setattr(model_card, "read", read)
    html = _shown(seen)
    assert html.count("it cannot be rendered; the log of the api-server has the reason") == 1
    assert html.count("<figure") == 3


def test_a_part_that_cannot_be_made_leaves_the_others(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(charts, "drift", fail)
    html = _shown(seen)
    assert "it cannot be read (RuntimeError)" in html
    assert "no such thing" not in html
    assert html.count("<figure") == 1


def test_no_request_is_answered_with_500(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(page, "look", fail)
    made = app.make()
    made.dependency_overrides[may_read] = lambda: None
    answer = TestClient(made).get("/")
    assert answer.status_code == 503
    assert "cannot be shown at the moment" in answer.text
    assert "no such thing" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def _shown(world: World) -> str:
    world.serve()
    return page.show(13, NOW)
