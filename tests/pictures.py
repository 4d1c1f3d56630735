"""Take the pictures of the documents, from the engine that `make up` runs here: `make pictures`.

    python -m tests.pictures [--dark FOLDER] [NAME ...]

`airflow`, `visage`, `trigger` and `serving` need a running engine, `refused` a release that dev rejected,
and `checks` an alarm in prod (`make demo-drift`). The page names who released, so start the engine in a clone
with `git config user.name "Ada Lovelace"`. The reports, `board` and `runs` come from a laboratory. `loop`
records a change on its way to prod, so it commits to main and promotes. `--dark` keeps a dark picture of each
page too.
"""

import argparse
import html
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import requests
from markdown_it import MarkdownIt
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from gitops.forge.promotions import describe
from gitops.promotion.promotions import promote
from gitops.text.instructions import meeting
from tests.gitops.gallery import gallery, history
from tests.support.browser import chrome
from tests.support.lab import Lab
from tests.support.scenes import Place, scene

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/pictures"
ACCESS = ROOT / ".visage/access.json"
SECONDS, ROWS, COLUMNS = 60, 27, 110
"""The length of the recording, and the size of its terminal."""
REPORTS = {"report": "good", "report-code": "fork", "promotion": "promotion"}
HISTORY = {"board": 1000, "runs": 1100}
"""The pages of gitops, and their width in pixels."""
PAGES = ("airflow", "visage", "trigger", "serving", "refused", "checks")
CHANGE = "Look for drift every day"
PERSON = "Ada Lovelace"
"""Who releases in the pictures."""
TYPED = (
    """sed -i 's/schedule="@weekly"/schedule="@daily"/' dags/monitoring_dag.py""",
    f'git commit --quiet --all --message "{CHANGE}" && git push --quiet visage HEAD:refs/heads/recorded',
    ".venv/bin/gitops merge recorded",
    ".venv/bin/gitops promote staging --push --wait",
    ".venv/bin/gitops merge promote/staging",
    ".venv/bin/gitops promote prod --push --wait",
    ".venv/bin/gitops merge promote/prod",
    ".venv/bin/gitops log prod",
)
"""The commands of the recording."""
STYLE = """body{font:14px/1.6 sans-serif;margin:12px;width:882px;color:#1f2328;background:#fff}
.c{border:1px solid #d1d9e0;border-radius:6px;margin-bottom:12px}
.c>header{background:#f6f8fa;padding:7px 16px;border-bottom:1px solid #d1d9e0;color:#59636e}
.c>div{padding:4px 16px 12px}table{border-collapse:collapse}td,th{border:1px solid #d1d9e0;padding:6px 13px}
code{background:#eff1f3;padding:2px 5px;border-radius:5px;font-size:12px}details{margin-top:8px}
pre{background:#f6f8fa;padding:12px 16px;border-radius:6px}pre code{background:none;padding:0}"""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@dataclass(frozen=True)
class Line:
    """A line of a recording: the second at which it appears, and its text."""

    at: float
    text: str


class Camera:
    """A headless browser that keeps pictures of pages."""

    def __init__(self, profile: Path, dark: Path | None) -> None:
        self.driver = chrome(profile)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self._dark = dark

    def open(self, environment: str, path: str, width: int, height: int, *, dark: bool = False) -> None:
        """Open a page of an environment's Airflow, logged in."""
        access = json.loads(ACCESS.read_text())[environment]
        login = {"username": access["username"], "password": access["password"]}
        token = requests.post(f"{access['url']}/auth/token", json=login, timeout=30)
        token.raise_for_status()
        self.size(width, height, dark=dark)
        self.driver.get(f"{access['web']}/auth/login")
        self.driver.execute_script("localStorage.setItem('theme', arguments[0])", "dark" if dark else "light")
        self.driver.add_cookie({"name": "_token", "value": token.json()["access_token"], "path": "/"})
        self.driver.get(f"{access['web']}{path}")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def find(self, selector: str) -> WebElement:
        """Return the first shown element of a selector, once there is one."""

        def shown(driver: WebDriver) -> WebElement | None:
            elements = driver.find_elements(By.CSS_SELECTOR, selector)
            return next((one for one in elements if one.is_displayed()), None)

        found = WebDriverWait(self.driver, 90).until(shown)
        assert found is not None
        return found

    def keep(self, name: str, of: str = "html", height: int | None = None, *, dark: bool = False) -> None:
        """Write the picture of an element, at most this high."""
        time.sleep(2)  # Charts and fonts arrive later than the element, and nothing tells when they have
        box = self.driver.execute_script(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}",
            of,
        )
        box["height"] = min(box["height"], height or box["height"])
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": box, "captureBeyondViewport": True}
        )
        self.write(name, shot["data"], dark=dark)

    def write(self, name: str, data: str, *, dark: bool = False) -> None:
        image = Image.open(io.BytesIO(b64decode(data))).convert("RGB").quantize(192)
        folder = self._dark if dark else FOLDER
        assert folder is not None
        image.save(folder / f"{name}.png", optimize=True)
        _say(f"{folder / name}.png: {image.width}x{image.height}")

    def shades(self) -> Sequence[bool]:
        return (False, True) if self._dark else (False,)


