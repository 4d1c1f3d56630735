"""The page in a real browser, with a real service: by keyboard, on a phone, in the dark."""

import asyncio
import base64
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from serving.errors import RefusedError
from serving.search import outputs
from tests.serving.conftest import ONE, TWO, plain, png, running
from tests.support.browser import axe_core, chrome, violations
from tests.support.waiting import wait_for


def test_the_page_loads_nothing_from_elsewhere_and_no_other_site_may_frame_it(live):
    page = requests.get(live.url, timeout=10)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "Do not use it to decide anything about a person." in page.text
    for name in ("page.css", "page.js", "colors.css"):
        content = requests.get(f"{live.url}/static/{name}", timeout=10)
        assert content.ok
        assert "://" not in content.text.replace("http://www.w3.org/2000/svg", "")


def test_an_explanation_has_a_map_for_each_attribute(live):
    image = plain(0)
    image[:, :80] = 255
    face = requests.post(f"{live.url}/explain", files={"file": png(image)}, timeout=60).json()["faces"][0]
    assert list(face["maps"]) == ["Red", "Green", "Blue"]
    assert face["attributes"]["Red"]["present"] is False
    # Covering a part of the black half makes red likelier, and of the white half unlikelier
    red = np.array(face["maps"]["Red"])
    assert red[:, :4].max() == 0
    assert red[1:-2, 8:-2].min() > 0
    assert base64.b64decode(face["picture"]).startswith(b"\xff\xd8")


def test_another_release_answers_the_same_photograph(live):
    content = png(plain(255))
    listed = requests.get(f"{live.url}/releases", timeout=10).json()
    assert {"release": TWO, "environments": ["dev", "staging"]} in listed
    done = requests.post(f"{live.url}/compare", params={"release": TWO}, files={"file": content}, timeout=120)
    assert (done.json()["release"], done.json()["error"]) == (TWO, None)
    assert live.answers(ONE)
    unknown = requests.post(
        f"{live.url}/compare", params={"release": "4" * 40}, files={"file": content}, timeout=60
    )
    assert unknown.status_code == 404


@pytest.fixture(scope="module")
def searched(tmp_path_factory, models):
    """A service whose environment has scored three faces; the photograph of one of them is kept."""
    home = tmp_path_factory.mktemp("searched") / "home"
    day = home / "scores/date=2026-01-05"
    day.mkdir(parents=True)
    columns = {"id": ["a.png", "b.png", "c.png"], "face": [1, 1, 1], "release": [ONE] * 3}
    for name, values in {"Red": [0.9, 0.8, 0.1], "Green": [0.1, 0.7, 0.1], "Blue": [0.1] * 3}.items():
        columns |= {name: [value >= 0.5 for value in values], f"{name}_score": values}
    pq.write_table(pa.table(columns), day / "monday.parquet")
    (home / "scored/monday").mkdir(parents=True)
    (home / "scored/monday/a.png").write_bytes(png(plain(255)))
    (home / "secret.png").write_bytes(png(plain(9)))
    with running(home, models) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        yield service


def test_scored_images_are_found_by_their_attributes(searched):
    found = requests.get(f"{searched.url}/search", params={"has": "Red", "lacks": "Green"}, timeout=60).json()
    (face,) = found["faces"]
    assert (face["id"], face["batch"], face["day"], face["release"]) == ("a.png", "monday", "2026-01-05", ONE)
    assert face["attributes"] == {"Red": 0.9, "Green": 0.1}
    assert base64.b64decode(face["picture"]).startswith(b"\xff\xd8")
    refused = requests.get(f"{searched.url}/search", params={"has": "Nonsense"}, timeout=60)
    assert refused.status_code == 422
    assert "no attribute of this release" in refused.json()["error"]
    (line,) = [json.loads(line) for path in searched.home.glob("readings/*.jsonl") for line in path.open()]
    assert datetime.fromisoformat(line.pop("at")) <= datetime.now(UTC)
    saw = {"has": ["Red"], "lacks": ["Green"], "pictures": {"monday": 1}}
    assert line == {"format": 1, "client": "127.0.0.1", **saw}


def test_no_photograph_is_shown_that_nobody_can_record(searched):
    shutil.rmtree(searched.home / "readings", ignore_errors=True)
    (searched.home / "readings").write_text("in the way")
    hidden = requests.get(f"{searched.url}/search", params={"has": "Red", "lacks": "Green"}, timeout=60)
    assert hidden.status_code == 503
    assert "nobody could record it" in hidden.json()["error"]
    (searched.home / "readings").unlink()


def search_of(code: str) -> tuple[bytes, bytes]:
    async def searched() -> tuple[bytes, bytes]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
        try:
            return await outputs(process, 1 << 20)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return asyncio.run(searched())


@pytest.mark.parametrize("code", ["while True: print('x' * 65536)", "print('x' * (1 << 20))"])
def test_an_answer_that_is_too_long_is_refused(code):
    with pytest.raises(RefusedError, match="more than 1 MiB"):
        search_of(code)


def test_an_answer_of_the_largest_size_is_taken():
    assert search_of("print('x' * ((1 << 20) - 1))")[0].endswith(b"x\n")


def test_complaints_without_end_take_no_memory():
    output, complaints = search_of(
        "import sys; print(1); [sys.stderr.write('x' * 65536) for _ in range(200)]"
    )
    assert output == b"1\n"
    assert complaints == b"x" * 65536


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    return axe_core(tmp_path_factory.mktemp("axe"))


@pytest.fixture
def browser(tmp_path):
    driver = chrome(tmp_path / "profile", log=True)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.mark.system("chromium", "chromedriver", "npm")
@pytest.mark.long
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_photograph_on_the_page(searched, browser, axe, two_faces, tmp_path, width, scheme):
    photograph = Path(tmp_path / "party.png")
    photograph.write_bytes(two_faces)
    wait = WebDriverWait(browser, 120)

    def one(selector):
        return browser.find_element(By.CSS_SELECTOR, selector)

    def until(selector):
        wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, selector) or one("#problem").text)
        assert one("#problem").text == ""

    emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(searched.url)
    until("#choices select")
    assert ONE[:12] in one("#release").text
    one("#file").send_keys(str(photograph))
    until(".face")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".face")) == 2
    assert len(browser.find_elements(By.CSS_SELECTOR, ".box")) == 2
    assert ONE[:12] in one("#caption").text
    browser.execute_async_script(
        """const file = document.getElementById("file").files[0], [done] = arguments, asked = window.fetch;
        let answer;
        window.fetch = (...request) =>
            new Promise((resolve) => { answer = () => resolve(asked(...request)); });
        choose(new File(["slow"], "slow.png"));
        window.fetch = asked;
        choose(file);
        setTimeout(() => { answer(); setTimeout(done, 3000); }, 100);"""
    )
    until("#caption")
    assert "party.png: 2 faces" in one("#caption").text, "the answer to an earlier photograph comes too late"
    one(".why button").send_keys(Keys.ENTER)
    until("canvas[aria-label]")
    one("#compare button").send_keys(Keys.ENTER)
    until("#comparison table")
    Select(one("#choices select[name=Red]")).select_by_value("has")
    one("#search button").send_keys(Keys.ENTER)
    until("#found img")
    wide = """return [...document.querySelectorAll("*")]
        .filter(one => one.getBoundingClientRect().right > innerWidth && !one.closest("#choices"))
        .map(one => one.tagName + "." + one.className + "#" + one.id)"""
    assert browser.execute_script(wide) == [], "nothing is wider than the screen"
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert violations(browser, axe) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert json.loads(browser.execute_script("return JSON.stringify([...document.cookie])")) == []
