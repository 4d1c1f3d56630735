import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from dashboard import page
from gitops.release import health
from gitops.release.health import Health
from tests.dashboard.world import NOW, World, column, performance
from tests.support.lab import CHECKS

EPISODES = {"drift": {"id": "a", "since": "2026-11-18T00:00:00+00:00", "state": "goes on"}, "accuracy": None}

SECTIONS = ("release", "labels", "checks", "scored", "model")


def show(world: World, weeks: int = 13) -> str:
    world.serve()
    return page.show(weeks, NOW)


def test_an_environment_without_anything(world: World) -> None:
    html = show(world)
    assert "No release yet: <strong>staging</strong> is up" in html
    assert ".venv/bin/gitops promote staging --push --wait\n.venv/bin/gitops merge promote/staging\n" in html
    assert "There is nothing to roll back" in html
    assert "No model: no release runs here yet" in html
    assert "No images were scored in these weeks" in html
    assert "There was no check yet" in html
    assert 'role="alert"' not in html
    assert "<figure" not in html


@pytest.mark.parametrize("files", [{}, {"metrics/evaluation.json": b"{}"}, {"metrics/evaluation.json": b"{"}])
def test_dev_runs_a_commit_without_a_model(
    make_world: Callable[[str], World], files: dict[str, bytes]
) -> None:
    world = make_world("dev")
    commit = world.lab.land({"dvc.yaml": b"changed", **files})
    html = show(world)
    assert f'<p class="large">{commit[:12]}</p>' in html
    assert "no model yet" in html
    assert f"git revert --no-edit {commit[:12]}" in html


def test_a_year(world: World) -> None:
    first = world.release("first")
    world.release("second", 0.92)
    world.year()
    html = show(world, 52)
    assert html.count("<figure") == 4
    assert html.count("<h3><time") == 52
    assert html.count('href="reports/scheduled__') == 52
    assert html.count("<li><h3>") == 38
    assert ".venv/bin/gitops rollback staging --push\n.venv/bin/gitops merge rollback/staging\n" in html
    assert first[:12] in html
    assert "52 checks, 5 with drift" in html
    assert "92.00% (91.80% to 92.20%)" in html
    for name in ("volume", "quarantine", "drift", "accuracy"):
        assert f'aria-labelledby="{name}-title"' in html


def test_numbers_and_times_have_one_form(world: World) -> None:
    world.release("first", 0.951)
    world.year()
    html = re.sub(r"<svg.*?</svg>|<pre>.*?</pre>", "", show(world, 52), flags=re.DOTALL)
    # The text of tables, without the parameters of the release and the reasons that a check recorded
    text = re.sub(r"<p>(Mean accuracy|Drift)[^<]*</p>|<details>\s*<summary>54 param.*?</details>", "", html)
    assert {f"{share} %" for share in re.findall(r"[0-9] %", text)} == set()
    shares = set(re.findall(r"[0-9.]+%", text)) - {"50%", "75%", "95%", "100%", "0%"}
    assert len(shares) > 100
    assert [share for share in shares if not re.fullmatch(r"[0-9]+\.[0-9]{2}%", share)] == []
    outside = re.sub(r"<time.*?</time>|<code.*?</code>", "", text)
    assert re.findall(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}", outside) == []


