"""CML is installed by version and SHA-256, or not at all."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]
CML = b"#!/bin/sh\necho cml\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose only way to the internet is a `curl` that writes CML to the file it is told."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/cml.sh", tmp_path / "scripts")
    (tmp_path / "infra").mkdir()
    shutil.copy(ROOT / "infra/cml.txt", tmp_path / "infra")
    (tmp_path / "cml").write_bytes(CML)
    (tmp_path / "bin").mkdir()
    script = f"#!/bin/sh\nwhile [ $# -gt 1 ]; do [ $1 = --output ] && cp {tmp_path}/cml $2; shift; done\n"
    (tmp_path / "bin/curl").write_text(f'{script}echo "$1" > {tmp_path}/asked\n')
    (tmp_path / "bin/curl").chmod(0o755)
    return tmp_path


def run(checkout: Path, *options: str) -> tuple[int, str]:
    path = f"{checkout}/bin:/usr/local/bin:/usr/bin:/bin"
    done = captured([checkout / "scripts/cml.sh", *options], env={"PATH": path})
    return done.returncode, done.stdout + done.stderr


def unpinned(checkout: Path) -> None:
    file = checkout / "infra/cml.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], f"{lines[-1].split()[0]} unknown"]) + "\n")


def test_without_a_digest_nothing_is_downloaded(checkout: Path) -> None:
    unpinned(checkout)
    status, output = run(checkout)
    assert status == 1
    assert "Next: make pin-cml\n" in output
    assert not (checkout / "asked").exists()


def test_a_pinned_release_is_installed_and_another_file_of_it_is_not(checkout: Path) -> None:
    unpinned(checkout)
    digest = hashlib.sha256(CML).hexdigest()
    status, output = run(checkout, "--pin")
    assert (status, digest in output) == (0, True)
    assert (checkout / "infra/cml.txt").read_text().endswith(f" {digest}\n")
    assert run(checkout) == (0, "")
    assert (checkout / ".venv/bin/cml").read_bytes() == CML
    assert "/iterative/cml/releases/download/v" in (checkout / "asked").read_text()

    (checkout / ".venv/bin/cml").unlink()
    (checkout / "cml").write_bytes(CML + b"more")
    status, output = run(checkout)
    assert (status, "nothing was installed" in output) == (1, True)
    assert not (checkout / ".venv/bin/cml").exists()
