"""What did not run is named, whether one process runs the tests or several."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

TESTS = """
import pytest

@pytest.mark.long
def test_long():
    pass

@pytest.mark.parametrize("number", range(4))
def test_short(number):
    pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_tests_that_are_left_out_are_named(workers: str, tmp_path: Path) -> None:
    shutil.copy(conftest.__file__, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-m", "not long", "--numprocesses", workers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, heading, name, closing = filter(None, done.stdout.splitlines())
    assert "1 tests did not run here; make test-all runs them" in heading
    assert name == "test_some.py::test_long"
    assert "4 passed" in closing
