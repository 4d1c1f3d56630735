"""The site of the documentation: built without a warning, every page in its menu, nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from selenium.webdriver.common.by import By

from infra.local import waiting
from tests.docs.pages import ROOT, pages
from tests.support.browser import chrome

# What a browser fetches by itself; where a reader may go by a click is another matter.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|srcset|data)=[\"']?(https?:)?//"
    r"|<link\b(?![^>]*rel=[\"']?canonical)[^>]*?\bhref=[\"']?(https?:)?//"
    r"|@import\s+(?:url\()?[\"']?(https?:)?//|url\([\"']?(https?:)?//"
)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout; what it says comes without colours."""
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    built.stdout = re.sub(r"\x1b\[[0-9;]*m", "", built.stdout)
    return built


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "checkout"
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    return folder


@pytest.fixture(scope="module")
def site(checkout: Path) -> Path:
    built = build(checkout)
    assert built.returncode == 0, built.stdout
    assert "warning" not in built.stdout.lower()
    return checkout / "site"


def menu(entries: object) -> list[str]:
    """The pages in a menu, whatever it is nested in."""
    if isinstance(entries, str):
        return [entries]
    values = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in values for page in menu(entry)]


def test_every_page_is_in_the_menu_once() -> None:
    shown = menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    there = [page.path.relative_to("docs").as_posix() for page in pages() if page.path.is_relative_to("docs")]
    assert len(shown) == len(set(shown))
    # A runbook is what a notice links to: that of a new DAG need not be in the menu.
    assert {path for path in there if not path.startswith("runbooks/")} <= set(shown) <= set(there)


def test_every_page_is_built_with_its_headings(site: Path) -> None:
    for page in pages():
        if page.path.is_relative_to("docs"):
            name = page.path.with_stem("index") if page.path.stem == "README" else page.path
            html = (site / name.relative_to("docs")).with_suffix(".html").read_text()
            for heading in page.headings:
                assert f'id="{heading.anchor}"' in html, f"{page.path}: {heading.text}"


def test_lists_on_the_site_have_the_items_that_they_have_on_github(site: Path) -> None:
    """The site wants a paragraph or a block of code in an item indented by four spaces, GitHub by three."""
    for page in pages():
        if page.path.is_relative_to("docs"):
            name = page.path.with_stem("index") if page.path.stem == "README" else page.path
            html = (site / name.relative_to("docs")).with_suffix(".html").read_text()
            article = html[html.index("<article") : html.index("</article>")]
            assert len(re.findall(r"<li\b", article)) == page.list_items, page.path


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 10
    assert [str(path) for path in files if FETCHED.search(path.read_text())] == []


def test_no_mark_of_a_block_is_shown(site: Path) -> None:
    html = (site / "write-a-dag.html").read_text()
    shown = re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL)
    assert "place: engine" not in shown
    assert "airflow dags list-import-errors" in re.sub(r"<[^>]+>", "", shown)


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs/releases.md"
    before = page.read_text()
    for link in ("[x](no-such-page.md)", "[x](gates.md#no-such-heading)"):
        page.write_text(f"{before}\n{link}\n")
        built = build(tmp_path)
        assert built.returncode != 0, link
        assert "releases.md" in built.stdout


@pytest.mark.parametrize(
    ("html", "fetches"),
    [
        ('<script src="https://cdn.example.org/x.js"></script>', True),
        ("<img alt=x src=//example.org/x.png>", True),
        ('<link rel="stylesheet" href="https://fonts.example.org/css">', True),
        ("@import url(https://example.org/x.css)", True),
        ('<link rel="canonical" href="https://example.org/">', False),
        ('<a href="https://example.org/">there</a>', False),
        ('<script src="assets/x.js"></script><a href="https://example.org">x</a>', False),
        ('<svg xmlns="http://www.w3.org/2000/svg">', False),
    ],
)
def test_what_a_browser_would_fetch_is_told_from_what_a_reader_may_follow(html: str, fetches: bool) -> None:
    assert bool(FETCHED.search(html)) is fetches


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    """The site on the loopback."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.system("chromium", "chromedriver")
def test_a_browser_reads_every_page_on_a_phone_and_asks_nobody_else(
    site: Path, served: str, tmp_path: Path
) -> None:
    browser = chrome(tmp_path / "profile", log=True)

    def width() -> int:
        return browser.execute_script("return document.documentElement.scrollWidth")

    try:
        phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        for path in sorted(site.rglob("*.html")):
            browser.get(f"{served}/{path.relative_to(site)}")
            # A script of the page, which runs a while after it is loaded, lets wide tables scroll.
            assert waiting.wait_until(lambda: width() <= phone["width"], seconds=60, pause=0.05), (
                f"{path.name} is {width()} pixels wide"
            )
            asked = browser.execute_script(
                "return performance.getEntriesByType('resource').map(one => one.name)"
            )
            assert [name for name in asked if not name.startswith(served)] == []
            assert browser.get_log("browser") == [], path.name
    finally:
        browser.quit()


@pytest.mark.system("chromium", "chromedriver")
@pytest.mark.parametrize("system", ["light", "dark"])
def test_a_picture_follows_the_switch_of_the_site(system: str, served: str, tmp_path: Path) -> None:
    browser = chrome(tmp_path / "profile")
    try:
        feature = {"name": "prefers-color-scheme", "value": system}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(f"{served}/index.html")
        scheme = "return getComputedStyle(document.querySelector('article img')).colorScheme"
        assert browser.execute_script(scheme) == system
        switch = "form[data-md-component=palette] label:not([hidden])"
        browser.find_element(By.CSS_SELECTOR, switch).click()
        assert browser.execute_script(scheme) == ("dark" if system == "light" else "light")
    finally:
        browser.quit()
