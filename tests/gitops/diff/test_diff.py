import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.diff.diff import Change, Difference, Section
from gitops.diff.load import load_difference
from gitops.git.repository import Repository
from gitops.release.snapshot import Snapshot
from tests.support.figures import model_files
from tests.support.lab import Lab


def compare(repository: Repository, before: str | None, after: str | None) -> Difference:
    old, new = (Snapshot.load(repository, commit) if commit else None for commit in (before, after))
    return load_difference(repository, old, new)


LOCK = """schema: '2.0'
stages:
  prepare:
    outs:
    - {path: data/holdout.parquet, md5: %s, size: 2500000}
    - {path: data/prepared, md5: 0123456789abcdef.dir, size: 12, nfiles: 3}
  export:
    outs:
    - {path: models/model.onnx, md5: %s, size: 700000}
"""


def trained(name: str, accuracy: float, *, latency: float, data: str) -> dict[str, bytes]:
    low, high = accuracy - 0.01, accuracy + 0.01
    files = model_files(name, accuracy)
    evaluation = json.loads(files["metrics/evaluation.json"])
    interval = {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high}
    evaluation["per_attribute"] = {"Smiling": interval, "Bald": {"accuracy": 0.99}}
    evaluation["slices"] = {"dark": interval | {"by": "light", "count": 300}}
    performance = {
        "variant": "int8",
        "model_bytes": 746355,
        "latency": {"batch_1": {"p50_ms": latency, "p95_ms": latency}},
    }
    return files | {
        "dvc.lock": (LOCK % (data * 32, name * 32)).encode(),
        "metrics/evaluation.json": json.dumps(evaluation).encode(),
        "metrics/performance.json": json.dumps(performance).encode(),
        "metrics/training.json": json.dumps({"train_images": 100 if name == "a" else 200}).encode(),
    }


def test_every_kind_of_change(lab: Lab) -> None:
    path = "environments/prod/settings.env"
    settings = (lab.origin.read("main", path) or b"").replace(b"MIN_SOAK_HOURS=0", b"MIN_SOAK_HOURS=24")
    old = lab.commit(
        trained("a", 0.90, latency=2, data="d")
        | {"requirements.lock": b"kept==1\nGone_1==1.0 ; python_version < '4'\nmoved[extra]==1.0 \\\n"}
    )
    new = lab.commit(
        trained("b", 0.94, latency=3, data="e")
        | {
            "requirements.lock": b"kept==1\nmoved[extra]==1.1\nnew==3\n    # via x==1\n",
            "params.yaml": b"profile: full\ntrain:\n  learning_rate: 0.2\n  space: {low: 1}\n",
            "data/labelled/monday.parquet.dvc": b"outs: [{md5: abcdef0123456789, size: 10, path: x}]\n",
            "src/face_attributes/new.py": b"",
            "infra/kubernetes/base/task.yaml": b"",
            path: settings,
            "environments/staging/release.yaml": b"commit: null\nhold: wait\n",
        },
        on=old,
    )
    found = compare(lab.origin, old, new)
    said = {section.title: [str(change) for change in section.changes] for section in found.sections}
    assert said == {
        "DAGs": [],
        "Parameters": ["train.learning_rate: 0.1 -> 0.2", "train.space.low: none -> 1"],
        "Data": [
            "data/holdout.parquet: dddddddddddd, 2.5 MB -> eeeeeeeeeeee, 2.5 MB",
            "data/labelled/monday.parquet: none -> abcdef012345, 10 bytes",
            "training images: 100 -> 200",
        ],
        "Dependencies": ["gone-1: 1.0 -> none", "moved: 1.0 -> 1.1", "new: none -> 3"],
        "Model": [
            "model: ca978112ca1b -> 3e23e8160039 (sha256)",
            "mean accuracy: 0.9000 (0.8869 to 0.9131) -> 0.9400 (0.9296 to 0.9504) "
            "(+0.0400, significant (95 %))",
        ],
        "Accuracy per attribute": [
            "Smiling: 0.9000 (0.8900 to 0.9100) -> 0.9400 (0.9300 to 0.9500) (+0.0400, significant (95 %))"
        ],
        "Accuracy per slice": [
            "dark: 0.9000 (0.8900 to 0.9100) -> 0.9400 (0.9300 to 0.9500) (+0.0400, significant (95 %))"
        ],
        "Speed": [
            "batch 1, median: 2 ms -> 3 ms (+50%)",
            "batch 1, 95th percentile: 2 ms -> 3 ms (+50%)",
        ],
        "Settings": [
            "environments/staging/release.yaml: hold: none -> wait",
            "prod: MIN_SOAK_HOURS: 0 -> 24",
        ],
        "Code": ["src/face_attributes: changed: new.py"],
        "Manifests": ["infra/kubernetes/base/task.yaml: changed"],
    }


