"""A real browser for pages."""

import shutil
from pathlib import Path

from selenium import webdriver


def chrome(profile: Path, *, log: bool = False) -> webdriver.Chrome:
    """Start a headless Chromium with a profile of its own, and no connections but those to this machine.

    `log` keeps what pages say on the console.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    if log:
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
