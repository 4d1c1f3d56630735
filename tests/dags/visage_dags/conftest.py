"""An environment dev that no Airflow runs, on a git repository of the test."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Make the given repository the one that releases come from."""
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "dev")
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path / "home"))

    def to(url: str) -> None:
        connection = json.dumps({"conn_type": "git", "host": url})
        monkeypatch.setenv("AIRFLOW_CONN_GIT_DEFAULT", connection)

    return to