def test_nothing_changed(lab: Lab) -> None:
    found = compare(lab.origin, lab.tip, lab.commit({"README.md": b"news\n"}))
    assert not found
    assert "no change of a release" in found.markdown()
    assert found.summary == "nothing"
    assert not compare(lab.origin, None, None)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("metrics/evaluation.json", b"\xff"),
        ("metrics/evaluation.json", b"[" * 100_000),
        ("metrics/performance.json", b"null"),
        ("plots/learning_curve.csv", b"epoch,train_loss\n1,x\n"),
        ("params.yaml", b"a: &a {b: *a}\n"),
        ("params.yaml", b"{\n"),
        ("dvc.lock", b"stages: [1]\n"),
        ("dvc.lock", b"{\n"),
        ("requirements.lock", b"\xff==1\n"),
        ("environments/dev/settings.env", b"nonsense\n"),
    ],
)
def test_damaged_files_are_no_obstacle(lab: Lab, path: str, content: bytes) -> None:
    good, bad = lab.commit(model_files("a")), lab.commit(model_files("a") | {path: content})
    for one, other in ((good, bad), (bad, good)):
        assert isinstance(compare(lab.origin, one, other).markdown(), str)


def test_a_file_that_cannot_be_read_is_named(lab: Lab) -> None:
    found = compare(lab.origin, lab.tip, lab.commit({"metrics/evaluation.json": b"{"}))
    assert "metrics/evaluation.json: cannot be read" in found.text()


def test_the_text_is_bounded() -> None:
    changes = tuple(Change(f"key{number}", "x" * 500, "y") for number in range(1000))
    found = Difference("a" * 40, "b" * 40, tuple(Section(f"kind {number}", changes) for number in range(9)))
    text = found.text()
    assert len(text) < 6100
    assert "... and 980 more" in text
    assert text.endswith("... the rest: .venv/bin/gitops diff")


def test_on_a_terminal() -> None:
    found = Difference(
        "a" * 40, None, (Section("Parameters", (Change("[red]x", "1", "2"),)), Section("Data"))
    )
    out = io.StringIO()
    found.show(Console(file=out, force_terminal=True, width=100, color_system=None))
    assert "[red]x    1    2" in out.getvalue()
    assert "no release" in out.getvalue()
    assert "Unchanged: data" in out.getvalue()


def test_a_narrow_terminal_keeps_each_value_whole() -> None:
    before, after = "0.9544 (0.9388 to 0.9688)", "0.9609 (0.9466 to 0.9753)"
    change = Change("Arched_Eyebrows", before, after, "+0.0065, not significant")
    found = Difference("a" * 40, "b" * 40, (Section("Accuracy per attribute", (change,)),))
    out = io.StringIO()
    found.show(Console(file=out, width=80, color_system=None))
    assert f"  Arched_Eyebrows  +0.0065, not significant\n    {before} -> {after}\n" in out.getvalue()
    found.show(Console(file=out, width=120, color_system=None))
    assert f"Arched_Eyebrows    {before}    {after}    +0.0065" in out.getvalue()


@pytest.fixture
def run(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(lab.clone.path)

    def invoke(*args: str) -> Result:
        result = CliRunner().invoke(app, ["diff", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def sections(result: Result) -> dict[str, list[dict[str, Any]]]:
    assert result.exit_code == 0, result.output
    return {title: rows for title, rows in json.loads(result.stdout)["sections"].items() if rows}


def test_environments_branches_and_commits(lab: Lab, run) -> None:
    lab.train("a", 0.9)
    first = lab.release("staging")
    lab.train("b", 0.95)
    found = sections(run("staging", "dev", "--json"))
    assert [row["what"] for row in found["Model"]] == ["model", "mean accuracy"]
    between = sections(run("staging", "prod", "--json"))["Settings of staging and prod"]
    assert {"what": "WEB_PORT", "before": "8081", "after": "8082", "note": ""} in between
    lab.branch("feature", {"params.yaml": b"profile: small\n"})
    assert "Parameters" in sections(run(first, "feature", "--json"))
    assert "no change of a release" in run("main", "main", "--markdown").output
    assert run("nope", "main").exit_code == 1
    assert run("main").exit_code == 1


def test_what_a_pull_request_changes(lab: Lab, run) -> None:
    lab.branch("feature", {"params.yaml": b"profile: small\n"})
    lab.train("a")
    assert list(sections(run("--head", "feature", "--json"))) == ["Parameters"]
    assert "No change of a release" in run().output
    shown = run("--head", "feature", "--markdown").output
    assert "| `profile` | `full` | `small` |" in shown


def test_without_any_remote(lab: Lab, run, tmp_path: Path) -> None:
    lab.clone.git("remote", "remove", "origin")
    lab.clone.git("commit", "-q", "--allow-empty", "-m", "Empty", env=lab.clone.identity())
    assert "No change of a release" in run("HEAD~1", "HEAD").output


def test_the_summary_names_three_changes_of_a_kind_and_counts_the_rest() -> None:
    changes = tuple(Change(what) for what in ("mean accuracy", "mean F1", "x" * 50, "size", "latency"))
    found = Difference("a", "b", (Section("Model", changes), Section("Speed"), Section("Code", changes[:1])))
    assert found.summary == f"Model (mean accuracy, mean F1, {'x' * 37}... and 2 more); Code (mean accuracy)"
