from datetime import timedelta

import pytest

from dashboard import page, retention
from gitops.people.retention import Needed, amend, sweep
from tests.dashboard.world import NOW, World


def show(world: World) -> str:
    world.serve()
    return page.show(13, NOW).partition('id="retention"')[2]


def test_the_page_shows_the_last_run(world: World) -> None:
    assert "There was no run yet" in show(world)
    sweep(world.home, {}, Needed("held: an incident <b>"), NOW - timedelta(days=1))
    html = show(world)
    assert "<dd>nothing</dd>" in html
    assert "held: an incident &lt;b&gt;" in html
    assert "nothing goes" in html

    for name in ("one", "two"):
        (world.home / "scored" / name).mkdir(parents=True)
    later = NOW + timedelta(days=90)
    line = sweep(world.home, {"RETENTION_DAYS_SCORED": 30}, Needed(), later)
    amend(world.home, {**line, "pruned": {"references": 3, "objects": 1200}})
    html = show(world)
    assert "2 entries of scored/, 3 branches and tags, 1,200 objects of the DVC remote and caches" in html
    assert f"{later:%Y-%m-%d %H:%M} UTC" in html
    assert "All is kept" not in html
    assert len((world.home / "retention.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("damaged", ["{", "[]", '{"format": 1, "at": "soon"}', '{"format": 9}', "\ufffd"])
def test_a_damaged_line_is_passed_over(world: World, damaged: str) -> None:
    sweep(world.home, {}, Needed(), NOW)
    with (world.home / "retention.jsonl").open("a") as record:
        record.write(damaged + "\n")
    assert retention.read(world.home).at == NOW
