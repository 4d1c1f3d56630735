"""Retention, as `airflow dags test` runs it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra.dag_smoke_test.sandbox import sandbox
from tests.dags.conftest import ROOT


def test_it_runs_each_day(parsed: dict[str, Any]) -> None:
    assert parsed["dags"]["retention"]["schedule"] == "@daily"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_environment_removes_what_is_old_and_records_it(tmp_path: Path) -> None:
    with sandbox(ROOT, tmp_path) as made:
        home = made.data("dev")
        for batch, at in (("old", 1_700_000_000), ("new", None)):
            folder = home / "scored" / batch
            folder.mkdir(parents=True)
            if at:
                os.utime(folder, (at, at))
        ran = made.test("dev", "retention", extra={"RETENTION_DAYS_SCORED": "30"})
        assert ran.status == 0, ran.output[-3000:]
        assert [path.name for path in (home / "scored").iterdir()] == ["new"]
        line = json.loads((home / "retention.jsonl").read_text().splitlines()[-1])
        assert line["removed"] == {"scored": 1}
        assert "Removed: 1 in scored/." in ran.output
