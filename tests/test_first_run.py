"""The whole of it, as a newcomer runs it: a fresh clone to a model that runs in prod, and back to nothing."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from gitops.git.repository import Repository
from gitops.release import file as release_file
from infra.local import waiting
from tests.support.browser import chrome
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]

METRICS = "metrics/evaluation.json"

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


class Clone:
    """A fresh clone of this repository, with ports of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(path)], check=True, timeout=60)
        names = ("VISAGE_DEV_PORT", "VISAGE_STAGING_PORT", "VISAGE_PROD_PORT")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))

    def make(self, target: str, *variables: str, timeout: float = 1800) -> str:
        """Run a target and return what it printed; fail with that when it fails."""
        done = subprocess.run(
            ["make", target, *variables],
            cwd=self.path,
            env=os.environ | {name: str(port) for name, port in self.ports.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"make {target}:\n{done.stdout[-8000:]}"
        return done.stdout

    def status(self) -> dict[str, dict[str, Any]]:
        command = [".venv/bin/gitops", "status", "--json"]
        done = captured(command, cwd=self.path)
        return {row["environment"]: row for row in json.loads(done.stdout)}

    def git(self, *args: str) -> str:
        return captured(["git", *args], cwd=self.path, check=True).stdout

    def processes(self) -> list[psutil.Process]:
        """Everything that carries this clone's mark."""
        mark = str(self.path / ".visage")
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("VISAGE_INSTANCE") == mark:
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone that is up; whatever happens, it is down at the end."""
    clone = Clone(tmp_path_factory.mktemp("first-run") / "visage")
    try:
        yield clone
    finally:
        clone.make("down")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own, and no connections but those to this machine."""
    driver = chrome(tmp_path / "profile")
    try:
        yield driver
    finally:
        driver.quit()


def wait(browser: webdriver.Chrome, selector: str) -> WebElement:
    """The first element that matches, once it is there."""
    shown = expected_conditions.element_to_be_clickable((By.CSS_SELECTOR, selector))
    return WebDriverWait(browser, 60).until(shown)


def test_a_fresh_clone_comes_up_with_a_model_in_prod(clone: Clone) -> None:
    output = clone.make("up")
    rows = clone.status()
    assert all(row["agree"] for row in rows.values()), output
    assert rows["prod"]["running"] == rows["staging"]["running"]
    assert rows["prod"]["verified"]
    assert rows["prod"]["mean_accuracy"] > 0.9
    assert len(rows["prod"]["model_sha256"]) == 64
    assert list((clone.path / ".visage/prod/data/scores").glob("date=*/*.parquet"))
    assert clone.git("status", "--porcelain") == "", "the checkout is as it was"
    state = clone.path / ".visage"
    assert state.stat().st_mode & 0o777 == 0o700, "no other user may enter"
    photographs = [*(state / "dev/data").rglob("*.jpg"), *(state / "prod/data").rglob("*.jpg")]
    assert photographs
    assert [path for path in photographs if path.stat().st_mode & 0o077] == []


@pytest.mark.system("chromium", "chromedriver")
def test_one_browser_is_logged_into_all_three(clone: Clone, browser: webdriver.Chrome) -> None:
    access = json.loads((clone.path / ".visage/access.json").read_text())
    for account in access.values():
        browser.get(account["web"])
        wait(browser, "input[name=username]").send_keys(account["username"])
        browser.find_element(By.CSS_SELECTOR, "input[name=password]").send_keys(account["password"])
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        wait(browser, "a[href*=dags]")
    for name, account in access.items():
        browser.get(f"{account['web']}/dags")
        wait(browser, "a[href*=dags]")
        assert browser.title.endswith(f"Visage {name}")
        assert not browser.find_elements(By.CSS_SELECTOR, "input[name=password]")


def test_up_again_does_nothing_again(clone: Clone) -> None:
    before = clone.git("ls-remote", "visage")
    pids = {process.pid for process in clone.processes()}
    clone.make("up")
    assert clone.git("ls-remote", "visage") == before
    assert pids & {process.pid for process in clone.processes()}


def scheduler(clone: Clone) -> psutil.Process | None:
    """The scheduler of prod, without its children."""
    for process in clone.processes():
        leads = process.pid == os.getpgid(process.pid)
        if leads and process.environ().get("VISAGE_SERVICE") == "prod/scheduler":
            return process
    return None


def test_what_was_killed_comes_back_and_the_status_says_so(clone: Clone) -> None:
    victim = scheduler(clone)
    assert victim
    victim.kill()
    victim.wait(30)
    assert waiting.wait_until(lambda: scheduler(clone) is not None, seconds=60, pause=1)
    clone.make("up")
    assert "scheduler: ended, and was started again, once" in clone.make("status")
    assert all(row["agree"] for row in clone.status().values())


def test_a_model_whose_claim_is_false_gives_way_by_itself(clone: Clone) -> None:
    clone.git("fetch", "--quiet", "visage")
    repository = Repository(clone.path)
    # The commit, as every look at the status fetches and moves the reference
    main = repository.resolve("refs/remotes/visage/main")
    honest = {name: row["running"] for name, row in clone.status().items()}
    claim = json.loads(repository.read(main, METRICS) or b"")
    claim["mean_accuracy"] += 0.01
    params = repository.read(main, "params.yaml") or b""
    # Past every check, as somebody does who may push to main
    false = repository.commit_files(
        main, {METRICS: json.dumps(claim).encode(), "params.yaml": params + b"# Better\n"}, "Claim more"
    )
    declared = {
        release_file.path_of("prod"): release_file.render(release_file.Release(commit=false), "prod"),
        release_file.path_of("staging"): release_file.render(release_file.Release(commit=false), "staging"),
    }
    tip = repository.commit_files(false, declared, "Run it everywhere")
    repository.push("visage", {"refs/heads/main": tip})

    def fell_back() -> bool:
        rows = clone.status()
        tags = clone.git("ls-remote", "--tags", "visage")
        return all(
            f"refs/tags/rejected/{name}/" in tags
            and row["running"] == honest[name]
            and row["verified"] is False
            and not row["agree"]
            for name, row in rows.items()
        )

    assert waiting.wait_until(fell_back, seconds=420, pause=5), clone.status()
    # No flapping: refused is refused, at each of the refreshes that follow
    until = time.monotonic() + 45
    while time.monotonic() < until:
        assert {name: row["running"] for name, row in clone.status().items()} == honest
        time.sleep(3)
    states = [
        json.loads(path.read_text()) for path in (clone.path / ".visage").glob("*/**/release/release.json")
    ]
    assert len(states) == 3
    assert all(" rejected " in state["refused"] for state in states), states
    logs = [path.read_text() for path in (clone.path / ".visage").glob("*/logs/dag-processor.log")]
    said = [[line for line in log.splitlines() if ": refused; " in line] for log in logs]
    assert [len(lines) for lines in said] == [1, 1, 1], f"not at every refresh: {said}"
    assert all(" rejected " in lines[0] for lines in said), said

    back = {
        METRICS: repository.read(main, METRICS),
        "params.yaml": params,
        **{
            release_file.path_of(name): repository.read(main, release_file.path_of(name))
            for name in ("staging", "prod")
        },
    }
    repository.push("visage", {"refs/heads/main": repository.commit_files(tip, back, "Take it back")})
    agree = waiting.wait_until(
        lambda: all(row["agree"] for row in clone.status().values()), seconds=120, pause=5
    )
    assert agree


def test_down_leaves_no_process_and_clean_no_trace(clone: Clone) -> None:
    clone.make("down")
    assert clone.processes() == []
    clone.make("clean", "YES=1")
    assert not (clone.path / ".visage").exists()
    assert clone.git("remote") == "origin\n"
    assert clone.git("for-each-ref", "refs/gitops") == ""
    assert clone.git("status", "--porcelain") == ""
