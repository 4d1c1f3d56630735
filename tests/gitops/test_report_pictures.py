"""A forge draws every chart of a report, and people can read it."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.gitops.gallery import gallery
from tests.support.command import captured
from tests.support.lab import Lab

MERMAID = "11.17.2"
KINDS = ("good", "worse", "gate", "words", "fork", "broken", "promotion")

# Draws as a forge does, and leaves what came of each chart where `--dump-dom` shows it.
PAGE = """<!doctype html><meta charset="utf-8">
<style>body {{ font: 14px/1.5 sans-serif; width: 860px; margin: 16px }} table {{ border-collapse: collapse }}
td, th {{ border: 1px solid #ccc; padding: 4px 10px }} code {{ background: #eee }}</style>
<body>{body}<pre id="found"></pre><script src="{script}"></script><script>
mermaid.initialize({{startOnLoad: false, theme: "{theme}"}});
mermaid.run({{querySelector: ".mermaid", suppressErrors: true}}).then(() => {{
  const found = [...document.querySelectorAll(".mermaid")].map(one => {{
    const svg = one.querySelector("svg");
    const outer = svg ? svg.getBoundingClientRect() : null;
    const box = r => [r.left - outer.left, r.top - outer.top, r.right - outer.left, r.bottom - outer.top];
    return {{
      error: !svg || svg.getAttribute("aria-roledescription") === "error",
      size: outer ? [outer.width, outer.height] : null,
      texts: [...(svg ? svg.querySelectorAll("text") : [])].map(
        t => [t.textContent, box(t.getBoundingClientRect())]),
      colours: [...new Set([...(svg ? svg.querySelectorAll(".plot rect, .plot path") : [])].map(
        t => t.getAttribute("fill") !== "none" ? t.getAttribute("fill") : t.getAttribute("stroke")))],
    }};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


@pytest.fixture(scope="module")
def mermaid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What forges draw such charts with, from the npm registry."""
    folder = tmp_path_factory.mktemp("mermaid")
    subprocess.run(
        ["npm", "pack", "--silent", f"mermaid@{MERMAID}"],
        cwd=folder,
        check=True,
        timeout=170,
        capture_output=True,
    )
    subprocess.run(["tar", "-xzf", f"mermaid-{MERMAID}.tgz"], cwd=folder, check=True, timeout=60)
    return folder / "package" / "dist" / "mermaid.min.js"


def page(markdown: str, mermaid: Path, theme: str) -> str:
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    body = re.sub(
        r'<pre><code class="language-mermaid">(.*?)</code></pre>',
        r'<div class="mermaid">\1</div>',
        body,
        flags=re.S,
    )
    return PAGE.format(body=body.replace("<details>", "<details open>"), script=mermaid.as_uri(), theme=theme)


def drawn(markdown: str, mermaid: Path, folder: Path, name: str, theme: str = "default") -> list[dict]:
    """Draw a report in a browser, keep the picture, and return what came of each chart."""
    file = folder / f"{name}-{theme}.html"
    file.write_text(page(markdown, mermaid, theme))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--hide-scrollbars", "--window-size=900,5200", "--virtual-time-budget=20000"]
    picture = f"--screenshot={file.with_suffix('.png')}"
    subprocess.run([*command, picture, file.as_uri()], check=True, capture_output=True, timeout=120)
    done = captured([*command, "--dump-dom", file.as_uri()], check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:]
    return list(json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")))


@pytest.mark.system("chromium", "npm")
@pytest.mark.timeout(600)
def test_every_chart_is_drawn_and_can_be_read(lab: Lab, tmp_path: Path, mermaid: Path) -> None:
    reports = dict(gallery(lab, tmp_path / "trial"))
    assert set(reports) == set(KINDS)
    counted = {}
    for name, text in reports.items():
        (tmp_path / f"{name}.md").write_text(text)
        charts = drawn(text, mermaid, tmp_path, name)
        counted[name] = len(charts)
        for chart in charts:
            assert not chart["error"], name
            width, height = chart["size"]
            for label, (left, top, right, bottom) in chart["texts"]:
                inside = left >= -1 and right <= width + 1 and top >= -1 and bottom <= height + 1
                assert inside, (name, label, (left, top, right, bottom), chart["size"])
            assert not _overlapping(chart["texts"]), (name, _overlapping(chart["texts"]))
            assert set(chart["colours"]) <= {"#2f81f7", "#d2760a"}, chart["colours"]
    assert counted == {
        "good": 3,
        "worse": 3,
        "gate": 3,
        "words": 0,
        "fork": 3,
        "broken": 3,
        "promotion": 3,
    }
    assert all(not chart["error"] for chart in drawn(reports["good"], mermaid, tmp_path, "good", "dark"))


@pytest.mark.system("chromium", "npm")
@pytest.mark.timeout(600)
def test_a_chart_that_cannot_be_drawn_is_found_out(tmp_path: Path, mermaid: Path) -> None:
    (chart,) = drawn("```mermaid\nxychart-beta\n    line [1e-9\n```\n", mermaid, tmp_path, "bad")
    assert chart["error"]


def _overlapping(texts: list) -> list:
    found = []
    for number, (one, (left, top, right, bottom)) in enumerate(texts):
        for other, (left2, top2, right2, bottom2) in texts[number + 1 :]:
            # Two pixels are what the boxes of lines of text have in common.
            across = min(right, right2) - max(left, left2)
            down = min(bottom, bottom2) - max(top, top2)
            if across > 2 and down > 4:
                found.append((one, other))
    return found
