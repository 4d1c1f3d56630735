"""A simulated year in a real browser: the length of the page, its contrast, and the zone of its times."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn

from dashboard import app
from dashboard.access import may_read
from infra.local import port
from tests.dashboard.server import Browser
from tests.dashboard.world import World, column, performance
from tests.support.browser import axe_core, violations
from tests.support.figures import ATTRIBUTES
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.system("chromium", "chromedriver", "npm"),
    pytest.mark.long,
    pytest.mark.timeout(600),
]

SCREENS = ((390, 844), (820, 1180), (1280, 800))
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_core(tmp_path_factory.mktemp("axe"))


@pytest.fixture
def year(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A year with a release every other month, and a drift in autumn."""
    for days in range(330, 0, -60):
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_DATE", f"@{int((NOW - timedelta(days=days)).timestamp())} +0000")
        world.release(f"release-{days:03}", 0.962)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_DATE")
    return world.serve().year(until=NOW.date())


def go_wrong(world: World) -> None:
    """Let everything be wrong at once."""
    bad = world.release("bad", 0.97, verdict="rejected")
    world.lab.declare("staging", f"commit: {bad}\nhold: the accuracy fell on the late labels of Monday\n")
    world.serve()
    world.batch(NOW.date(), "many", 9000, quarantined={"not a JPEG": 2000, "160x160 pixels, not 178x218": 40})
    world.check(
        NOW,
        drift={"drifted": True, "columns": {f"{name}_score": column(0.4) for name in ATTRIBUTES[:7]}},
        performance=performance(0.83),
        alarm=["accuracy", "drift"],
        reasons=[
            "Accuracy 83.00% (82.00% to 84.00%) on 640 late labels is too low: the limit is 85.00%",
            "Drift: 7 of 43 columns moved in 9,041 images, most of all 5_o_Clock_Shadow_score",
        ],
    )


@pytest.fixture
def address() -> Iterator[str]:
    """The app on a port of this machine, for a reader who has logged in."""
    made, number = app.make(), port.unused()
    made.dependency_overrides[may_read] = lambda: None
    server = uvicorn.Server(uvicorn.Config(made, host="127.0.0.1", port=number, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, seconds=60)
        yield f"http://127.0.0.1:{number}/"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.mark.parametrize("wrong", [False, True], ids=["calm", "alarm"])
def test_a_year_fits_on_four_screens(
    year: World, address: str, browser: Browser, axe: str, *, wrong: bool
) -> None:
    if wrong:
        go_wrong(year)
    screens: dict[tuple[int, bool], float] = {}
    for dark in (False, True):
        browser.dark(dark)
        for width, height in SCREENS:
            browser.wide(width, height)
            browser.driver.get(f"{address}?weeks=52")
            browser.wait("footer")
            alerts = browser.driver.find_elements("css selector", "[role=alert]")
            assert len(alerts) == (5 if wrong else 0)
            tall, wide = browser.driver.execute_script(
                "const page = document.documentElement; return [page.scrollHeight, page.scrollWidth]"
            )
            screens[width, dark] = tall / height
            assert wide <= width
            assert violations(browser.driver, axe) == []
            browser.driver.execute_script(
                "document.querySelectorAll('details').forEach(one => one.open = true)"
            )
            assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width
            assert violations(browser.driver, axe) == []
    assert {width: number for width, number in screens.items() if number > 4} == {}
    assert browser.complaints() == []


def test_times_are_in_the_zone_that_the_reader_chose_in_airflow(
    world: World, address: str, browser: Browser
) -> None:
    world.release("first")
    world.serve().check(datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC), performance=performance(0.9))

    def last_check(zone: str | None) -> tuple[str, str, str]:
        browser.driver.get(address)
        script = "localStorage.clear(); if (arguments[0]) localStorage.setItem('timezone', arguments[0])"
        browser.driver.execute_script(script, zone)
        browser.driver.get(address)
        shown = browser.wait(".tiles time")
        return shown.text, shown.get_attribute("title") or "", browser.wait("#zone").text

    day = f"{NOW:%Y-%m-%d}"
    assert last_check('"Asia/Tokyo"') == (f"{day} 09:00", f"{day} 00:00 UTC", "Asia/Tokyo")
    before = f"{NOW - timedelta(days=1):%Y-%m-%d}"
    assert last_check('"Pacific/Honolulu"')[0] == f"{before} 14:00"
    # The browser's zone is used where there is no valid choice
    browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    for nonsense in (None, '"Nowhere/Here"', "{", "5"):
        shown, _, zone = last_check(nonsense)
        assert (shown, zone) in [(f"{day} 05:30", "Asia/Kolkata"), (f"{day} 05:30", "Asia/Calcutta")]
    assert browser.complaints() == []
