"""dvc.yaml: each stage names what it reads, and a fresh clone runs."""

import ast
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from face_attributes.common import paths
from face_attributes.params import Params
from tests.support.command import captured

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"
PACKAGE = SOURCES / "face_attributes"
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
PLOTS = YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]


def module_of(name: str) -> Path | None:
    """Return the file of a module of this project, given its dotted name."""
    path = SOURCES / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported_by(module: str) -> set[Path]:
    """Return the files of this project that a module imports, itself included, however far away."""
    seen: set[Path] = set()
    waiting = [module]
    while waiting:
        file = module_of(waiting.pop())
        if file is None or file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return seen


def outputs(stage):
    return [
        next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"] + stage.get("metrics", [])
    ]


def test_what_python_leaves_behind_changes_no_stage():
    left = "src/drawn_faces/__pycache__/face.cpython-311.pyc"
    command = ["dvc", "check-ignore", left]
    done = captured(command, cwd=ROOT)
    assert done.stdout.strip() == left, done.stderr


MODULES = {
    "collect": "data.collect",
    "prepare": "contract.run",
    "tune": "training.tune",
    "train": "training.train",
    "export": "model.export",
    "evaluate": "evaluation.evaluate",
    "card": "card.card",
    "reference": "evaluation.reference",
}
# The values of the parameters count, and DVC tracks them; the package's own files
# hold its name, and a variable that changes no result.
NEUTRAL = {PACKAGE / "params.py", PACKAGE / "__init__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_folders_of_all_the_code_that_it_runs(stage):
    folders = [ROOT / path for path in STAGES[stage]["deps"] if path.startswith("src/")]
    assert all(folder.is_dir() for folder in folders)
    code = imported_by(f"face_attributes.{MODULES[stage]}") - NEUTRAL
    if stage not in ("collect", "evaluate"):
        # These two draw faces; others import the drawing only beside other code of `data`.
        code = {file for file in code if file.parent != SOURCES / "drawn_faces"}
    for file in code:
        assert any(file.is_relative_to(folder) for folder in folders), file
    used = {folder for folder in folders if any(file.is_relative_to(folder) for file in code)}
    assert used == set(folders), "a folder that the stage does not use makes it run again for nothing"


def test_an_edit_of_monitoring_or_of_a_report_trains_nothing(tmp_path):
    """DVC itself says which stages an edit changes."""
    repository = tmp_path / "repository"
    shutil.copytree(SOURCES, repository / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, repository / name)
    run = partial(subprocess.run, cwd=repository, check=True, capture_output=True, text=True, timeout=120)
    run(["dvc", "init", "--quiet", "--no-scm"])
    stages = YAML(typ="safe").load(repository / "dvc.yaml")["stages"]
    for stage in stages.values():
        for path in stage["deps"] + outputs(stage):
            if not path.startswith("src/"):
                target = repository / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("x") if target.suffix else target.mkdir(exist_ok=True)
    run(["dvc", "commit", "--quiet", "--force"])
    assert run(["dvc", "status", "--json"]).stdout.strip() == "{}"
    for path in ("monitoring/drift.py", "monitoring/score.py", "evaluation/plots.py", "cli.py"):
        with (repository / "src/face_attributes" / path).open("a") as file:
            file.write("# edited\n")
    changed = set(json.loads(run(["dvc", "status", "--json"]).stdout))
    assert changed == {"evaluate", "reference"}
    run(["dvc", "commit", "--quiet", "--force"])
    for path in ("src/face_attributes/contract/limits.py", "data/contract.yaml"):
        with (repository / path).open("a") as file:
            file.write("# edited\n")
    # The outputs of this stage stay the same, and so no later one runs
    assert set(json.loads(run(["dvc", "status", "--json"]).stdout)) == {"prepare"}


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
    in_code = {str(value) for name, value in vars(paths).items() if name.isupper()}
    in_code -= {"data/contract.yaml", "data/forgotten.json", "data/labelled", "data/licences.yaml"}
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
        done = captured(command, cwd=clone, env=environment, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tracked = captured(["git", "ls-files", "-z"], cwd=ROOT, check=True).stdout
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