def test_another_release_is_marked_in_every_plot(
    make_world: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("prod")
    for days in (40, 20):
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_DATE", f"@{int((NOW - timedelta(days=days)).timestamp())} +0000")
        commit = world.release(f"release {days}", 0.9 + days / 1000)
    world.lab.declare("prod", f"commit: {commit}\nhold: no other release\n")
    html = show(world.year())
    first, second = (f"{(NOW - timedelta(days=days)).date()}: release " for days in (40, 20))
    assert html.count("<figure") == 4
    for drawing in re.findall(r"<svg class=\"area\".*?</svg>\s*</svg>", html, re.DOTALL):
        lines = re.findall(r"<line class=\"mark\".*?<title>(.*?)</title>", drawing)
        assert [line.startswith(day) for line, day in zip(lines, (first, second), strict=True)] == [True] * 2
    assert re.search(f"Another release came: {first}[0-9a-f]{{12}}; {second}{commit[:12]}", html)
    sparks = re.search(r"<ul class=\"sparks\".*?</ul>", html, re.DOTALL)
    assert sparks
    assert sparks[0].count('class="mark"') == 2 * 38


def test_the_order_is_that_of_urgency(world: World) -> None:
    world.release("first", 0.951)
    world.check(NOW, performance=performance(0.83), alarm=["accuracy"])
    html = show(world)
    parts = ['class="alert bad"', 'class="tiles"', *(f'id="{name}"' for name in SECTIONS)]
    places = [html.index(part) for part in parts]
    assert places == sorted(places)


def test_a_rejected_release_and_an_alarm_are_alerts(world: World) -> None:
    world.release("first")
    world.serve()
    world.release("second", verdict="rejected")
    drift = {"drifted": True, "columns": {"Male_score": column(0.4)}}
    world.check(NOW, drift=drift, reasons=["Drift: Male moved"], alarm=["drift"], episodes=EPISODES)
    html = show(world)
    assert html.count('role="alert"') == 2
    assert "The release that main declares does not run here." in html
    assert '<span class="badge bad">rejected</span>' in html
    assert "The photographs have changed.</strong> Drift: Male moved." in html
    assert '<a href="runbooks/drift/">What to do</a>' in html
    assert "drift (1 column)" in html
    assert '<span class="badge bad">alarm: drift</span>' in html
    assert "drift goes on, since 2026-11-18" in html


def test_the_page_lists_the_checks_and_the_watch(world: World) -> None:
    commit = world.release("first", verdict=None)
    world.serve()
    watch = Health(releases=[commit], before=None, since=NOW, until=NOW, checks=list(CHECKS[:1]))
    health.write(world.storage / "release", watch)
    html = show(world)
    assert "<dt>Health</dt><dd>watched until <time" in html
    assert "passed: DAG files: 4 DAGs (all load)<br>" in html
    health.write(
        world.storage / "release", watch.model_copy(update={"state": "errored", "ill": "disk: full"})
    )
    assert "<dt>Health</dt><dd>not known: disk: full</dd>" in show(world)
    world.lab.verify("staging", commit, "rejected", checks=CHECKS)
    html = show(world.serve())
    assert "<dt>Checks of the rejected release</dt>" in html
    assert "failed: failed runs: score_faces 3 of 3 (0 of 9 before)<br>" in html


def test_a_model_of_an_earlier_commit_is_told_with_the_next_command(world: World) -> None:
    world.release("first")
    pipeline = b"stages:\n  export:\n    cmd: make it better\n    outs: [models/model.onnx]\n"
    stale = world.lab.land({"dvc.yaml": pipeline})
    world.lab.declare("staging", f"commit: {stale}\n")
    world.serve(again=True)  # the refresh after the one that serves it adds the notice
    html = page.show(13, NOW)
    assert html.count('role="alert"') == 1
    assert "Model of an earlier commit: train." in html
    assert '<code class="line">.venv/bin/gitops train main --wait</code>' in html
    assert "that it was made with" not in html


def test_a_last_check_that_is_long_ago(world: World) -> None:
    world.check(NOW - timedelta(weeks=20))
    html = show(world)
    assert "There was no check in these weeks. The last check was at <time" in html
    assert ">2026-07-08 12:00 UTC</time>" in html


def test_one_part_that_cannot_be_read_leaves_the_others(world: World) -> None:
    world.release("first")
    world.serve()
    world.batch(NOW.date(), "a", 12)
    (world.home / "monitoring").mkdir()
    (world.home / "monitoring/decisions.jsonl").mkdir()
    html = page.show(13, NOW)
    assert "decisions.jsonl: not a regular file" in html
    assert "12 images in total" in html
    assert "Running release" in html


def test_late_labels_stand_beside_what_the_release_claims(world: World) -> None:
    world.release("first")
    world.check(NOW, performance=performance(0.9))
    html = show(world)
    assert "Accuracy on late labels, by attribute and slice" in html
    _, _, table = html.partition("Slices of the labelled images")
    row = next(line for line in table.splitlines() if 'scope="row">Young<' in line)
    assert row.count("%") >= 6, "both accuracies have their intervals"


def test_the_page_names_who_brought_the_release(world: World) -> None:
    world.release("first")
    assert f"”, proposed and merged by {world.lab.clone.author()}" in show(world)
