import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from face_attributes import cli
from face_attributes.evaluation import reference as references
from face_attributes.model.onnx_model import Model
from tests.support.command import captured

ROOT = Path(__file__).parents[2]
STAGES = ("collect", "prepare", "tune", "train", "export", "evaluate")
TOOLS = (
    "score",
    "search",
    "compare",
    "append",
    "gather",
    "draw",
    "gallery",
    "profile",
    "drift",
    "performance",
)
HEAVY = {"torch", "onnxruntime", "evidently", "hyperopt", "sklearn", "pandas", "matplotlib", "cv2", "pyarrow"}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the parameters of the repository, where commands are run."""
    for name in ("params.yaml", "params.small.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command; return its exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["face_attributes", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code or 0
        return code, *capsys.readouterr()

    return call


def complaint(outcome):
    code, out, err = outcome
    assert code == 1
    assert out == ""
    line, following = err.splitlines()
    assert line.startswith("Cannot ")
    assert following.startswith("Next: ")
    return line + "\n"


def test_help_loads_nothing_heavy():
    program = f"""
import sys
from face_attributes.cli import app
try:
    app(["--help"], prog_name="face_attributes")
except SystemExit:
    print(sorted({HEAVY!r} & set(sys.modules)))
"""
    done = captured([sys.executable, "-c", program], check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_tells_a_stranger_what_to_do(run):
    code, out, _ = run("--help")
    assert code == 0
    text = " ".join(out.split())
    assert "face_attributes profile small, then source .venv/bin/activate && dvc repro" in text
    for command in STAGES + TOOLS:
        assert f" {command} " in text


@pytest.mark.parametrize("command", STAGES + TOOLS)
def test_each_command_has_help(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--help" in out


def test_a_command_that_there_is_not(run):
    assert run("traim")[0] == 2


@pytest.mark.parametrize("command", STAGES)
def test_each_stage_minds_its_parameters(run, workplace, edit, command):
    edit(workplace / "params.yaml", {"train.lerning_rate": 0.1})
    assert "train.lerning_rate: unknown, did you mean learning_rate?" in complaint(run(command))


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("prepare", "run the stage collect first"),
        ("tune", "run the stage prepare first"),
        ("train", "run the stage tune first"),
        ("export", "run the stage train first"),
        ("evaluate", "models/model.onnx: no such file"),
    ],
)
def test_each_stage_names_the_one_before_it(run, workplace, command, missing):
    assert missing in complaint(run(command))


def test_celeba_without_a_folder(run, workplace, edit):
    edit(workplace / "params.yaml", {"data.source": "celeba"})
    assert "CELEBA_DIR is not set" in complaint(run("collect"))


def test_a_profile(run, workplace):
    code, out, _ = run("profile", "small")
    assert code == 0
    assert "git restore params.yaml" in out
    assert "profile: small" in (workplace / "params.yaml").read_text()
    assert 'unknown profile "tiny"' in complaint(run("profile", "tiny"))


def test_drawing(run, workplace):
    code, out, _ = run(
        "draw", "faces", "--count", 2, "--held-out", 1, "--light", 0.5, "--marginal", "Eyeglasses=0.3"
    )
    assert (code, out) == (0, "draw: 3 faces in faces\n")
    recipe = json.loads((workplace / "faces/synthetic.json").read_text())
    assert recipe["params"]["marginals"] == {"Eyeglasses": 0.3}
    assert "did you mean Eyeglasses" in complaint(run("draw", "faces", "--marginal", "Eyeglases=0.3"))
    assert "light: " in complaint(run("draw", "faces", "--light", 99))


def test_a_gallery(run, workplace):
    code, _, _ = run("gallery", "--out", "sheet.png", "--count", 2)
    assert code == 0
    assert (workplace / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "data.source: 'cat'" in complaint(run("gallery", "--out", "sheet.png", "--source", "cat"))


def test_scoring(run, made, tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    for face in sorted((made.faces / "img_align_celeba").iterdir())[:3]:
        shutil.copy(face, folder)
    (folder / "bad.jpg").touch()
    out = tmp_path / "scores.parquet"
    code, said, complained = run("score", folder, "--model", made.model, "--out", out, "--release", "abc")
    assert code == 0
    assert said == f"score: 3 faces in {out}, 1 unusable\n"
    assert complained == "quarantine: bad.jpg: empty file\n"
    assert pq.read_table(out).column("release").to_pylist() == ["abc"] * 3
    assert "no such folder" in complaint(run("score", tmp_path / "none", "--model", made.model, "--out", out))


def test_evaluating_any_model(run, made, workplace):
    options = ["--model", made.model, "--holdout", made.holdout, "--out", "figures/one.json"]
    code, _, log = run("evaluate", *options)
    assert code == 0
    assert "mean accuracy" in log
    assert json.loads((workplace / "figures/one.json").read_text())["samples"] > 0
    assert not (workplace / "plots").exists()


def test_comparing_two_models(run, made, workplace):
    options = ["--model", made.model, "--incumbent", made.model, "--out", "figures/two.json"]
    code, _, log = run("compare", *options, "--holdout", made.holdout)
    assert code == 0
    assert "+0.00 points (+0.00 to +0.00); significantly worse: no attribute; latency times " in log
    assert json.loads((workplace / "figures/two.json").read_text())["samples"] > 0
    assert "data/holdout.parquet: " in complaint(run("compare", *options))
    some = ["--holdout", made.holdout, "--batch", "late", "--out", "figures/late.json"]
    code, _, log = run("compare", *options, *some)
    assert code == 0
    assert "has no image of late: nothing to compare" in log
    assert not (workplace / "figures/late.json").exists()
    assert run("compare", "--model", made.model)[0] == 2


def test_monitoring(run, made, tmp_path):
    folder, reference = tmp_path / "scores/date=2026-01-05", tmp_path / "reference.parquet"
    faces, digest = made.faces / "img_align_celeba", Model(made.model).sha256
    references.reference(made.model, made.sample, reference, made.raw.parent / "people.csv")
    assert run("score", faces, "--model", made.model, "--out", folder / "monday.parquet")[0] == 0
    (tmp_path / "labels").mkdir()
    listed = (made.faces / "list_attr_celeba.txt").read_text()
    (tmp_path / "labels/monday.txt").write_text(listed)
    options = ["--reference", reference, "--model-sha256", digest, "--out", tmp_path / "verdict.json"]

    code, said, _ = run("drift", tmp_path / "scores", *options)
    assert code == 0
    assert said == (
        "drift: not enough data: 240 images in 1 window, 20 to compare with; it takes 100 of both, "
        "and 2 windows\n"
    )
    code, said, _ = run("drift", tmp_path / "scores", *options, "--until", "2026-01-04")
    assert "not enough data: 0 images" in said
    assert json.loads((tmp_path / "verdict.json").read_text())["until"] == "2026-01-04"

    late = ["--labels", tmp_path / "labels", "--threshold"]
    code, said, _ = run("performance", tmp_path / "scores", *options, *late, 0.99)
    assert code == 0
    assert re.fullmatch(r"performance: mean accuracy .*% \(.* to .*\) on 240 images, below 99.00%\n", said)
    code, said, _ = run("performance", tmp_path / "scores", *options, *late, 0.99, "--since", "2026-01-06")
    assert "not enough labels: 0 of the scored images have one of the 240 labels; it takes 100" in said
    assert run("drift", tmp_path / "scores", *options, "--alarm-after", 8)[0] == 2, "there are seven windows"
    missing = ["drift", tmp_path / "none", *options]
    assert "none: no such file or folder" in complaint(run(*missing))


def test_a_disk_that_refuses_is_one_line(run, workplace):
    (workplace / "faces").write_text("a file where a folder should be")
    complaint(run("draw", "faces", "--count", 2))
