"""A lab, a DVC remote and a stand-in for GitHub for one test."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.support.forge import Forge
from tests.support.forge_server import serve
from tests.support.lab import Lab

if TYPE_CHECKING:
    from tests.support.bundles import Make


@pytest.fixture(scope="session")
def labs() -> list[Path]:
    """The lab that all others are copies of, once it is made."""
    return []


@pytest.fixture
def lab(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, labs: list[Path]) -> Lab:
    if not labs:
        folder = tmp_path_factory.mktemp("labs") / "lab"
        Lab(folder)
        labs.append(folder)
    return Lab(tmp_path / "lab", labs[0])


@pytest.fixture
def dvc_remote(tmp_path: Path, isolated_home: Path) -> Path:
    """A DVC remote in a folder, which the environment names and the repository does not."""
    folder = tmp_path / "dvc-remote"
    folder.mkdir()
    config = isolated_home / "dvc" / "config"
    config.parent.mkdir()
    config.write_text(
        f"[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = {folder}\n"
    )
    return folder


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    """A stand-in for GitHub, with a repository that has one commit."""
    made = Forge(tmp_path / "github")
    made.repository.path.mkdir(parents=True)
    made.repository.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
    made.repository.git("config", "http.receivepack", "true")
    first = made.repository.commit_files(None, {"a": b"a"}, "Start")
    made.repository.git("update-ref", "refs/heads/main", first)
    with serve(made):
        yield made


@pytest.fixture
def storage(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for what Airflow's bundles store, and the connection to the lab's origin."""
    folder = tmp_path / "bundles"
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(folder))
    connection = {"conn_type": "git", "host": str(lab.origin.path)}
    monkeypatch.setenv("AIRFLOW_CONN_GIT_DEFAULT", json.dumps(connection))
    return folder


@pytest.fixture
def make(storage: Path) -> "Make":
    """Make the bundle that a process of the environment would make, started."""
    from gitops.airflow.bundle import ReleaseBundle
    from tests.support.bundles import UNCHECKED

    def start(environment: str = "staging", **options: object) -> "ReleaseBundle":
        options = UNCHECKED | {"refresh_interval": 10} | options
        bundle = ReleaseBundle(name="release", environment=environment, **options)
        bundle.initialize()
        return bundle

    return start


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the bundle warns of."""
    found: list[str] = []

    def keep(_logger: object, name: str, event: dict[str, object]) -> dict[str, object]:
        if name == "warning":
            arguments = event.get("positional_args", ())
            found.append(str(event["event"]) % arguments if arguments else str(event["event"]))
        return event

    before = structlog.get_config()
    structlog.configure(
        processors=[keep, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.ReturnLoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    yield found
    structlog.configure(**before)
