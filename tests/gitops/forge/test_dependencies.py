"""The pull request with newer versions of packages."""

from pathlib import Path

import pytest

from gitops.errors import ForgeError
from gitops.forge.dependencies import LOCK, check, propose
from tests.support.forge import Forge
from tests.support.forge_server import client
from tests.support.lab import Lab

ROOT = Path(__file__).resolve().parents[3]
OLD = b"typer==1.0 \\\n    --hash=sha256:" + b"0" * 64 + b"\n    # via gitops\ntorch==2.0\n"
NEW = OLD.replace(b"1.0", b"1.1").replace(b"0" * 64, b"1" * 64)


def test_the_lock_of_the_repository_is_one() -> None:
    check((ROOT / LOCK).read_bytes())


@pytest.mark.parametrize(
    "line",
    [
        b"--index-url https://elsewhere.example/simple",
        b"--extra-index-url=https://elsewhere.example",
        b"-e .",
        b"typer @ https://elsewhere.example/typer.whl",
        b"typer>=1",
        b"https://elsewhere.example/typer.whl",
        b"typer==1 ; python_version > '3' --config-settings=x=y",
        "# via\u2028--index-url https://elsewhere.example/simple".encode(),
    ],
)
def test_a_line_that_names_another_source_is_refused(line: bytes) -> None:
    with pytest.raises(ForgeError, match=r"requirements\.lock:[56]: neither a version"):
        check(OLD + line + b"\n")


def test_one_pull_request_that_is_updated_and_closed(lab: Lab, hub: Forge) -> None:
    lab.land({LOCK: OLD})
    github = client(hub, **{"pull-requests": "write", "contents": "write"})

    def proposed(content: bytes) -> str:
        tip = lab.state().tip
        return propose(github, lab.clone, tip, "origin", content, "Measured.").partition(",")[0]

    assert proposed(OLD) == "up to date"
    assert hub.pulls == {}
    assert proposed(NEW) == "opened"
    (pull,) = hub.pulls.values()
    assert "| typer | 1.0 | 1.1 |" in pull.body
    assert "torch" not in pull.body
    assert "\nMeasured.\n" in pull.body
    head = hub.head(pull)
    assert lab.origin.changed(lab.tip, head) == [LOCK]
    assert proposed(NEW) == "left as it is"
    assert hub.head(pull) == head
    lab.land({"README.md": b"News\n"})
    proposed(NEW)
    assert lab.origin.is_ancestor(lab.tip, hub.head(pull))
    assert proposed(OLD) == "up to date"
    assert pull.state == "closed"
