"""A shadow beside a release, as `airflow dags test` runs it, with models that were really trained."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.dags.conftest import Trained
from tests.support import planted

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]


def test_a_shadow_scores_the_same_batches_and_harms_nothing(trained: Trained, tmp_path: Path) -> None:
    home = trained.environments.data("staging")
    shutil.copytree(trained.faces, home / "incoming" / "shadowed")
    assert trained.environments.test("staging", "score_faces").status == 0
    (scores,) = (home / "scores").rglob("shadowed.parquet")
    before = scores.read_bytes()
    nothing = trained.environments.test("staging", "score_shadow")
    assert nothing.status == 0
    assert "main declares no shadow for this environment" in nothing.output

    # A model that answers otherwise about one attribute
    ground = trained.ground
    commit = ground.plant(planted.with_threshold(ground.model, 0, 2.0))
    ground.declare("staging", commit=trained.release, shadow=commit)
    ran = trained.environments.test("staging", "score_shadow")
    assert ran.status == 0, ran.output[-3000:]
    report = ground.report(commit, "staging")
    assert report is not None
    assert report.incumbent == trained.release
    assert (report.failed, report.images >= 32) == (0, True)
    assert report.figures is not None
    (tried,) = (home / "shadows" / commit[:12]).rglob("shadowed.parquet")
    own, other = pq.read_table(scores), pq.read_table(tried)
    assert set(other["release"].to_pylist()) == {commit}
    name = planted.attributes(ground.model)[0]
    assert not any(other[name].to_pylist())
    rest = [row.agreement for key, row in report.figures.per_attribute.items() if key != name]
    assert rest == [1.0] * len(rest)
    assert own.num_rows == other.num_rows == 32
    assert scores.read_bytes() == before
    again = trained.environments.test("staging", "score_shadow")
    assert "has scored every batch" in again.output

    # One that crashes: it is no model at all. The results of the one before it go.
    broken = ground.plant(b"no ONNX file")
    ground.declare("staging", commit=trained.release, shadow=broken)
    crashed = trained.environments.test("staging", "score_shadow")
    assert crashed.status == 0, crashed.output[-3000:]
    report = ground.report(broken, "staging")
    assert report is not None
    assert report.figures is None
    assert report.failed >= 1
    assert "not a readable ONNX file" in report.reason
    assert scores.read_bytes() == before
    assert [path.name for path in (home / "shadows").iterdir()] == [broken[:12]]
    shutil.copytree(trained.faces, home / "incoming" / "after")
    assert trained.environments.test("staging", "score_faces").status == 0
    assert list((home / "scores").rglob("after.parquet"))
