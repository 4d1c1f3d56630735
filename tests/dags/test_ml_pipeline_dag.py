"""The training pipeline as the guide describes it; what it does is in tests/faults and the smoke test."""

import json
import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from gitops import tasks
from gitops.airflow import task_context
from gitops.errors import RuleError
from gitops.git.repository import Repository
from gitops.git.workspace import workspace
from infra.local.first_run import NETWORK
from ml_pipeline_dag import check_environment, ml_pipeline_face_attributes, run_stage
from visage_dags import readiness

ROOT = Path(__file__).resolve().parents[2]


def test_the_training_pipeline_is_the_guides(parsed: dict[str, Any]) -> None:
    pipeline = parsed["dags"]["ml_pipeline_face_attributes"]
    assert pipeline["schedule"] == "@daily"
    order = [
        "check_environment",
        "check_raw_data",
        "data_preparation.pull",
        "data_preparation.append_labelled",
        "data_preparation.collect",
        "data_preparation.prepare",
        "hyperparameter_optimization.tune",
        NETWORK,
        "model_training.export",
        "model_training.push",
        "model_evaluation.evaluate",
        "model_evaluation.reference",
        "model_evaluation.compare_drifted",
        "model_evaluation.archive",
        "model_evaluation.gates",
        "propose_candidate",
        "notify_success",
    ]
    assert list(pipeline["tasks"]) == order
    for before, after in pairwise(order):
        assert before in pipeline["tasks"][after]["upstream"], f"{after} must wait for {before}"


@pytest.mark.parametrize(
    ("source", "awaited"),
    [("synthetic", f"{ROOT}/params.yaml"), ("celeba", "/photographs/here/**/list_attr_celeba.*")],
)
def test_the_machine_that_waits_for_images_looks_where_it_has_them(
    monkeypatch: pytest.MonkeyPatch, source: str, awaited: str
) -> None:
    """What check_environment hands on was perhaps found on another machine."""
    monkeypatch.setenv("CELEBA_DIR", "/photographs/here")
    handed_on = {"source": source}
    sensor = ml_pipeline_face_attributes().get_task("check_raw_data")
    sensor.render_template_fields({"ti": SimpleNamespace(xcom_pull=lambda task_ids, key: handed_on[key])})
    assert sensor.filepath == awaited


