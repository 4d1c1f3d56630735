from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dashboard.world import World


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], World]:
    """Make an environment by its name; this process is then one of its own."""
    return lambda environment: World(tmp_path / environment, environment, monkeypatch.setenv)


@pytest.fixture
def world(make_world: Callable[[str], World]) -> World:
    return make_world("staging")