def page(camera: Camera, name: str, folder: Path) -> None:
    """Take the picture of one page."""
    for dark in camera.shades():
        if name in ("airflow", "refused"):
            environment, height = {"airflow": ("prod", 374), "refused": ("dev", 268)}[name]
            camera.open(environment, "/", 1000, 900, dark=dark)
            camera.find("[data-testid=nav-sidebar]")
            camera.keep(name, height=height, dark=dark)
        elif name == "visage":
            camera.open("prod", "/visage/", 1000, 900, dark=dark)
            camera.find("#release")
            camera.keep(name, height=760, dark=dark)
        elif name == "checks":
            camera.open("prod", "/visage/", 1000, 900, dark=dark)
            camera.find("#checks")
            camera.driver.execute_script(
                "for (const d of document.querySelectorAll('#checks details')) d.open = true"
            )
            camera.keep(name, of="#checks", height=900, dark=dark)
        elif name == "trigger":
            camera.open("dev", "/dags/ml_pipeline_face_attributes", 1000, 900, dark=dark)
            camera.find("[data-testid=trigger-dag-button]").click()
            field = camera.find("[role=dialog] input[name=element_ref]")
            field.send_keys("whole")
            camera.driver.execute_script("arguments[0].closest('[role=dialog]').id = 'dialog'", field)
            camera.keep(name, of="#dialog", height=640, dark=dark)
        else:
            _serving(camera, folder, dark=dark)


def _serving(camera: Camera, folder: Path, *, dark: bool) -> None:
    party = folder / "party.jpg"
    if not party.exists():
        draw = ["face_attributes", "draw", str(folder / "faces"), "--count", "2", "--seed", "7"]
        subprocess.run([sys.executable, "-m", *draw], cwd=ROOT, check=True, capture_output=True, timeout=120)
        files = sorted((folder / "faces/img_align_celeba").iterdir())
        faces = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        photograph = scene(faces, [Place(190, 190, 170, 12), Place(520, 260, 170, -14)], (720, 480))
        Image.fromarray(photograph).save(party)
    camera.size(788, 1300, dark=dark)
    camera.driver.get("http://127.0.0.1:8182/")
    camera.find("#file").send_keys(str(party))
    camera.find(".face")
    camera.keep("serving", height=1300, dark=dark)


def report(camera: Camera, name: str, text: str, head: str = "") -> None:
    """Take the picture of a report, as a forge shows it."""
    render = MarkdownIt("commonmark", {"html": True}).enable("table").render
    comments = [("<b>github-actions</b> bot commented", text)]
    if head:
        comments.insert(0, ("<b>visage</b> bot opened this pull request", head))
    body = "".join(
        f'<section class="c"><header>{title}</header><div>{render(markdown)}</div></section>'
        for title, markdown in comments
    )
    document = f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}"
    camera.size(906, 1200)
    camera.driver.get(f"data:text/html;base64,{b64encode(document.encode()).decode()}")
    camera.keep(name, height=1150)


def past(camera: Camera, names: Sequence[str], folder: Path) -> None:
    """Take the pictures of the board and of the runs, as `gitops` writes them."""
    lab = Lab(folder / "past")
    history(lab, folder, datetime.now(UTC))
    for name in names:
        file = folder / f"{name}.html"
        command = [sys.executable, "-m", "gitops", name, "--remote", lab.remote, "--html", str(file)]
        subprocess.run(command, cwd=lab.clone.path, check=True, capture_output=True, timeout=120)
        camera.size(HISTORY[name], 900)
        camera.driver.get(file.as_uri())
        camera.keep(name)


def promotion(lab: Lab) -> str:
    """Return the title and the description of the pull request of a promotion."""
    state = lab.state()
    proposal = promote(lab.clone, state, "staging", lab.remote)
    described = describe(lab.clone, state, proposal, meeting("https://github.com/acme/visage"))
    return f"# {proposal.message.splitlines()[0]}\n\n{described}"


def recorded(commands: Sequence[str], folder: Path, variables: dict[str, str]) -> Iterator[Line]:
    """Run commands and yield what a terminal shows, each line with its second."""
    began = time.monotonic()
    for command in commands:
        yield Line(time.monotonic() - began, f"$ {command}")
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=os.environ | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        for line in process.stdout:
            yield Line(time.monotonic() - began, re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip("\n")))
        if process.wait() != 0:
            raise SystemExit(f"{command}: exit status {process.returncode}")


def hurried(lines: Sequence[Line], seconds: float, longest: float = 2.0) -> list[Line]:
    """Return the lines with no wait over `longest`, in at most so many seconds."""
    at, before, found = 0.0, 0.0, []
    for line in lines:
        at += min(line.at - before, longest)
        before = line.at
        found.append(Line(at, line.text))
    factor = min(1.0, seconds / found[-1].at) if found and found[-1].at else 1.0
    return [Line(line.at * factor, line.text) for line in found]


