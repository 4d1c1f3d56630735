"""The hooks that look for what must not be in the repository find it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gitops.git.repository import Repository
from tests.support.command import captured

ROOT = Path(__file__).resolve().parents[1]
# Put together here, so that the scanner does not find them in this file.
TOOL = "scripts/tool.sh"
AWS = "AKIA" + "QYLPMN5HFIQR7XYA"
GITHUB = "ghp_" + "wWPw5k4aXcaT4f" + "NP0UcnZwJUVFk6LO0pINUx"  # pragma: allowlist secret


def hook(name: str) -> list[str]:
    hooks = YAML(typ="safe").load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (one,) = [one for one in hooks if one["id"] == name]
    return [word.replace(TOOL, str(ROOT / TOOL)) for word in shlex.split(one["entry"])]


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
        (('run: make "$TARGET"', 'run: echo "${{ github.head_ref }}"'), "template-injection"),
        (("@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0", "@v7"), "unpinned-uses"),
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


def plain_english(path: Path, text: str) -> list[str]:
    """Return the wordings that the hook finds in a file."""
    path.write_text(text)
    script = Path(hook("plain-english")[-1])
    done = captured([sys.executable, ROOT / script, path.name], cwd=path.parent)
    lines = done.stdout.splitlines()
    assert done.returncode == int(bool(lines)), done.stderr
    return [line.removeprefix(f"{path.name}:").partition(" -> ")[0].replace(": ", ":") for line in lines]


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("The page shows the model,\nand what ships.", "2:what"),
        ("It is what the gate refuses.", "1:what"),
        ("# Gates\n\n`gitops check` says no.", "3:says"),
        ("The log says: what now?", "1:says"),
        ("People are told of it.", "1:told"),
        ("The gate holds the model\nagainst the incumbent.", "1:holds the model against"),
        ("A number; a boolean is none.", "1:is none"),
        ("Always giving the commoner answer.", "1:commoner answer"),
        ("A difference of more than\nchance.", "1:more than chance"),
        ("The table has rows. Compared are both models.", "1:Compared are"),
        ("```sh\nmake up\n```\n\nThe model is made anew.", "5:anew"),
        ("| gate | what it limits |", "1:what"),
    ],
)
def test_wordings_to_avoid_are_found(tmp_path: Path, text: str, wording: str) -> None:
    assert plain_english(tmp_path / "page.md", f"{text}\n") == [wording]


@pytest.mark.parametrize(
    "text",
    [
        "## What to do next",
        "What should you do? Read the log.",
        "Open the log to find out what failed, and see what\nchanged.",
        "Take a few of them, say, ten. What if there are fewer?",
        "Tell the scheduler to stop. You can tell a cat from a dog. A line tells you so.",
        "None of them runs, because there is none.",
        "Both hands hold the cup. The wall is against the north side.",
        "By chance, the ledge held. Embedded databases are small.",
        "`gitops what it says` prints it.",
        "```text\nrefused: what it says\n```",
        "<!-- what it says -->",
        '[a link](what-it-says.md) and *What it says*, or "what it says"',
    ],
)
def test_ordinary_wordings_are_not_found(tmp_path: Path, text: str) -> None:
    assert plain_english(tmp_path / "page.md", f"{text}\n") == []


def test_wordings_are_found_in_comments_docstrings_and_messages_of_python(tmp_path: Path) -> None:
    text = '''"""Return what
the gate says."""

said = {"what": 1, "says": 2}  # held against each other
message = f"{said} was told by {said}"
what = told(f"the {what}")
# What they share
'''
    wordings = ["1:what", "2:says", "4:held against", "5:told", "7:What"]
    assert plain_english(tmp_path / "module.py", text) == wordings


def test_wordings_are_found_in_comments_of_other_files(tmp_path: Path) -> None:
    text = """# What the environments share
name: what it says  # told by the log
url: https://example.org/#what
"""
    assert plain_english(tmp_path / "settings.yaml", text) == ["1:What", "2:told"]


def checkout(folder: Path) -> None:
    """Copy the code that is checked for imports."""
    for name in ("dags", "infra", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("src/gitops/git/repository.py", "import face_attributes.params", "gitops and the model code"),
        ("src/face_attributes/params.py", "import gitops.errors", "the model code imports nothing"),
        ("src/gitops/errors.py", "import dashboard.page", "infra imports dashboard, serving and gitops"),
        ("dags/visage_dags/checks.py", "from gitops import errors", "a DAG imports gitops.tasks"),
        ("src/gitops/errors.py", "from gitops.cli import review", "floors of gitops"),
        ("src/face_attributes/params.py", "import face_attributes.cli", "floors of face_attributes"),
        ("src/gitops/floorless.py", "", "floors of gitops"),
    ],
)
def test_an_import_through_a_wall_or_up_the_floors_is_found(
    tmp_path: Path, module: str, line: str, contract: str
) -> None:
    checkout(tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\ndef inside() -> None:\n    {line or 'pass'}\n")
    done = captured(hook("import-linter"), cwd=tmp_path)
    assert done.returncode == 1
    broken = done.stdout.partition("Broken contracts")[2]
    assert contract in " ".join(broken.split()), done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "src/dashboard/page.py",
        "src/drawn_faces/face.py",
        "src/face_attributes/params.py",
        "src/gitops/errors.py",
        "dags/ml_pipeline_dag.py",
        "infra/new_dag.py",
    ],
)
def test_an_undeclared_import_is_found(tmp_path: Path, module: str) -> None:
    checkout(tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    with (tmp_path / module).open("a") as file:
        # The workspace has it, and no distribution declares it.
        file.write("\nimport babel\n")
    done = captured(hook("deptry"), cwd=tmp_path)
    assert done.returncode == 1
    assert f"{module}:" in done.stderr
    assert "DEP003 'babel'" in done.stderr


def test_a_second_worktree_uses_the_tools_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    first, second = tmp_path / "first", tmp_path / "second"
    repository = Repository(first)
    first.mkdir()
    repository.git("init", "--quiet")
    repository.git("update-ref", "refs/heads/main", repository.commit_files(None, {"file": b""}, "Start"))
    repository.git("worktree", "add", "--quiet", "--detach", str(second), "refs/heads/main")
    for checkout in (first, second):
        (checkout / "scripts").mkdir()
        shutil.copy(ROOT / TOOL, checkout / TOOL)
    done = captured([str(second / TOOL), "show", "it"], cwd=tmp_path)
    assert done.returncode == 1
    # A shell warns of a locale that is not installed.
    assert done.stderr.splitlines()[-2:] == [
        f"Cannot run show: {second}/.venv/bin/show is not there",
        f"Next: make -C {second} setup",
    ]
    (first / ".venv/bin").mkdir(parents=True)
    (first / ".venv/bin/show").write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\n')
    (first / ".venv/bin/show").chmod(0o755)
    assert captured([str(second / TOOL), "show", "it"], cwd=tmp_path).stdout == f"{second}/src it\n"
    assert captured([str(first / TOOL), "show", "it"], cwd=tmp_path).stdout == " it\n"
    # A shell prints where `cd` leads with it, and looks there first
    found = captured([TOOL, "show", "it"], cwd=first, env=os.environ | {"CDPATH": f"{second}:."})
    assert found.stdout == " it\n"
