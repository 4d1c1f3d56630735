"""FAB's auth manager in a real api-server: one setting, and the users of the settings with their roles."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from selenium.webdriver.common.by import By

from tests.dashboard.server import PASSWORDS, USERS, Browser, Server, serve

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fab")
    own = {
        "AIRFLOW__CORE__AUTH_MANAGER": FAB,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles"),
        "VISAGE_HOME": str(folder / "home"),
        "HOME": os.environ["HOME"],
    }
    # As on Kubernetes, behind a proxy that people reach by https
    with serve(folder, "prod", own, folder / "airflow.db", "", "--proxy-headers") as found:
        yield found


@pytest.mark.parametrize(
    ("user", "start", "change", "administer"),
    [("reader", 403, 403, 403), ("oncall", 404, 403, 403), ("airflow", 404, 201, 200)],
)
def test_a_role_may_do_its_own_and_no_more(
    server: Server, user: str, start: int, change: int, administer: int
) -> None:
    session = server.log_in(user)
    session.headers["Authorization"] = f"Bearer {session.cookies['_token']}"
    assert session.get(f"{server.url}/api/v2/dags", timeout=30).status_code == 200
    run = {"logical_date": None}
    answer = session.post(f"{server.url}/api/v2/dags/no_such_dag/dagRuns", json=run, timeout=30)
    assert answer.status_code == start
    variable = {"key": f"of_{user}", "value": "x"}
    assert session.post(f"{server.url}/api/v2/variables", json=variable, timeout=30).status_code == change
    assert session.get(f"{server.url}/auth/fab/v1/users", timeout=30).status_code == administer
    # The page Visage asks for the right to read the monitoring DAG
    assert session.get(f"{server.url}/visage/static/style.css", timeout=30).status_code == 200


def test_a_wrong_password_and_no_login_are_refused(server: Server) -> None:
    for username, password in (("airflow", "wrong"), ("nobody", "airflow")):
        body = {"username": username, "password": password}
        assert requests.post(f"{server.url}/auth/token", json=body, timeout=30).status_code == 401
    for path in ("/api/v2/dags", "/visage/", "/auth/fab/v1/users"):
        assert requests.get(f"{server.url}{path}", timeout=30).status_code == 401


def test_no_password_is_in_the_log(server: Server) -> None:
    assert "assword for user" not in server.log.read_text()


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_behind_tls_a_browser_sends_the_cookie_of_a_login_by_tls_alone(
    server: Server, scheme: str, secure: bool
) -> None:
    address, session = f"{server.url}/auth/login/", requests.Session()
    session.headers.update({"X-Forwarded-Proto": scheme, "Referer": f"{scheme}://localhost:{server.port}/"})
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', session.get(address, timeout=30).text)
    assert token
    form = {"username": "airflow", "password": PASSWORDS["airflow"], "csrf_token": token[1]}
    session.post(address, data=form, allow_redirects=False, timeout=30)
    # The page to which a login leads
    answer = session.get(f"{server.url}/auth/", allow_redirects=False, timeout=30)
    (cookie,) = [one for one in answer.cookies if one.name == "_token"]
    assert cookie.secure is secure


@pytest.mark.system("chromium", "chromedriver")
@pytest.mark.parametrize("user", USERS)
def test_a_person_of_each_role_logs_in_by_the_form(server: Server, tmp_path: Path, user: str) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.driver.get(f"{server.url}/auth/login/")
        browser.wait("input[name=username]").send_keys(user)
        browser.driver.find_element(By.CSS_SELECTOR, "input[name=password]").send_keys(PASSWORDS[user])
        browser.driver.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
        browser.wait("[data-testid=nav-sidebar]")
        assert [line for line in browser.complaints() if "Content Security Policy" in line] == []
    finally:
        browser.close()
