from pathlib import Path

import pytest

from gitops.airflow.client import Airflow, UnreachableError, load_access
from gitops.errors import AirflowError
from tests.support.fake_airflow import FakeAirflow

A, B = "a" * 40, "b" * 40


@pytest.fixture
def fake() -> FakeAirflow:
    with FakeAirflow() as server:
        yield server


@pytest.fixture
def airflow(fake: FakeAirflow) -> Airflow:
    with Airflow(fake.access, timeout=120) as client:
        yield client


def test_running_is_what_was_parsed_last(fake: FakeAirflow, airflow: Airflow) -> None:
    assert airflow.running() is None
    fake.dag("verify_release", A, parsed="2026-01-01T00:00:00Z")
    fake.dag("score_faces", B, parsed="2026-01-01T00:00:00.500000Z")
    fake.dag("gone", "c" * 40, parsed="2026-01-02T00:00:00Z", stale=True)
    fake.dag("other", "d" * 40, parsed="2026-01-02T00:00:00Z", bundle="examples")
    assert airflow.running() == B


def test_all_pages_are_read(fake: FakeAirflow, airflow: Airflow) -> None:
    for number in range(230):
        fake.dag(f"dag{number}", A)
    assert len(airflow.dags()) == 230


def test_trigger_and_follow_a_run(fake: FakeAirflow, airflow: Airflow) -> None:
    fake.dag("d", A)
    run = airflow.trigger("d", {"x": 1})
    assert fake.runs[0]["conf"] == {"x": 1}
    fake.runs[0]["state"] = "success"
    assert airflow.run("d", run).state == "success"
    assert airflow.runs("d")[0].id == run
    assert airflow.runs("d")[0].bundle_version == A
    airflow.unpause("d")
    assert fake.dags["d"]["is_paused"] is False
    assert airflow.import_errors() == {}
    assert airflow.health()["scheduler"] == "healthy"


def test_logs_in_once_and_again_when_the_token_ran_out(fake: FakeAirflow, airflow: Airflow) -> None:
    fake.dag("d", A)
    airflow.dags()
    airflow.dags()
    assert fake.logins == 1
    fake.forget_tokens()
    assert len(airflow.dags()) == 1
    assert fake.logins == 2


def test_a_wrong_password_is_one_line_without_it(fake: FakeAirflow) -> None:
    wrong = fake.access.model_copy(update={"password": type(fake.access.password)("hunter2")})
    with Airflow(wrong) as client, pytest.raises(AirflowError) as caught:
        client.running()
    assert "HTTP 401" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refusal_carries_its_reason(airflow: Airflow) -> None:
    with pytest.raises(AirflowError, match=r"PATCH http://.*/api/v2/dags/nope: HTTP 404: \"no such DAG\""):
        airflow.unpause("nope")


def test_what_is_not_ready_is_tried_again(fake: FakeAirflow, airflow: Airflow) -> None:
    fake.dag("d", A)
    fake.not_ready = 2
    assert airflow.running() == A
    fake.not_ready = 100
    with pytest.raises(UnreachableError, match="not ready"):
        airflow.running()


def test_a_run_is_never_started_twice(fake: FakeAirflow, airflow: Airflow) -> None:
    fake.dag("d", A)
    airflow.dags()
    fake.not_ready = 1
    with pytest.raises(UnreachableError):
        airflow.trigger("d")
    assert fake.runs == []


def test_nothing_there(fake: FakeAirflow) -> None:
    fake.close()
    with (
        Airflow(fake.access, retry=False) as client,
        pytest.raises(UnreachableError, match="nothing answers"),
    ):
        client.health()


def test_something_else_there(fake: FakeAirflow, airflow: Airflow) -> None:
    fake.nonsense = True
    with pytest.raises(AirflowError, match="the answer is not Airflow's"):
        airflow.health()


def test_access_file(tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    assert load_access(path) == {}
    path.write_text(
        '{"dev": {"url": "http://x", "web": "http://y", "username": "u", "password": "hunter2", "n": 1}}'
    )
    access = load_access(path)["dev"]
    assert access.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(access)
    for broken in ("{", "[]", '{"dev": {"url": 1, "password": "hunter2"}}'):
        path.write_text(broken)
        with pytest.raises(AirflowError) as caught:
            load_access(path)
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(AirflowError, match="Is a directory"):
        load_access(tmp_path)
