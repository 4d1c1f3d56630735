"""A canary beside a release, as `airflow dags test` runs it, with models that were really trained."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gitops.release import canaries
from gitops.release.load import load_state
from tests.dags.conftest import Trained
from tests.support import planted

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

SHARE = 50


def named(commit: str, word: str, *, picked: bool) -> str:
    """Return the name of a batch that a canary answers, or does not."""
    names = (f"{word}-{number}" for number in range(100))
    return next(name for name in names if canaries.picks(name, commit, SHARE) == picked)


def test_a_canary_answers_its_share_and_ends_when_it_fails(trained: Trained, tmp_path: Path) -> None:
    environments, home = trained.environments, trained.environments.data("prod")

    def deliver(name: str) -> None:
        shutil.copytree(trained.faces, home / "incoming" / name)

    def scored(name: str) -> set[str]:
        (file,) = (home / "scores").rglob(f"{name}.parquet")
        return set(pq.read_table(file)["release"].to_pylist())

    ground = trained.ground
    commit = ground.plant(planted.with_threshold(ground.model, 0, 2.0))
    ground.declare("prod", commit=trained.release, canary=commit, share=SHARE)
    mine, other = named(commit, "mine", picked=True), named(commit, "other", picked=False)
    deliver(mine)
    deliver(other)
    ran = environments.test("prod", "score_faces")
    assert ran.status == 0, ran.output[-3000:]
    assert (scored(mine), scored(other)) == ({commit}, {trained.release})
    ran = environments.test("prod", "score_shadow")
    assert ran.status == 0, ran.output[-3000:]
    report = ground.report(commit, "prod")
    assert report is not None
    assert (report.share, report.answered, report.images, report.failed) == (SHARE, 32, 64, 0)
    assert report.figures is not None
    name = planted.attributes(ground.model)[0]
    rows = report.figures.per_attribute
    assert rows[name].yes == 0
    assert {row.agreement for key, row in rows.items() if key != name} == {1.0}
    # Each batch was scored by the model that did not answer it.
    beside = {path.stem: path for path in (home / "shadows" / commit[:12]).rglob("*.parquet")}
    releases = {key: set(pq.read_table(path)["release"].to_pylist()) for key, path in beside.items()}
    assert releases == {mine: {trained.release}, other: {commit}}

    # One that cannot score anything: the release does, in the same task, and prod rejects the canary.
    broken = ground.plant(b"no ONNX file")
    ground.declare("prod", commit=trained.release, canary=broken, share=SHARE)
    first, second = (named(broken, word, picked=True) for word in ("first", "second"))
    deliver(first)
    ran = environments.test("prod", "score_faces")
    assert ran.status == 0, ran.output[-3000:]
    assert scored(first) == {trained.release}
    assert f"the canary {broken[:12]} failed, so the release scores it" in ran.output
    rejection = load_state(environments.origin.repository).verdicts.rejected("prod", broken)
    assert rejection is not None
    assert "as a canary: batches that the canary cannot score: exit status 1" in rejection.message
    assert "not a readable ONNX file" in rejection.message
    deliver(second)
    ran = environments.test("prod", "score_faces")
    assert ran.status == 0, ran.output[-3000:]
    assert scored(second) == {trained.release}
    assert "so the release scores it" not in ran.output
    ground.declare("prod", commit=trained.release)
