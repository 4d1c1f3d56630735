"""The hooks that look for what must not be in the repository find it."""

import shlex
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]
# Put together here, so that the scanner does not find them in this file.
AWS = "AKIA" + "QYLPMN5HFIQR7XYA"
GITHUB = "ghp_" + "wWPw5k4aXcaT4f" + "NP0UcnZwJUVFk6LO0pINUx"  # pragma: allowlist secret


def hook(name: str) -> list[str]:
    hooks = YAML(typ="safe").load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (one,) = [one for one in hooks if one["id"] == name]
    return [word.replace(".venv", str(ROOT / ".venv"), 1) for word in shlex.split(one["entry"])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"aws_access_key_id = {AWS}\n", True),
        (f"token: {GITHUB}\n", True),
        ('password = "Tr0ub4dor-and-3"\n', True),  # pragma: allowlist secret
        ("postgresql://me:" + "tru7h@db/visage\n", True),
        ('password = "hunter2"\n', False),
        ("DEFAULT_PASSWORD=airflow\n", False),
    ],
)
def test_secrets_are_found(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "file.env").write_text(text)
    done = captured([*hook("secrets"), "file.env"], cwd=tmp_path)
    assert done.returncode == int(found), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("run: make setup", 'run: echo "${{ github.head_ref }}"'), "template-injection"),
        (("@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5", "@v5"), "unpinned-uses"),
    ],
)
def test_unsafe_workflows_are_found(tmp_path: Path, change: tuple[str, str], finding: str) -> None:
    folder = tmp_path / ".github" / "actions" / "setup"
    folder.mkdir(parents=True)
    text = (ROOT / ".github/actions/setup/action.yml").read_text()
    (folder / "action.yml").write_text(text)
    command = hook("zizmor")

    def run() -> subprocess.CompletedProcess[str]:
        return captured(command, cwd=tmp_path)

    assert run().returncode == 0
    (folder / "action.yml").write_text(text.replace(*change))
    done = run()
    assert done.returncode != 0
    assert finding in done.stdout
