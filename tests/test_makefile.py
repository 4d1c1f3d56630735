import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gitops.repository import Repository

ROOT = Path(__file__).resolve().parents[1]


def test_help_has_a_line_for_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    ).stdout
    listed = dict(re.findall(r"\x1b\[1m(\S+)\s*\x1b\[0m (\S.*)", shown))
    assert set(listed) == set(targets[1].split())


def test_ci_calls_what_a_person_calls() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert re.findall(r"^make .*$", script, re.MULTILINE) == ["make lint", "make test"]


def test_setup_keeps_the_cache_of_dvc_where_no_other_user_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(
        ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    installed = tmp_path / ".venv"
    (installed / "bin").mkdir(parents=True)
    (installed / "bin/dvc").symlink_to(Path(sys.executable).with_name("dvc"))
    for name in ("requirements.lock", "pyproject.toml", ".venv/.installed"):
        (tmp_path / name).touch()
    Repository(tmp_path).git("init", "--quiet")
    made = installed / "dvc-site-cache"
    subprocess.run(["make", str(made.relative_to(tmp_path))], cwd=tmp_path, check=True, timeout=60)
    assert made.stat().st_mode & 0o777 == 0o700
    said = subprocess.run(
        ["dvc", "doctor"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert f"Repo.site_cache_dir: {made}/" in said
