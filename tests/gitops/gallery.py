"""A gallery of reports on pull requests of every kind, with figures as a training leaves them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gitops.model import drift_comparison
from gitops.promotion.jobs import Job
from gitops.report import collect
from gitops.report import render as report_render
from gitops.training.trial import Trial, load_seconds
from tests.support.figures import measured
from tests.support.lab import Lab

SECONDS = {"scope": 41.0, "lint": 96.0, "review": 31.0, "test": 540.0, "dags": 497.0, "train": 190.0}
JOBS = {name: Job(result="success", seconds=seconds) for name, seconds in SECONDS.items()}
WORDS = JOBS | {name: Job(result="skipped") for name in SECONDS if name != "scope"}
FAILED = Job(
    result="failure",
    seconds=420,
    url="https://github.com/acme/visage/actions/runs/1/job/2",
    reasons=("tests/gitops/test_x.py::test_y: AssertionError: assert 1 == 2",),
)


def gallery(lab: Lab, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a name and a report of every kind."""
    lab.verify("dev", lab.land(measured("first", 0.95), message="Model first"), accuracy=0.95)
    lab.release("staging")
    lab.release("prod")
    lab.land({"params.yaml": b"profile: full\ntrain:\n  learning_rate: 0.05\n"})
    trial = _trial(folder, 0.71, 0.74)

    def told(head: str, **options: Any) -> str:
        state = lab.state()
        commit = lab.clone.resolve(lab.clone.branch_ref("origin", head))
        return report_render.render(collect.gather(lab.clone, state, commit, name=head, **options))

    good = measured("second", 0.97, seed=2)
    lab.branch("candidate/good", good | {drift_comparison.PATH: _drifted(good)})
    yield "good", told("candidate/good", jobs=WORDS, price=0.006)
    lab.branch("candidate/worse", measured("third", 0.93, seed=2))
    yield "worse", told("candidate/worse", jobs=WORDS)
    lab.branch("candidate/gate", measured("fourth", 0.8, seed=3))
    yield "gate", told("candidate/gate", jobs=WORDS)
    lab.branch("words", {"docs/news.md": b"news\n"})
    yield "words", told("words", jobs=WORDS)
    dag = (lab.origin.read(lab.tip, "dags/example.py") or b"").replace(
        b"schedule=None", b'schedule="@weekly"'
    )
    code = {"src/face_attributes/model/network.py": b"# wider\n", "dags/example.py": dag}
    lab.branch("patch-1", code)
    yield "fork", told("patch-1", jobs=JOBS, trial=trial)
    yield "broken", told("patch-1", jobs=JOBS | {"test": FAILED}, trial=trial)
    lab.verify("dev", lab.land(good, message="Model second"), accuracy=0.97)
    lab.promote("staging")
    yield "promotion", told("promote/staging", jobs=WORDS)


def _drifted(made: dict[str, bytes]) -> bytes:
    """Return what a retraining after drift leaves beside the rest."""
    evaluation = json.loads(made["metrics/evaluation.json"])

    def change(accuracy: float, gain: float) -> dict[str, float]:
        before = accuracy - gain
        ends = {"low": gain - 0.004, "high": gain + 0.005}
        return {"accuracy": accuracy, "incumbent": before, "difference": gain} | ends

    rows = evaluation["per_attribute"].items()
    figures = {
        "format": 2,
        "model_sha256": evaluation["model_sha256"],
        "samples": 177,
        "batches": ["prod-2026-11-25"],
        "mean_accuracy": change(evaluation["mean_accuracy"], 0.0165),
        "per_attribute": {name: change(row["accuracy"], 0.001 * len(name)) for name, row in rows},
    }
    return json.dumps(figures).encode()


def _trial(folder: Path, before: float, after: float) -> Trial:
    for name, accuracy in (("base", before), ("head", after)):
        for path, content in measured(name, accuracy, profile="small").items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    times = {"pipeline on small data, before": 71.2, "pipeline on small data, after": 74.9}
    (folder / "timing.json").write_text(json.dumps(times))
    assert load_seconds(folder / "timing.json") == times
    return Trial.load(folder)
