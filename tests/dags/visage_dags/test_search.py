import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops import tasks
from tests.support import dagbag
from visage_dags import search

ROOT = Path(__file__).resolve().parents[3]


def release(folder: Path, **tune: Any) -> Path:
    """Make the DAG files of a release with other parameters of the search."""
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["tune"] |= tune
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.mark.parametrize(
    ("tune", "rounds"),
    [
        ({"trials": 9, "parallel": 1}, []),
        ({"trials": 1, "parallel": 2}, []),
        ({"trials": 5, "parallel": 2}, [[0, 1], [2, 3], [4]]),
        ({"trials": {"synthetic": 3, "celeba": 90}, "parallel": {"synthetic": 3}}, [[0, 1, 2]]),
        ({"trials": 2, "parallel": 64}, [[0, 1]]),
        *[({"trials": 9, "parallel": value}, []) for value in (0, -2, 1.5, "many", None, [2], {"celeba": 2})],
        *[({"trials": 10**9, "parallel": value}, []) for value in (10**9, "9" * 5000)],
        ({"trials": "9" * 5000, "parallel": 2}, []),
    ],
)
def test_a_round_has_the_trials_that_run_at_the_same_time(
    tmp_path: Path, tune: dict[str, Any], rounds: list[list[int]]
) -> None:
    assert search.rounds(release(tmp_path, **tune)) == rounds


@pytest.mark.parametrize(
    "text", ["", "[]", "data: 3", "tune: {parallel: 2}", "data: {source: [a]}\ntune: 1", "a: [", "a: &a b"]
)
def test_parameters_that_no_stage_can_read_give_no_trial(tmp_path: Path, text: str) -> None:
    """The files of the DAGs load all the same: the check and the stage name the fault."""
    (tmp_path / "params.yaml").write_text(text)
    assert search.rounds(tmp_path) == []


def test_the_stage_runs_what_is_after_the_last_round_of_tasks(tmp_path: Path) -> None:
    rounds = search.rounds(release(tmp_path, trials=1000, parallel=2))
    assert len(rounds) == search.MOST_ROUNDS
    assert rounds[-1] == [98, 99]


def test_each_round_waits_for_those_before_and_the_stage_for_all(tmp_path: Path) -> None:
    release(tmp_path / "release", trials=5, parallel=2)
    [found] = dagbag.load(tmp_path / "release" / "dags", home=tmp_path)
    assert found["errors"] == {}
    listed = found["dags"]["ml_pipeline_face_attributes"]["tasks"]
    group = "hyperparameter_optimization"
    trials = [f"{group}.round_{number}.trial" for number in (1, 2, 3)]
    assert [name for name in listed if name.endswith(".trial")] == trials
    for index, trial in enumerate(trials):
        assert set(listed[trial]["upstream"]) == {"data_preparation.prepare", *trials[:index]}
        assert listed[trial]["pool"] == "default_pool", "trials of a round run at the same time"
    assert set(trials) < set(listed[f"{group}.tune"]["upstream"])
    assert f"{group}.tune" in listed["model_training.train"]["upstream"]


def test_a_branch_that_is_older_than_the_command_leaves_its_trials_to_the_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "inspect", lambda **asked: {"files": dict.fromkeys(asked["files"])})
    assert search.run("0" * 40, 3, []) == {}


def test_records_of_all_rounds_reach_the_stage() -> None:
    [text] = search.given([[{"search": "a"}, {}], [], [{"search": "b"}]]).values()
    assert json.loads(text) == [{"search": "a"}, {"search": "b"}]