@pytest.fixture
def prod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The origin of an environment prod whose release is the first commit of main."""
    origin = Repository(tmp_path / "origin.git")
    origin.path.mkdir()
    origin.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
    release = origin.commit_files(None, {"dags/x.py": b"", "params.yaml": b""}, "Release")
    main = origin.commit_files(release, {"params.yaml": b"profile: full"}, "Main")
    stranger = origin.commit_files(main, {"src/face_attributes/__main__.py": b"steal()"}, "Stranger")
    for name, commit in {"heads/main": main, "heads/stranger": stranger, "pull/1/head": stranger}.items():
        origin.git("update-ref", f"refs/{name}", commit)
    origin.git("update-ref", "refs/tags/release", release)
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "prod")
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path / "home"))
    connection = {"conn_type": "git", "host": str(origin.path)}
    monkeypatch.setenv("AIRFLOW_CONN_GIT_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(task_context, "release", lambda *_: release)
    return origin


@pytest.mark.parametrize(
    "ref",
    [
        "stranger",
        "main",
        "refs/heads/stranger",
        "refs/pull/1/head",
        "release",
        "HEAD",
        "main^{commit}",
        "\n",
        "id",
    ],
)
@pytest.mark.parametrize("environment", ["prod", "staging", "Dev", "dev "])
def test_outside_dev_no_run_chooses_its_commit(
    prod: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: str, ref: str
) -> None:
    monkeypatch.setenv("VISAGE_ENVIRONMENT", environment)
    ref = prod.resolve("refs/heads/stranger") if ref == "id" else ref
    with pytest.raises(AirflowFailException, match="trains its release's own commit") as caught:
        check_environment.function(params={"ref": ref, "profile": "full"}, run_id="manual__1")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "home").exists(), "nothing was fetched"


@pytest.mark.parametrize("named", [False, True])
def test_outside_dev_the_release_is_trained(prod: Repository, named: bool) -> None:
    """It lacks what a run needs, which check_environment looks for in the commit that it would train."""
    release = prod.resolve("release")
    with pytest.raises(AirflowFailException, match=r"dvc\.yaml: not in this commit") as caught:
        check_environment.function(params={"ref": release if named else "", "profile": "full"}, run_id="x")
    assert "params.yaml: not in" not in str(caught.value)


def test_in_dev_a_branch_or_a_commit_of_one_is_trained(
    prod: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "dev")
    surveyed: list[str] = []
    real = readiness.survey

    def survey(*arguments: Any) -> readiness.Readiness:
        found = real(*arguments)
        surveyed.append(found.commit)
        return found

    monkeypatch.setattr(readiness, "survey", survey)
    main, stranger = prod.resolve("main"), prod.resolve("stranger")
    pulled = prod.commit_files(stranger, {"x": b""}, "Pulled")
    prod.git("update-ref", "refs/pull/2/head", pulled)
    for ref, commit in {"": main, "stranger": stranger, main: main, stranger: stranger}.items():
        with pytest.raises(AirflowFailException):
            check_environment.function(params={"ref": ref, "profile": "full"}, run_id="x")
        assert surveyed.pop() == commit
    for ref in (pulled, "f" * 40, "refs/pull/2/head", "pull/2/head"):
        with pytest.raises(AirflowFailException, match=r"no branch of .* contains it|no such branch"):
            check_environment.function(params={"ref": ref, "profile": "full"}, run_id="x")
        assert surveyed.pop() == ""


@pytest.mark.parametrize("environment", ["prod", "staging"])
def test_a_task_that_is_handed_other_code_runs_nothing_of_it(
    prod: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: str
) -> None:
    """People with a login may edit what one task hands on to the next."""
    monkeypatch.setenv("VISAGE_ENVIRONMENT", environment)
    release = prod.resolve("release")
    results = prod.commit_files(
        release, {"dvc.lock": b"", "metrics/x.json": b"", "data/labelled/a.dvc": b""}, "Step"
    )
    with workspace(task_context.origin(), results, tmp_path / "spaces") as space:
        assert (space.path / "dvc.lock").is_file()
    for path in (
        "src/face_attributes/x.py",
        "dvc.yaml",
        ".dvc/config",
        "dags/y.py",
        "sitecustomize.py",
        "dvc.lock.py",
    ):
        stranger = prod.commit_files(results, {path: b"steal()"}, "Stranger")
        with pytest.raises(RuleError, match=f"has another {re.escape(path)} than the release"):
            run_stage.function(stranger, "collect", "run")
    assert list((tmp_path / "home/workspaces").glob("*/*")) == []
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "dev")
    with workspace(task_context.origin(), stranger, tmp_path / "spaces") as space:
        assert space.commit == stranger


def test_the_release_that_runs_says_which_environment_trains_any_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not main: who may push there must not open an environment that runs something else."""
    context = {"dag": SimpleNamespace(fileloc=str(tmp_path / "dags/ml_pipeline_dag.py"))}
    monkeypatch.setattr("airflow.sdk.get_current_context", lambda: context)
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "lab")
    assert task_context.environments().root == "dev"
    with pytest.raises(RuleError, match="train narrower in dev"):
        tasks.training_ref(ref="narrower", release="a" * 40)
    files = {"lab": "title: Lab\ncolor: sky\n", "dev": "title: Dev\ncolor: teal\nafter: [lab]\n"}
    for name, content in files.items():
        path = tmp_path / "environments" / name / "environment.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert tasks.training_ref(ref="narrower", release="a" * 40) == "narrower"
    monkeypatch.setenv("VISAGE_ENVIRONMENT", "dev")
    with pytest.raises(RuleError, match="train narrower in lab"):
        tasks.training_ref(ref="narrower", release="a" * 40)
