import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from tests.support.figures import model_md5
from tests.support.lab import Lab

FIRST, SECOND = (hashlib.sha256(name.encode()).hexdigest() for name in "ab")


def scored(home: Path, batch: str, model: str) -> Path:
    file = home / "scores" / "date=2026-01-05" / f"{batch}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps({"format": 1, "batch": batch, "rows": 7, "model_sha256": model, "release": None})
    )
    return file


@pytest.fixture
def run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(lab.clone.path)
    return lambda *args: CliRunner().invoke(app, ["trace", *args])


def test_scores_model_and_commit_lead_to_each_other(
    lab: Lab, run: Callable[..., Result], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    first = lab.train("a")
    lab.release("staging")
    later = lab.land({"dags/other.py": b"# x\n"})
    second = lab.train("b")
    monday, tuesday = scored(home, "monday", FIRST), scored(home, "tuesday", SECOND)
    (monday.parent / "broken.json").write_text("{")
    for name in (str(monday.with_suffix(".parquet")), str(monday), FIRST, model_md5("a"), first, later[:10]):
        result = run(name, "--json", "--home", str(home))
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["model_sha256"] == FIRST
        commits = [row["commit"] for row in found["commits"]]
        assert (commits[0], commits[-1], second in commits) == (first, later, False)
        assert found["data"] == {"models/model.onnx": model_md5("a")}
        [staging] = found["environments"]["staging"]
        assert (staging["release"], staging["rejected"]) == (first, None)
        assert staging["verified"] is not None
        assert found["environments"]["prod"] == []
        assert [row["file"] for row in found["scores"]] == [str(monday)]
    shown = run("dev", "--home", str(home)).stdout
    assert f"scores {tuesday} (7 images)" in shown
    assert f"dev {second[:12]} since" in shown


def test_the_images_that_trained_a_model_come_first(lab: Lab, run: Callable[..., Result]) -> None:
    batch = "a" * 32
    pointer = f"outs:\n- md5: {batch}\n  size: 5\n  hash: md5\n  path: monday.parquet\n"
    lab.land(
        {
            "data/labelled/monday.parquet.dvc": pointer.encode(),
            "data/labelled/bad.dvc": b"[",
        }
    )
    lab.train("a")
    lines = run("main").stdout.splitlines()
    assert lines[1:3] == [
        f"images data/labelled/monday.parquet (md5 {batch})",
        f"file models/model.onnx (md5 {model_md5('a')})",
    ]


def test_a_name_of_a_file_is_no_command_of_a_terminal(
    lab: Lab, run: Callable[..., Result], tmp_path: Path
) -> None:
    lab.train("a")
    file = scored(tmp_path, "monday", FIRST)
    file.rename(file.with_name("\x1b[31m\udcff.json"))
    shown = run(FIRST, "--home", str(tmp_path))
    assert shown.exit_code == 0, shown.exception
    assert "/?[31m?.json (7 images)" in shown.stdout


def test_what_leads_nowhere_is_refused(lab: Lab, run: Callable[..., Result], tmp_path: Path) -> None:
    lab.train("a")
    scores = tmp_path / "x.json"
    scores.write_text("[]")
    start = lab.origin.git("rev-list", "--max-parents=0", "refs/heads/main")
    for name, problem in (
        ("f" * 64, "main never had the model"),
        ("f" * 32, "main never had a model with this MD5"),
        ("nonsense", "no file of scores (.parquet), digest, environment, branch or commit"),
        (start, "records no model"),
        (str(scores), "not the summary of scores"),
        (str(tmp_path / "gone.parquet"), "scoring writes it beside the scores"),
    ):
        result = run(name)
        assert result.exit_code == 1, name
        assert problem in result.stderr
    missing = run(FIRST, "--home", str(tmp_path))
    assert "name the data folder of an environment" in missing.stderr
