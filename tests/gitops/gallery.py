"""A gallery of reports on pull requests of every kind, with figures as a training leaves them."""

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitops.model import drift_comparison
from gitops.model.cost import Cost, StageCost
from gitops.promotion.jobs import Job
from gitops.release.approvals import give
from gitops.release.signatures import SIGNERS
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


ADA, GRACE, ALAN, MARY = "Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Jackson"
PROD = ("settings.env", "environment.yaml")
TRAININGS = ((0.952, 0.004), (0.961, 0.003), (0.968, 0.002))
"""Accuracy and learning rate."""
STAGES = {"collect": (12, 18, 0.4), "prepare": (14, 25, 0.7), "tune": (86, 160, 1.6), "train": (47, 91, 1.9)}
"""Seconds, processor time and gigabytes of memory of the stages of a training."""


def history(lab: Lab, folder: Path, now: datetime) -> None:
    """Leave two weeks of trainings, releases, verdicts and approvals: a board and a list of runs."""
    with pytest.MonkeyPatch.context() as patch:

        def at(days: float, person: str, by: str = "") -> datetime:
            """Let commits from now on be of a day and of a person, and their merges of another one."""
            moment = now - timedelta(days=days)
            for role, name in (("AUTHOR", person), ("COMMITTER", by or person)):
                patch.setenv(f"GIT_{role}_NAME", name)
                patch.setenv(f"GIT_{role}_EMAIL", _email(name))
                patch.setenv(f"GIT_{role}_DATE", f"@{int(moment.timestamp())} +0000")
            _use(lab, folder, by or person)
            return moment

        keys = "".join(f"{_email(person)} {_key(folder, person)}\n" for person in (ADA, GRACE, ALAN, MARY))
        at(14, ADA)
        prod = {path: lab.origin.read("main", f"environments/prod/{path}") or b"" for path in PROD}
        signed = prod["settings.env"].replace(b"SIGNED_RELEASES=false", b"SIGNED_RELEASES=true")
        asked = prod["environment.yaml"] + b"approvals: 2\n"
        files = {SIGNERS: keys.encode(), f"environments/prod/{PROD[0]}": signed}
        lab.land(files | {f"environments/prod/{PROD[1]}": asked}, message="Two approve for prod")
        for number, (accuracy, rate) in enumerate(TRAININGS):
            day = 12 - 4 * number
            made = measured(f"model-{number}", accuracy, seed=number)
            when = at(day, ADA)
            _training(lab, f"{when:%Y-%m-%d}", made, rate, number, when)
            when = at(day - 1, ADA, GRACE)
            landed = lab.land(made | _parameters(rate), message=f"Train with learning rate {rate}")
            lab.verify("dev", landed, at=when, accuracy=accuracy)
            at(day - 2, ADA)
            commit = lab.promote("staging").after.commit
            assert commit is not None
            when = at(day - 2, GRACE)
            lab.merge("promote/staging")
            lab.verify("staging", commit, at=when, accuracy=accuracy)
            last = number == len(TRAININGS) - 1
            for person in (ALAN,) if last else (ALAN, MARY):
                _approve(lab, commit, at(day - 3, person))
            if not last:
                at(day - 3, ADA)
                lab.promote("prod")
                when = at(day - 3, GRACE)
                lab.merge("promote/prod")
                lab.verify("prod", commit, at=when, accuracy=accuracy)
        _training(lab, "wider", measured("wider", 0.964, seed=7), 0.002, 7, at(1, ADA), archived=False)
        lab.clone.fetch("origin")


def _email(person: str) -> str:
    return f"{person.split()[0].lower()}@example.org"


def _key(folder: Path, person: str) -> str:
    path = folder / _email(person)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", person, "-f", str(path)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


def _use(lab: Lab, folder: Path, person: str) -> None:
    for key, value in {
        "user.name": person,
        "user.email": _email(person),
        "gpg.format": "ssh",
        "user.signingKey": str(folder / _email(person)),
        "commit.gpgSign": "true",
    }.items():
        lab.clone.git("config", key, value)


def _approve(lab: Lab, commit: str, when: datetime) -> None:
    state = lab.state()
    tag, _ = give(lab.clone, state.lists, state.environments["prod"], commit, now=when)
    lab.clone.push(lab.remote, {f"refs/tags/{tag.name}": tag.object_id})


def _parameters(rate: float) -> dict[str, bytes]:
    return {"params.yaml": f"profile: full\ntrain:\n  learning_rate: {rate}\n".encode()}


def _training(
    lab: Lab,
    name: str,
    made: dict[str, bytes],
    rate: float,
    extra: int,
    when: datetime,
    *,
    archived: bool = True,
) -> None:
    commit, spent = lab.commit(_parameters(rate), message=f"Start run/{name}"), Cost(run=f"run/{name}")
    for stage, (seconds, cpu, gigabytes) in STAGES.items():
        cost = StageCost(
            seconds=seconds + extra,
            cpu_seconds=cpu + 2 * extra,
            peak_bytes=int(gigabytes * 10**9),
            read_bytes=10**8,
            written_bytes=10**7,
        )
        spent = spent.adding({stage: cost})
        message = f"{stage}: run for run/{name} in {cost.seconds} s\n\n{spent.trailer}\n"
        files = made if stage == "train" else {f"metrics/{stage}.txt": b""}
        commit = lab.commit(files, on=commit, message=message)
    lab.origin.git("update-ref", f"refs/heads/run/{name}", commit)
    if archived:
        tag = lab.origin.tag(commit, f"archive/{name}", f"Run {name}", at=when)
        lab.origin.git("update-ref", f"refs/tags/archive/{name}", tag)
