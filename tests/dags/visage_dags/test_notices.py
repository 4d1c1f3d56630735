"""What people are told, by tasks that Airflow really runs, and servers that really get it."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from infra.dag_smoke_test.sandbox import CommandResult, Sandbox, sandbox
from infra.local import port
from tests.support import checkout, sinks
from tests.support.sinks import Sinks
from visage_dags import notices

DAG = """
from airflow.sdk import Param, dag, task
from visage_dags.dag_defaults import default_dag_args


@task
def talk(params):
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowFailException
    from visage_dags import notices

    if params["fails"]:
        password = Connection.get("smtp_default").password
        raise AirflowFailException(f"planted: 1 < 2 & {password}")
    notices.notify("all is well", "told by <a task> & its DAG, {{ not.rendered }}")


@dag(**default_dag_args("talkative"), schedule=None, params={"fails": Param(False, type="boolean")})
def talkative():
    talk()


talkative()
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    source = checkout.with_dags(tmp_path_factory.mktemp("source"), {"talkative_dag.py": DAG})
    with sandbox(source, tmp_path_factory.mktemp("sandbox")) as made:
        yield made


@pytest.fixture
def servers() -> Iterator[Sinks]:
    with sinks.open_sinks() as opened:
        yield opened


def run(
    environments: Sandbox, environment: str, extra: dict[str, str], *, fails: bool = False
) -> CommandResult:
    return environments.test(environment, "talkative", conf={"fails": fails}, extra=extra, seconds=120)


@pytest.mark.long  # beside the next, which sends too
def test_a_task_tells_by_mail_and_slack(environments: Sandbox, servers: Sinks) -> None:
    ran = run(environments, "staging", servers.connections)
    assert ran.status == 0, ran.output[-3000:]
    [mail], [(path, post)] = servers.mails, servers.posts
    assert mail["Subject"] == "[Visage staging] talkative: all is well"
    assert mail["From"] == "visage@example.org"
    assert mail["To"] == "team@example.org, owner@example.org"
    page = mail.get_body().get_content()
    assert "told by &lt;a task&gt; &amp; its DAG, {{ not.rendered }}" in page
    assert path == f"/{sinks.TOKEN}"
    assert post["text"].startswith(
        "*[Visage staging] talkative: all is well*\ntold by &lt;a task&gt; &amp; its"
    )
    release = environments.origin.repository.resolve("main^")
    for text in (page, post["text"]):
        for fact in ("staging", release, "talkative", "talk", "manual__"):
            assert fact in text
        assert "http://localhost:" in text
        assert f"/dags/talkative/runs/{quote('manual__')}" in text
        assert "/tasks/talk?try_number=1" in text
    assert "Sent by smtp_default: [Visage staging] talkative: all is well" in ran.output
    assert "Sent by slack_default: [Visage staging] talkative: all is well" in ran.output


def test_a_task_that_fails_is_told_of_without_secrets(environments: Sandbox, servers: Sinks) -> None:
    ran = run(environments, "prod", servers.connections, fails=True)
    assert ran.status != 0
    [mail, last], [(_, post), (_, _)] = servers.mails, servers.posts
    assert last["Subject"] == "[Visage prod] talkative: the run failed"
    assert "/dags/talkative/runs/manual__" in last.get_body().get_content()
    assert mail["Subject"] == "[Visage prod] talkative: talk failed"
    page = mail.get_body().get_content()
    for text in (page, post["text"]):
        assert "AirflowFailException: planted: 1 &lt; 2 &amp; ***" in text
        assert "/tasks/talk?try_number=1" in text
        assert "runbook" in text
        assert "docs/runbooks/talkative.md" in text
        assert sinks.PASSWORD not in text
    assert "docs/runbooks/talkative.md" in last.get_body().get_content()
    assert sinks.TOKEN not in page + post["text"] + ran.output
    # `airflow dags test` prints the task's own traceback as it is; what the notices log is redacted.
    said = [line for line in ran.output.splitlines() if "[gitops.airflow.notices]" in line]
    assert all(any(subject in line for line in said) for subject in ("talk failed", "the run failed"))
    assert not [line for line in said if sinks.PASSWORD in line]


@pytest.mark.parametrize("extra", ['{"key_file": "a", "private_key": "b"}', '{"ssh_port": "many"}'])
def test_a_connection_to_git_that_makes_no_sense_silences_nobody(
    monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    broken = f'{{"conn_type": "git", "host": "https://example.org/x", "extra": {extra}}}'
    monkeypatch.setenv("AIRFLOW_CONN_GIT_DEFAULT", broken)
    facts = notices._with_runbook({"DAG": "talkative", "release": "0" * 40})
    assert facts["runbook"].endswith("docs/runbooks/talkative.md")


@pytest.mark.long
def test_without_connections_it_is_in_the_log(environments: Sandbox) -> None:
    ran = run(environments, "dev", {"NOTIFY_EMAIL": "team@example.org"})
    assert ran.status == 0, ran.output[-3000:]
    assert "told by <a task> & its DAG" in ran.output
    for connection in ("smtp_default", "slack_default"):
        assert f"Not sent: the connection {connection} is not set: [Visage dev]" in ran.output


@pytest.mark.long
def test_servers_that_do_not_answer_are_one_line_each_and_change_nothing(environments: Sandbox) -> None:
    ran = run(environments, "dev", sinks.connections(port.unused(), port.unused()))
    assert ran.status == 0, ran.output[-3000:]
    for connection in ("smtp_default", "slack_default"):
        [line] = [line for line in ran.output.splitlines() if f"Not sent by {connection}" in line]
        assert "Connection refused" in line
        assert "[Visage dev] talkative: all is well" in line
    assert sinks.TOKEN not in ran.output
