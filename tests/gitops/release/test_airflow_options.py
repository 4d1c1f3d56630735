"""The options that a settings.env may have are those of the locked Airflow and its providers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.configuration import conf
from hypothesis import given
from hypothesis import strategies as st

from gitops.release import airflow_options
from gitops.release.airflow_options import fault, locked

ROOT = Path(__file__).parents[3]
LIGHT = (
    *("annotated_types", "pydantic", "pydantic_core", "tenacity"),
    *("typing_extensions", "typing_inspection", "yaml"),
)
"""The packages that reading settings takes."""


def test_the_file_lists_the_options_of_the_installed_versions() -> None:
    assert locked() == airflow_options.installed(), "run make airflow-options"


def test_airflow_itself_knows_these_options_and_these_secrets() -> None:
    described = {
        conf._env_var_name(section, key)
        for section, content in conf.configuration_description.items()
        for key in content["options"]
        if key.isidentifier()
    }
    known = {name for name in locked().types if name.startswith("AIRFLOW__")}
    assert described <= known
    # Airflow's code reads these, and no document of it has them.
    assert "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES" in known - described
    assert len(known - described) < 20
    secrets = {conf._env_var_name(*pair) for pair in conf.sensitive_config_values}
    assert secrets - locked().renamed.keys() == locked().secrets


def test_every_default_of_airflow_has_the_type_that_it_is_checked_for() -> None:
    defaults = {
        conf._env_var_name(section, key): conf.get_default_value(section, key)
        for section, content in conf.configuration_description.items()
        for key in content["options"]
    }
    checked = 0
    for name, kind in locked().types.items():
        if kind != "string" and name not in locked().secrets and (default := defaults.get(name)):
            assert fault(name, str(default)) is None, name
            checked += 1
    assert checked > 150


@pytest.mark.parametrize(
    ("section", "key", "value", "right"),
    [
        ("logging", "remote_logging", "True", True),
        ("logging", "remote_logging", "yes", False),
        ("metrics", "otel_on", "1", True),
        ("kubernetes_executor", "delete_worker_pods", "2", False),
        ("celery", "worker_prefetch_multiplier", "4", True),
        ("celery", "worker_prefetch_multiplier", "4.5", False),
        ("celery", "operation_timeout", "1e1", True),
        ("celery", "operation_timeout", "nan", False),
        ("kubernetes_executor", "delete_option_kwargs", '{"grace_period_seconds": 10}', True),
        ("kubernetes_executor", "delete_option_kwargs", "{'grace_period_seconds': 10}", False),
        ("common.io", "xcom_objectstorage_threshold", "1000000", True),
        ("celery_broker_transport_options", "max_retries", "3", True),
        ("core", "executor", "LocalExecutor,KubernetesExecutor", True),
    ],
)
def test_a_value_is_checked_as_airflow_reads_it(section: str, key: str, value: str, right: bool) -> None:
    assert (fault(conf._env_var_name(section, key), value) is None) == right


@given(st.sampled_from(sorted(locked().types)), st.text(st.characters(codec="ascii"), max_size=12))
def test_airflow_can_read_whatever_is_accepted(name: str, value: str) -> None:
    if fault(name, value) is None:
        match locked().types[name]:
            case "integer":
                int(value)
            case "float":
                float(value)
            case "boolean":
                assert value.lower() in ("t", "true", "1", "f", "false", "0")
            case "json":
                assert value == "" or json.loads(value) is not NotImplemented


@given(st.sampled_from(sorted(locked().types)), st.integers(-(10**9), 10**9))
def test_a_number_is_accepted_wherever_airflow_reads_one(name: str, value: int) -> None:
    if locked().types[name] in ("integer", "float"):
        assert fault(name, str(value)) is None


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("AIRFLOW__LOGGING__REMOTE_LOGING", "True", "did you mean AIRFLOW__LOGGING__REMOTE_LOGGING?"),
        ("AIRFLOW__WEBSERVER__BASE_URL", "http://x", "renamed it; write AIRFLOW__API__BASE_URL"),
        ("AIRFLOW__SCHEDULER__PARALLELISM", "2", "did you mean AIRFLOW__CORE__PARALLELISM?"),
        (
            "AIRFLOW__AWS__CLOUDWATCH",
            "x",
            "add that to pyproject.toml, then run make lock setup airflow-options",
        ),
        ("AIRFLOW__SENTRY__SENTRY_DSN", "x", "or write AIRFLOW__SENTRY__SENTRY_DSN_SECRET="),
        ("AIRFLOW__CELERY__BROKER_URL", "redis://redis", "a secret, and this file is in git"),
        ("AIRFLOW__API__BASE_URL", "http://me:hunter2@web", "a secret, and this file is in git"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=x", "put it into .env or a Kubernetes Secret"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"auth":[{"secret_id":"hunter2"}]}', "a secret"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"url":"https://me:hunter2@vault"}', "a secret"),
        ("AIRFLOW__CORE__PARALLELISM_CMD", "echo 2", "unknown to Airflow"),
        ("AIRFLOW_CONN_SMTP_DEFAULT", "{}", "a secret, and this file is in git"),
    ],
)
def test_what_is_refused_is_told_with_the_remedy(key: str, value: str, says: str) -> None:
    found = fault(key, value)
    assert found is not None
    assert says in "; ".join(found)
    assert "hunter2" not in "; ".join(found)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("AIRFLOW__SENTRY__SENTRY_DSN_SECRET", "sentry-dsn"),
        ("AIRFLOW__CELERY__BROKER_URL_CMD", "cat /run/secrets/broker"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"url":"https://vault","token_path":"/run/token"}'),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"are_secret_values_urlencoded":true}'),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
    ],
)
def test_the_place_of_a_secret_is_no_secret(key: str, value: str) -> None:
    assert fault(key, value) is None


def test_settings_are_checked_where_airflow_is_not_installed(tmp_path: Path) -> None:
    for package in LIGHT:
        found = Path(sys.modules[package].__file__ or "")
        source = found.parent if found.name == "__init__.py" else found
        (tmp_path / source.name).symlink_to(source)
    program = (
        "from gitops.release import airflow_options, settings; assert airflow_options.installed() is None;"
        "print(*settings.load('dev').active_dags);"
        "print(airflow_options.fault('AIRFLOW__CORE__PARALELISM', '2'))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "verify_release" in ran.stdout
    assert "did you mean AIRFLOW__CORE__PARALLELISM?" in ran.stdout