def animated(lines: Sequence[Line], picture: bytes) -> str:
    """Return an SVG that plays lines in a terminal, and shows a page in its last ten seconds."""
    width, high, top = COLUMNS * 8 + 24, 18, 34
    inner = ROWS * high
    texts, scrolls = [], ["0 0"]
    times = ["0"]
    for number, line in enumerate(lines):
        share = f"{min(line.at, SECONDS - 11) / SECONDS:.4f}"
        colour = "#7ee787" if line.text.startswith("$ ") else "#d0d7de"
        shown = html.escape(line.text[:COLUMNS])
        texts.append(
            f'<text y="{number * high}" fill="{colour}" xml:space="preserve" opacity="0">{shown}'
            f"{_switch('opacity', share)}</text>"
        )
        if number >= ROWS:
            scrolls.append(f"0 {-(number - ROWS + 1) * high}")
            times.append(share)
    page = b64encode(picture).decode()
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {inner + top + 12}" role="img"
 aria-label="A terminal: a change of a DAG is merged, promoted to staging and to prod; then the page of prod">
<rect width="{width}" height="{inner + top + 12}" rx="8" fill="#0d1117"/>
<clipPath id="screen"><rect y="{top}" width="{width}" height="{inner}"/></clipPath>
<g clip-path="url(#screen)"><g transform="translate(12 {top + 14})">
<g font-family="monospace" font-size="13"><animateTransform attributeName="transform" type="translate"
 values="{";".join(scrolls)}" keyTimes="{";".join(times)}" calcMode="discrete" dur="{SECONDS}s"
 repeatCount="indefinite"/>{"".join(texts)}</g></g></g>
<image x="12" y="{top}" width="{width - 24}" height="{inner}" opacity="0" preserveAspectRatio="xMidYMin slice"
 href="data:image/png;base64,{page}">{_switch("opacity", f"{(SECONDS - 10) / SECONDS:.4f}")}</image>
</svg>
"""


def _switch(attribute: str, share: str) -> str:
    times = f'keyTimes="0;{share}" calcMode="discrete" dur="{SECONDS}s" repeatCount="indefinite"'
    return f'<animate attributeName="{attribute}" values="0;1" {times}/>'


@contextmanager
def worktree() -> Iterator[Path]:
    """A work tree of main, beside the checkout, with its .venv."""
    folder = ROOT / ".visage/recording"
    git = ["git", "-C", str(ROOT)]
    subprocess.run([*git, "fetch", "--quiet", "visage"], check=True)
    subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(folder), "visage/main"], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    try:
        yield folder
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(folder)], check=True)


def loop(camera: Camera) -> None:
    """Record a change on its way to prod."""
    with worktree() as folder:
        variables = {
            "COLUMNS": str(COLUMNS),
            "GITOPS_ACCESS": str(ACCESS),
            "DVC_GLOBAL_CONFIG_DIR": str(ROOT / ".visage/dvc-config"),
        }
        lines = []
        for line in recorded(TYPED, folder, variables):
            _say(f"{line.at:6.1f} {line.text}")
            lines.append(line)
    camera.open("prod", "/visage/", 1000, 900)
    camera.find("#release")
    camera.keep("visage", height=760)
    (FOLDER / "loop.svg").write_text(
        animated(hurried(lines, SECONDS - 11), (FOLDER / "visage.png").read_bytes())
    )
    _say(f"{FOLDER / 'loop.svg'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the named pictures, or all but the recording."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join((*PAGES, *REPORTS, *HISTORY, 'loop'))}"
    )
    parser.add_argument(
        "--dark", type=Path, metavar="FOLDER", help="also keep dark pictures of the pages here"
    )
    options = parser.parse_args(arguments)
    names = options.names or [*PAGES, *REPORTS, *HISTORY]
    git = ["git", "-C", str(ROOT), "config", "user.name"]
    name = subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip()
    if not {*names} <= {*REPORTS, *HISTORY}:
        if name != PERSON:
            parser.exit(
                2, f'Cannot take pictures: they show your name\nNext: git config user.name "{PERSON}"\n'
            )
        if not ACCESS.exists():
            parser.exit(2, "Cannot take pictures: no engine runs here\nNext: make up\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        camera = Camera(folder / "profile", options.dark)
        try:
            for name in names:
                if name in PAGES:
                    page(camera, name, folder)
            if wanted := [name for name in names if name in REPORTS]:
                lab = Lab(folder / "lab")
                texts = dict(gallery(lab, folder / "trial"))
                for name in wanted:
                    report(camera, name, texts[REPORTS[name]], promotion(lab) if name == "promotion" else "")
            if wanted := [name for name in names if name in HISTORY]:
                past(camera, wanted, folder)
            if "loop" in names:
                loop(camera)
        finally:
            camera.driver.quit()


if __name__ == "__main__":
    main()
