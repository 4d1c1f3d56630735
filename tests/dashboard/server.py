"""A real api-server of one environment, with the page in it, and a real browser in front of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from gitops.release import settings
from infra.local import port, variables
from tests.dashboard.world import ROOT
from tests.support.browser import chrome
from tests.support.waiting import wait_for

USERS = {"airflow": "admin", "reader": "viewer", "oncall": "user"}
PASSWORDS = {name: name for name in USERS}
_AIRFLOW = (sys.executable, "-m", "airflow")


@dataclass(frozen=True)
class Server:
    """Where an api-server answers; `path` is what its base URL has behind the host."""

    port: int
    path: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}{self.path}"

    def log_in(self, user: str = "airflow") -> requests.Session:
        """Return a session with the cookie that a browser gets."""
        session = requests.Session()
        answer = session.post(
            f"{self.url}/auth/token", json={"username": user, "password": PASSWORDS[user]}, timeout=30
        )
        answer.raise_for_status()
        session.cookies.set("_token", answer.json()["access_token"])
        return session


@contextmanager
def serve(
    folder: Path, environment: str, own: Mapping[str, str], database: Path, path: str = "", *options: str
) -> Iterator[Server]:
    """Run an api-server with the settings of an environment; `database` is made where it is not there.

    `options` are options of its command line.
    """
    server = Server(port.unused(), path, folder / "api-server.log")
    home = folder / "airflow"
    (home / "config").mkdir(parents=True)
    for asset in variables.ASSETS.rglob("*.py"):
        shutil.copy(asset, home / asset.relative_to(variables.ASSETS))
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    environ = {
        **variables.inherit(os.environ),
        **settings.load(environment, ROOT).variables,
        "AIRFLOW__API__BASE_URL": server.url,
        **own,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(server.port),
        "AIRFLOW__API__SECRET_KEY": "secret" * 8,  # pragma: allowlist secret
        "AIRFLOW__API_AUTH__JWT_SECRET": "secret" * 8,  # pragma: allowlist secret
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow_local_settings.hostname",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in USERS.items()
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
    }
    if not database.exists():
        subprocess.run(
            [*_AIRFLOW, "db", "migrate"], env=environ, check=True, timeout=300, capture_output=True
        )
        accounts = [sys.executable, ROOT / "infra/airflow/prepare.py", "accounts"]
        subprocess.run(accounts, env=environ, check=True, timeout=300, capture_output=True)
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            [*_AIRFLOW, "api-server", *options], env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: _answers(server, process), seconds=120)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _answers(server: Server, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, server.log.read_text()[-3000:]
    try:
        return requests.get(f"{server.url}/api/v2/version", timeout=5).ok
    except requests.ConnectionError:
        return False


class Browser:
    """A headless Chromium with a profile of its own, and no connections but those to this machine."""

    def __init__(self, profile: Path, *, dark: bool = False) -> None:
        self.driver = chrome(profile, log=True)
        self.dark(dark)

    def dark(self, dark: bool) -> None:
        """Pretend that the system asks for a dark or a light page."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def wide(self, width: int, height: int = 900) -> None:
        """Take the width of a screen, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def log_in(self, server: Server, user: str = "airflow") -> None:
        """Log in by Airflow's own form, without the cookies of an earlier server: they ignore the port."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.get(f"{server.url}/")
        self.wait("input[name=username]").send_keys(user)
        self.driver.find_element(By.CSS_SELECTOR, "input[name=password]").send_keys(PASSWORDS[user])
        self.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        self.wait("[data-testid=nav-sidebar]")

    def wait(self, selector: str, seconds: float = 60) -> WebElement:
        """Return the first element that matches, once it is shown."""

        def shown(driver: webdriver.Chrome) -> WebElement | None:
            return next(
                (one for one in driver.find_elements(By.CSS_SELECTOR, selector) if one.is_displayed()), None
            )

        element = WebDriverWait(self.driver, seconds).until(shown)
        assert element
        return element

    def complaints(self) -> list[str]:
        """Return what the page has complained of in the console since this was last asked."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def close(self) -> None:
        self.driver.quit()
