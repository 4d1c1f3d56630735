"""A test touches no home but its own, and what did not run is named, however many processes run the tests."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

ROOT = Path(__file__).resolve().parents[1]
WHEN_LOADED = os.environ["HOME"]
TESTS = """
import pytest

@pytest.mark.long
def test_long():
    pass

@pytest.mark.parametrize("number", range(4))
def test_short(number):
    pass
"""


def test_modules_are_loaded_and_tests_run_in_homes_of_their_own(isolated_home: Path) -> None:
    homes = {pwd.getpwuid(os.getuid()).pw_dir, WHEN_LOADED, os.environ["HOME"]}
    assert len(homes) == 3
    assert Path.home() == isolated_home


@pytest.mark.parametrize("workers", ["0", "2"])
def test_tests_that_are_left_out_are_named(workers: str, tmp_path: Path) -> None:
    shutil.copy(conftest.__file__, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-m", "not long"]
    done = subprocess.run(
        [*command, "--numprocesses", workers],
        cwd=tmp_path,
        # Plugins that are not asked for take seconds to load.
        env=os.environ
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, heading, name, closing = filter(None, done.stdout.splitlines())
    assert "1 tests did not run here; make test-all runs them" in heading
    assert name == "test_some.py::test_long"
    assert "4 passed" in closing
