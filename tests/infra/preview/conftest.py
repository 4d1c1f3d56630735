"""A checkout with an origin of its own, as `make up` leaves it, and a branch on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.process import belonging, end
from infra.local.supervisor import Supervisor
from tests.support.checkout import make_checkout

BRANCH = "feature/wider"


@dataclass(frozen=True)
class Bench:
    """A checkout, and people who push to its origin."""

    layout: Layout

    @property
    def checkout(self) -> Repository:
        return Repository(self.layout.checkout)

    @property
    def origin(self) -> Repository:
        return Repository(self.layout.origin)

    def push(self, files: dict[str, bytes | None], branch: str = BRANCH, on: str = "refs/heads/main") -> str:
        """Push a commit, made on any other one, and return it."""
        commit = self.origin.commit_files(self.origin.resolve(on), files, "Change\n")
        self.origin.git("update-ref", f"refs/heads/{branch}", commit)
        self.checkout.fetch("visage")
        return commit


def make_bench(folder: Path) -> Bench:
    layout = Layout(make_checkout(folder / "checkout"))
    origin = Origin(layout)
    origin.prepare()
    origin.enrol(["dev", "staging", "prod"])
    origin.register()
    origin.configure_dvc()
    return Bench(layout)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = make_bench(tmp_path)
    layout = bench.layout
    yield bench
    states = [layout.state, *layout.previews.glob("*/.visage")]
    for state in states:
        Supervisor(state).end()
        end(belonging(state), grace=0)
