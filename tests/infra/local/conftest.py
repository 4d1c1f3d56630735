"""A checkout to run the engine from, and processes that a test may leave to its end."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.local.layout import Layout
from infra.local.process import belonging, end
from infra.local.service import Service
from infra.local.supervisor import Supervisor
from tests.support.checkout import make_checkout

PATIENT = "import time; time.sleep(600)"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A checkout with one commit: the settings of this repository, and a DAG folder."""
    layout = Layout(make_checkout(tmp_path / "checkout"))
    yield layout
    Supervisor(layout.state).end()
    end(belonging(layout.state), grace=0)


@pytest.fixture
def service(layout: Layout) -> Callable[[str], Service]:
    """Make services of the checkout by name."""

    def make(name: str) -> Service:
        flat = name.replace("/", "-")
        return Service(name, layout.state, layout.records / f"{flat}.json", layout.logs / f"{flat}.log")

    return make


@pytest.fixture
def start(layout: Layout) -> Callable[..., psutil.Process]:
    """Start a Python program as a service."""
    layout.state.mkdir(parents=True, exist_ok=True)

    def run(service: Service, code: str = PATIENT) -> psutil.Process:
        return service.start([sys.executable, "-c", code], {}, layout.state)

    return run
