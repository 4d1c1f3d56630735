"""A test touches no home but its own, finds DVC, and what did not run is named."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
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
    done = run(tmp_path, TESTS, "--numprocesses", workers)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, heading, name, closing = filter(None, done.stdout.splitlines())
    assert "1 tests did not run here; make test-all runs them" in heading
    assert name == "test_some.py::test_long"
    assert "4 passed" in closing


def test_what_is_installed_is_found_though_no_environment_is_activated(tmp_path: Path) -> None:
    test = f"import shutil\ndef test_dvc():\n    assert shutil.which('dvc') == {str(BIN / 'dvc')!r}\n"
    done = run(tmp_path, test, "--numprocesses", "0", PATH=os.defpath)
    assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path, tests: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run tests beside a copy of the conftest, in a process of their own."""
    shutil.copy(conftest.__file__, folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    (folder / "test_some.py").write_text(tests)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-m", "not long", *options],
        cwd=folder,
        # Plugins that are not asked for take seconds to load.
        env=os.environ
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)}
        | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
