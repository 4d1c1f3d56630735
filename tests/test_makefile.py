import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gitops.git.repository import Repository
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]


def test_help_has_a_line_for_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets
    shown = captured(["make", "help"], cwd=ROOT, check=True).stdout
    listed = dict(re.findall(r"\x1b\[1m(\S+)\s*\x1b\[0m (\S.*)", shown))
    assert set(listed) == set(targets[1].split())


def test_ci_calls_what_a_person_calls() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert re.findall(r"^make .*$", script, re.MULTILINE) == ["make lint", "make test"]


@pytest.mark.parametrize("fails", ["", "lint", "test"])
def test_ci_prints_how_long_each_part_took(fails: str, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    lines = [f"{part}:\n\t@echo {part} runs\n\t@{part != fails}\n" for part in ("lint", "test")]
    (tmp_path / "Makefile").write_text("".join(lines).replace("@True", "@true").replace("@False", "@false"))
    done = captured([".ci/run"], cwd=tmp_path)
    expected = ["lint runs", "make lint: 0 min 00 s", "test runs", "make test: 0 min 00 s"]
    assert re.sub(r"\d\d s$", "00 s", done.stdout, flags=re.MULTILINE).splitlines() == (
        expected[:2] if fails == "lint" else expected
    )
    assert (done.returncode != 0) == bool(fails)


def test_ci_skips_only_hooks_that_are_tests() -> None:
    (skipped,) = re.findall(r"^export SKIP=(.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = {hook["id"]: hook["entry"] for hook in hooks}
    assert all("-m pytest" in entries[name] for name in skipped.split(","))


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
    for name in ("infra/uv.txt", "requirements.lock", "pyproject.toml", ".venv/.installed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    Repository(tmp_path).git("init", "--quiet")
    made = installed / "dvc-site-cache"
    subprocess.run(["make", str(made.relative_to(tmp_path))], cwd=tmp_path, check=True, timeout=60)
    assert made.stat().st_mode & 0o777 == 0o700
    said = captured(["dvc", "doctor"], cwd=tmp_path, check=True).stdout
    assert f"Repo.site_cache_dir: {made}/" in said


def test_logs_follow_every_process_of_an_environment(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = captured(["make", "logs", "ENV=prod"], cwd=tmp_path)
    assert done.returncode != 0
    assert "Cannot follow the logs: prod has none here\nNext: make up\n" in done.stderr
    for name in ("dev", "prod"):
        folder = tmp_path / ".visage" / name / "logs"
        folder.mkdir(parents=True)
        (folder / "scheduler.log").write_text(f"{name} starts\n")
    following = subprocess.Popen(
        ["make", "--silent", "logs", "ENV=prod"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert following.stdout
        lines = iter(following.stdout.readline, "")
        assert next(line for line in lines if "starts" in line) == "prod starts\n"
        with (tmp_path / ".visage/prod/logs/scheduler.log").open("a") as log:
            log.write("prod goes on\n")
        assert next(line for line in lines if line.strip()) == "prod goes on\n"
    finally:
        following.terminate()
        following.wait(10)


def test_settings_of_a_user_send_no_package_elsewhere(tmp_path: Path) -> None:
    """Recipes put packages into .venv, whatever a person has set for their own installations."""
    theirs = {"PIP_USER": "1", "PIP_TARGET": "/t", "PIP_PREFIX": "/p", "PIP_ROOT": "/r", "PYTHONHOME": "/h"}
    theirs |= {"PYTHONPATH": "/first/src", "PYTHONSAFEPATH": "1", "CDPATH": "/c", "PIP_CONSTRAINT": "/none"}
    theirs |= {"UV_OVERRIDE": "/none", "UV_EXCLUDE_NEWER": "2020-01-01", "UV_NO_BINARY": "1"}
    kept = {"PIP_INDEX_URL=i", "PIP_FIND_LINKS=/w", "UV_CACHE_DIR=/c", "UV_INDEX=i", "PIP_DEFAULT_TIMEOUT=9"}
    choices = dict(line.split("=") for line in kept)
    command = ["make", "--silent", "--eval", "show: ; @env", "show"]
    shown = captured(command, cwd=ROOT, env=os.environ | theirs | choices, check=True).stdout.splitlines()
    assert {"PIP_USER=0", *kept} <= {*shown}
    assert [line for line in shown if line.split("=")[0] in theirs] == ["PIP_USER=0"]


def test_the_venv_of_another_checkout_is_not_used(tmp_path: Path) -> None:
    """Its programs name their folder: they run the code of that checkout, or nothing."""
    checkout = tmp_path / "my visage"
    programs = checkout / ".venv/bin"
    programs.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", checkout)
    for name in ("infra/uv.txt", "requirements.lock", "pyproject.toml", ".venv/.installed"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch()

    def steps() -> str:
        return captured(["make", "--just-print", "setup"], cwd=checkout, check=True).stdout

    (programs / "gitops").write_text(f"""#!/bin/sh\n'''exec' "{programs}/python" "$0" "$@"\n' '''\n""")
    assert "rm -r .venv" not in steps()
    (programs / "gitops").write_text("#!/somewhere/else/.venv/bin/python\n")
    assert "rm -r .venv\n" in steps()
    (checkout / ".venv").rename(tmp_path / "first")
    (checkout / ".venv").symlink_to(tmp_path / "first")
    assert "rm -r .venv" not in steps()
    os.utime(tmp_path / "first/.installed", (0, 0))
    refused = captured(["make", "setup"], cwd=checkout).stderr
    assert "Cannot make .venv: it is a link to that of another checkout" in refused
    assert "Next: rm .venv && make setup\n" in refused


def test_a_checkout_has_the_line_ends_of_unix_on_every_system(tmp_path: Path) -> None:
    windows = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    files = [
        "dvc.yaml",
        "params.yaml",
        "scripts/up.sh",
        "environments/dev/settings.env",
        ".ci/run",
        "Makefile",
    ]
    command = ["git", *windows, "checkout-index", "--force", f"--prefix={tmp_path}/", "--", *files]
    captured(command, cwd=ROOT, check=True)
    assert [name for name in files if b"\r" in (tmp_path / name).read_bytes()] == []
