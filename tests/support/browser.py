"""A real browser for pages."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from selenium import webdriver

_AXE = "axe-core@4.14.1"
_SHA512 = "1477dafa598d8d065f273d6af302aa203c02e831"  # pragma: allowlist secret


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


def axe_core(folder: Path) -> str:
    """Return the source of axe-core, from the registry of npm."""
    subprocess.run(
        ["npm", "pack", _AXE, "--silent", "--pack-destination", folder], check=True, timeout=300, cwd=folder
    )
    (archive,) = folder.glob("*.tgz")
    assert hashlib.sha512(archive.read_bytes()).hexdigest().startswith(_SHA512)
    with tarfile.open(archive) as files:
        source = files.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


def violations(driver: webdriver.Chrome, axe: str) -> list[str]:
    """Return what axe-core finds wrong with the page that is open."""
    driver.set_script_timeout(120)
    driver.execute_script(axe)
    script = (
        "axe.run().then(result => arguments[0](result.violations.map(rule => "
        "`${rule.id}: ${rule.help}: ${rule.nodes.slice(0, 3).map(node => node.html.slice(0, 200))}`)))"
    )
    return driver.execute_async_script(script)
