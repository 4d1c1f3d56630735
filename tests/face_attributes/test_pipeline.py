"""dvc.yaml: each stage names what it reads, and a fresh clone runs."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from face_attributes import paths
from face_attributes.params import Params

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/face_attributes"
# What these change is how a stage reads and reports, not what it makes
NEUTRAL = {"errors", "files", "params", "paths", "progress", "checkpoints"}
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
PLOTS = YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]


def imported_by(module):
    """Return the project's modules that a module imports, itself included, however far away."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name in NEUTRAL:
            continue
        seen.add(name)
        if (PACKAGE / name).is_dir():
            continue
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = node.module.split(".")
                if parts[0] == "face_attributes":
                    names = parts[1:2] or [alias.name for alias in node.names]
                    waiting += [
                        name
                        for name in names
                        if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
                    ]
    return seen


def outputs(stage):
    return [
        next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"] + stage.get("metrics", [])
    ]


def test_what_python_leaves_behind_changes_no_stage():
    left = "src/face_attributes/synthetic/__pycache__/folder.cpython-311.pyc"
    command = ["dvc", "check-ignore", left]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == left, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_the_code_that_it_runs(stage):
    named = {
        Path(path).relative_to("src/face_attributes").with_suffix("").as_posix()
        for path in STAGES[stage]["deps"]
        if path.startswith("src/")
    }
    assert named == imported_by(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_command_and_says_what_for(stage):
    assert STAGES[stage]["cmd"] == f"python -m face_attributes {stage}"
    assert STAGES[stage]["desc"]


def test_parameters_that_stages_depend_on_exist():
    for stage in STAGES.values():
        for name in stage.get("params", []):
            fields = Params.model_fields
            for part in name.split("."):
                field = fields[part]
                fields = getattr(field.annotation, "model_fields", {})


def test_every_output_has_its_place_in_the_code_and_the_reverse():
    in_code = {str(value) for name, value in vars(paths).items() if name.isupper()} - {"data/labelled"}
    assert {out for stage in STAGES.values() for out in outputs(stage)} == in_code


def test_data_and_models_are_ignored_by_git_and_the_rest_is_not():
    for stage in STAGES.values():
        for out in stage["outs"] + stage.get("metrics", []):
            path = next(iter(out)) if isinstance(out, dict) else out
            kept_by_dvc = not isinstance(out, dict)
            ignored = subprocess.run(
                ["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT, timeout=120, check=False
            )
            assert (ignored.returncode == 0) == kept_by_dvc, path


def test_plots_show_what_stages_write():
    written = {out for stage in STAGES.values() for out in outputs(stage)}
    for plot in PLOTS:
        if isinstance(plot, str):
            assert plot in written
            continue
        (definition,) = plot.values()
        assert set(definition["y"]) <= written
        template = definition["template"]
        assert template == "simple" or (ROOT / f".dvc/plots/{template}.json").is_file()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_fresh_clone_runs_the_small_profile_and_stays_clean(tmp_path):
    clone = tmp_path / "clone"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone / "src"),
    }

    def call(*command):
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for name in filter(None, tracked.split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    (clone / "dvc.lock").unlink(missing_ok=True)
    call("git", "init", "--quiet")
    call("git", "add", "--all")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    call("git", *identity, "commit", "--quiet", "--message", "Everything")

    call("python", "-m", "face_attributes", "profile", "small")
    call("dvc", "repro", "--quiet")
    changed = {line[3:].split("/")[0] for line in call("git", "status", "--porcelain").splitlines()}
    assert changed == {"params.yaml", "dvc.lock", "metrics", "plots", "search"}
    assert "mean_accuracy" in call("dvc", "metrics", "show")
    call("dvc", "plots", "show", "--out", str(tmp_path / "plots"))
    assert (tmp_path / "plots/index.html").is_file()
    assert "up to date" in call("dvc", "repro")
