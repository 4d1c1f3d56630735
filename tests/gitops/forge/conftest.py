from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.forge_server import serve
from tests.support.lab import Lab


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[Forge]:
    """A GitHub that has the lab's origin as its repository."""
    forge = Forge(tmp_path / "github")
    forge.repository.path.parent.mkdir(parents=True)
    forge.repository.path.symlink_to(lab.origin.path)
    with serve(forge):
        yield forge
