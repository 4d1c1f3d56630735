import json
import re
from pathlib import Path

import pytest

from dashboard import page, shadow
from gitops.release import file as release_file
from gitops.release.file import Release
from tests.dashboard.world import NOW, World
from tests.support.figures import ATTRIBUTES


def figures() -> dict[str, object]:
    row = {"agreement": 0.99, "yes": 0.3, "incumbent_yes": 0.29, "distance": 0.01}
    rows = dict.fromkeys(ATTRIBUTES, row) | {"Bald": row | {"agreement": 0.731}}
    return {
        "format": 1,
        "images": 5200,
        "batches": 12,
        "agreement": 0.987,
        "per_attribute": rows,
        "only_incumbent": [],
        "latency": {"batch_1": {"p50_ms": 2.51, "incumbent_p50_ms": 1.25, "ratio": 2.0}},
        "labelled": 0,
        "comparison": None,
    }


def left(world: World, commit: str, content: str) -> None:
    folder = world.home / "shadows" / commit[:12]
    (folder / "failed").mkdir(parents=True, exist_ok=True)
    (folder / "failed/monday").write_text("it crashed")
    (folder / "report.json").write_text(content)


@pytest.fixture
def tried(world: World) -> str:
    """A release, and the commit whose model main lets staging try beside it."""
    release = world.release("first")
    commit = world.train("second")
    declared = release_file.render(Release(commit=release, shadow=commit), "staging")
    world.lab.declare("staging", declared.decode())
    world.serve()
    return commit


def test_both_models_are_side_by_side_with_a_picture(world: World, tried: str) -> None:
    html = page.show(13, NOW)
    assert "No comparison yet: a batch has to be scored first" in html
    left(world, tried, json.dumps(figures()))
    html = page.show(13, NOW)
    assert f'<code title="{tried}">{tried[:12]}</code> scores the batches too' in html
    assert "Both models, on 5,200 images of 12 batches" in html
    assert "<td>1.25 ms</td><td>2.51 ms</td>" in html
    assert "fewest first: Bald has 73.10%" in html
    assert re.search('<circle class="point" cx="46[.][12]', html)
    assert html.index(">Bald</th>", html.index('id="shadow"')) < html.index(
        ">Bangs</th>", html.index('id="shadow"')
    )


def test_a_canary_and_its_end_are_there_too(world: World) -> None:
    release, commit = world.release("first"), world.train("second")
    declared = Release(commit=release, canary=commit, share=10)
    world.lab.declare("staging", release_file.render(declared, "staging").decode())
    world.serve()
    left(world, commit, json.dumps(figures() | {"answered": 520}))
    html = page.show(13, NOW)
    assert "answers 10% of the batches in place of that of" in html
    assert '<th scope="col">Canary</th>' in html
    assert '<th scope="row">images answered since this share</th><td></td><td>520</td>' in html
    world.lab.verify("staging", commit, "rejected")
    world.serve()
    html = page.show(13, NOW)
    assert "answers nothing any more: rejected in staging: mean accuracy" in html


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 9}'])
def test_a_damaged_report_leaves_the_rest(world: World, tried: str, content: str) -> None:
    left(world, tried, content)
    assert shadow.read(world.home, tried) == shadow.Shadow(tried, 1)
    assert "No comparison yet: it failed on 1 batches" in page.show(13, NOW)


def test_without_a_shadow_the_page_has_no_such_part(world: World, tmp_path: Path) -> None:
    world.release("first")
    world.serve()
    assert 'id="shadow"' not in page.show(13, NOW)
    assert shadow.read(tmp_path, "a" * 40).figures is None
