"""`python -m face_attributes` in a checkout other than the one that the virtual environment knows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run(folder: Path, *options: str, **variables: str) -> str:
    command = [sys.executable, *options, "-m", "face_attributes", "profile", "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_of_the_checkout_runs(tmp_path: Path) -> None:
    code = tmp_path / "src/face_attributes"
    shutil.copytree(ROOT / "src/face_attributes", code, ignore=shutil.ignore_patterns("__pycache__"))
    program = code / "cli.py"
    program.write_text(program.read_text().replace("Merge params.NAME.yaml", "THE NEW CODE"))
    assert "THE NEW CODE" in run(tmp_path)
    assert "THE NEW CODE" in run(tmp_path, "-E")
    assert "THE NEW CODE" in run(tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert "THE NEW CODE" not in run(ROOT)
    assert "THE NEW CODE" in run(code)
    # A release lies in the checkout of the user of an engine
    assert "THE NEW CODE" not in run(code, PYTHONPATH=str(ROOT / "src"))
