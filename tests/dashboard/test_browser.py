"""The page in a real api-server, looked at with a real browser, in each environment's settings."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from selenium.webdriver.common.by import By

from tests.dashboard.server import Browser, Server, serve
from tests.dashboard.world import World
from tests.support.environments import ENVIRONMENTS

pytestmark = [
    pytest.mark.system("chromium", "chromedriver"),
    pytest.mark.long,
    pytest.mark.timeout(600),
]

# As wide as a phone, and as a laptop.
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("database") / "airflow.db"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    try:
        yield browser
    finally:
        browser.close()


def frame(browser: Browser) -> None:
    """Go into the frame that Airflow shows the page in."""
    browser.driver.switch_to.frame(browser.wait("iframe[title=Visage]"))
    browser.wait("footer")


def fits(browser: Browser) -> bool:
    """Whether nothing is wider than the screen."""
    script = "return document.documentElement.scrollWidth <= innerWidth"
    return bool(browser.driver.execute_script(script))


def own(complaints: list[str]) -> list[str]:
    """Leave out what Airflow's own pages complain of: what its login asks for, and the sandbox it sets."""
    return [line for line in complaints if "/ui/" not in line and "allow-same-origin" not in line]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_without_anything(
    environment: str, make_world: Callable[[str], World], database: Path, browser: Browser, tmp_path: Path
) -> None:
    world = make_world(environment).serve()
    with serve(tmp_path / "server", environment, world.variables, database) as server:
        browser.wide(1280)
        browser.log_in(server)
        # The menu at the left leads there, and Airflow's frame passes the session on.
        browser.wait("[data-testid=nav-sidebar] a[href*='plugin/visage']").click()
        frame(browser)
        assert browser.driver.find_element(By.TAG_NAME, "h1").text == f"Visage {environment}"
        assert not browser.driver.find_elements(By.TAG_NAME, "figure")
        assert own(browser.complaints()) == []
        head = "return getComputedStyle(document.querySelector('.top')).backgroundColor"
        assert "oklch" in browser.driver.execute_script(head)
        browser.driver.switch_to.default_content()
        for width in WIDTHS:
            browser.wide(width)
            browser.driver.get(f"{server.url}/visage/")
            browser.wait("footer")
            assert fits(browser), width


def test_a_year_below_a_path(
    make_world: Callable[[str], World], database: Path, browser: Browser, tmp_path: Path
) -> None:
    world = make_world("staging")
    world.release("first", 0.951)
    world.release("second", 0.962)
    world.serve().year(until=datetime.now(UTC).date())
    with serve(tmp_path / "server", "staging", world.variables, database, "/staging") as server:
        refuses_strangers(server, world)
        session = server.log_in("reader")
        # Airflow's menu shows it before anybody opens the page.
        assert session.get(f"{server.url}/visage/static/icon.svg", timeout=30).ok
        seconds = []
        for _ in range(5):
            begun = time.monotonic()
            assert session.get(f"{server.url}/visage/", params={"weeks": 52}, timeout=30).ok
            seconds.append(time.monotonic() - begun)
        assert max(seconds) < 2, seconds
        browser.wide(1280)
        browser.log_in(server)
        browser.driver.get(f"{server.url}/plugin/visage")
        frame(browser)
        assert len(browser.driver.find_elements(By.CSS_SELECTOR, "figure svg[role=img]")) == 4
        browser.driver.find_element(By.LINK_TEXT, "year").click()
        browser.wait("a[aria-current][href='?weeks=52#labels']")
        # A report opens in the frame, and leads back.
        links = browser.driver.find_elements(By.CSS_SELECTOR, ".checks a[href^='reports/']")
        assert len(links) == 52
        browser.driver.execute_script("arguments[0].click()", links[0])
        browser.wait("td.number")
        assert browser.driver.find_elements(By.CSS_SELECTOR, "iframe") == []
        browser.driver.find_element(By.PARTIAL_LINK_TEXT, "All checks").click()
        browser.wait("#checks")
        assert own(browser.complaints()) == []
        browser.driver.switch_to.default_content()
        for dark in (False, True):
            browser.dark(dark)
            for width in WIDTHS:
                browser.wide(width)
                browser.driver.get(f"{server.url}/visage/?weeks=52")
                browser.wait("footer")
                browser.driver.execute_script(
                    "document.querySelectorAll('details').forEach(one => one.open = true)"
                )
                assert fits(browser), width
        # What its reader chose in Airflow outweighs what the system asks for.
        background = "return getComputedStyle(document.body).backgroundColor"
        assert browser.driver.execute_script(background) == "rgb(17, 17, 19)"
        browser.driver.execute_script("localStorage.setItem('theme', 'light')")
        browser.driver.refresh()
        browser.wait("footer")
        assert browser.driver.execute_script(background) == "rgb(255, 255, 255)"


def refuses_strangers(server: Server, world: World) -> None:
    """Fail where any path of the real server gives something to somebody without a session."""
    [run, *_] = sorted(path.parent.name for path in world.home.glob("monitoring/*/drift.json"))
    names = ("style.css", "theme.js", "times.js", "icon.svg", "icon-dark.svg", "colours.css")
    report = (f"reports/{run}/", "nowhere", "docs", "openapi.json")
    for path in ("", *report, *(f"static/{name}" for name in names)):
        for headers in ({}, {"Cookie": "_token=forged"}, {"Authorization": "Bearer forged"}):
            answer = requests.get(f"{server.url}/visage/{path}", headers=headers, timeout=30)
            # To a token that is none, Airflow says 403 everywhere.
            assert answer.status_code == (403 if headers else 401), path
            assert run not in answer.text
