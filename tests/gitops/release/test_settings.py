import json
from io import StringIO
from pathlib import Path

import pytest
from airflow.api_fastapi.common.types import Theme
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import SettingsError
from gitops.release import settings
from tests.support.environments import ENVIRONMENTS

ROOT = Path(__file__).parents[3]
DEV = (ROOT / settings.path_of("dev")).read_text("utf-8")


def _keys(environment: str) -> list[str]:
    content = (ROOT / settings.path_of(environment)).read_bytes()
    return list(settings.parse_lines(content, environment))


def test_all_environments_set_the_same_keys_in_the_same_order() -> None:
    assert len({tuple(_keys(environment)) for environment in ENVIRONMENTS}) == 1


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_reader_reads_the_same(environment: str) -> None:
    ours = settings.load(environment, ROOT).variables
    assert ours == dotenv_values(ROOT / settings.path_of(environment), interpolate=False)
    assert ours == dotenv_values(ROOT / settings.path_of(environment), interpolate=True)
    assert ours == _as_kustomize_reads((ROOT / settings.path_of(environment)).read_text("utf-8"))


def _as_kustomize_reads(text: str) -> dict[str, str]:
    lines = (line.lstrip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_values(environment: str) -> None:
    loaded = settings.load(environment, ROOT)
    number = ENVIRONMENTS.index(environment)
    assert loaded.web_port == 8080 + number
    assert loaded.web_host == ("localhost" if environment == "dev" else f"{environment}.localhost")
    assert loaded.default_password == ("airflow" if environment == "dev" else "")
    assert "verify_release" in loaded.active_dags
    assert loaded.accuracy_threshold == 0.85
    [bundle] = json.loads(loaded.variables["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert bundle["classpath"] == "gitops.airflow.bundle.ReleaseBundle"
    assert bundle["kwargs"] == {"environment": environment, "refresh_interval": 10}


def test_airflow_accepts_the_themes_and_they_differ() -> None:
    key = "AIRFLOW__API__THEME"
    themes = [json.loads(settings.load(name, ROOT).variables[key]) for name in ENVIRONMENTS]
    shades = set()
    for theme in themes:
        brand = Theme.model_validate(theme).tokens["colors"].brand
        assert sorted(map(int, brand)) == [50, *range(100, 1000, 100), 950]
        shades.add(json.dumps(theme))
    assert len(shades) == 3


BUNDLE = next(line.partition("=")[2] for line in DEV.split("\n") if "DAG_BUNDLE_CONFIG_LIST=" in line)


def _with(old: str, new: str) -> bytes:
    assert old in DEV
    return DEV.replace(old, new).encode()


def _line(key: str) -> int:
    return next(n for n, line in enumerate(DEV.split("\n"), start=1) if line.startswith(key))


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("WEB_PORT=8080", "WEB_PORT=http", "WEB_PORT", "valid integer"),
        ("WEB_PORT=8080", "WEB_PORT=0", "WEB_PORT", "greater than or equal to 1"),
        ("WEB_PORT=8080", "WEB_PRT=8080", "WEB_PORT", "WEB_PRT: unknown; did you mean WEB_PORT?"),
        ("WEB_PORT=8080", "WEB_PORT=8080 # the web", "WEB_PORT", "a # after a space"),
        ("WEB_PORT=8080", 'WEB_PORT="8080"', "WEB_PORT", "quotes"),
        ("WEB_PORT=8080", "WEB_PORT= 8080", "WEB_PORT", "space around"),
        ("WEB_PORT=8080", "WEB_PORT=8080 ", "WEB_PORT", "space around"),
        ("WEB_PORT=8080", "WEB_PORT=8080\r", "WEB_PORT", "a Windows line end"),
        ("WEB_PORT=8080", "export WEB_PORT=8080", "WEB_PORT", "is no key"),
        ("WEB_PORT=8080", "export WEB_PORT=8080", "export", "is no key"),
        ("WEB_PORT=8080", "WEB_PORT: 8080", "WEB_PORT", "is not KEY=value"),
        ("WEB_HOST=localhost", "WEB_HOST=$HOST", "WEB_HOST", "$ and"),
        ("WEB_HOST=localhost", "WEB_HOST=a b", "WEB_HOST", "match pattern"),
        ("ACCURACY_THRESHOLD=0.85", "ACCURACY_THRESHOLD=85", "ACCURACY_THRESHOLD", "less than or equal to 1"),
        ("ACCURACY_THRESHOLD=0.85", "ACCURACY_THRESHOLD=nan", "ACCURACY_THRESHOLD", "finite"),
        ("MIN_SOAK_HOURS=0", "MIN_SOAK_HOURS=inf", "MIN_SOAK_HOURS", "finite"),
        ("MAX_ATTRIBUTE_LOSS=0", "MAX_ATTRIBUTE_LOSS=1", "MAX_ATTRIBUTE_LOSS", "less than 1"),
        ("MAX_SLICE_LOSS=0.01", "MAX_SLICE_LOSS=-1", "MAX_SLICE_LOSS", "greater than or equal to 0"),
        ("MAX_LATENCY_RATIO=2", "MAX_LATENCY_RATIO=0", "MAX_LATENCY_RATIO", "greater than 0"),
        ("MAX_SIZE_RATIO=5", "MAX_SIZE_RATIO=inf", "MAX_SIZE_RATIO", "finite"),
        ("ACTIVE_DAGS=score_faces,", "ACTIVE_DAGS=score_faces, ", "ACTIVE_DAGS", "no spaces"),
        *(
            (f"{key}={old}", f"{key}={new}", key, says)
            for key, old, new, says in (
                ("AIRFLOW__CORE__LOAD_EXAMPLES", "False", "True", "DAGs come from the release alone"),
                ("AIRFLOW__CORE__LOAD_EXAMPLES", "False", "no", "write False"),
                ("AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION", "True", "yes", "True or False"),
                ("AIRFLOW__API__WORKERS", "1", "many", "a whole number"),
            )
        ),
        *(
            ("AIRFLOW__API__WORKERS=1", f"{key}=1", "AIRFLOW__API__WORKERS", "; ".join(settings.REFUSED[key]))
            for key in settings.REFUSED
        ),
        ("AIRFLOW__API__WORKERS=1", "AIRFLOW__API__PORT=1", "AIRFLOW__API__WORKERS", "write WEB_PORT"),
        (
            "AIRFLOW__API__WORKERS=1",
            "AIRFLOW__CORE__FERNET_KEY_SECRET=key",
            "AIRFLOW__API__WORKERS",
            "the engine sets it",
        ),
        ("AIRFLOW__API__THEME={", "AIRFLOW__API__THEME=[", "AIRFLOW__API__THEME", "JSON"),
        (
            "AIRFLOW__API__THEME={",
            f"AIRFLOW__API__THEME={'[' * 9000}",
            "AIRFLOW__API__THEME",
            "nested too deeply",
        ),
        ("AIRFLOW__API__THEME={", 'AIRFLOW__API__THEME={"a":NaN,', "AIRFLOW__API__THEME", "JSON: NaN"),
        ("AIRFLOW__API__THEME={", 'AIRFLOW__API__THEME={"tokens":1,', "AIRFLOW__API__THEME", "twice"),
        (
            "AIRFLOW__API__THEME={",
            f'AIRFLOW__API__THEME={{"a":{"9" * 5000},',
            "AIRFLOW__API__THEME",
            "300 digits",
        ),
        ("AIRFLOW__API__THEME={", "AIRFLOW__API__THEME=" + "x" * 70_000, None, "larger than 65,536 bytes"),
        ("MIN_SOAK_HOURS=0", "MIN_SOAK_HOURS=1e300", "MIN_SOAK_HOURS", "less than or equal to 8760"),
        ("MIN_SOAK_HOURS=0", f"MIN_SOAK_HOURS={'9' * 5000}", "MIN_SOAK_HOURS", "finite"),
        ("TASK_RETRIES=2", f"TASK_RETRIES={'9' * 5000}", "TASK_RETRIES", "integer"),
        ("TASK_RETRY_SECONDS=30", "TASK_RETRY_SECONDS=1e300", "TASK_RETRY_SECONDS", "86400"),
        *(
            (BUNDLE, shape, "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE", "write [{")
            for shape in (
                "[]",
                '[{"kwargs":[1]}]',
                '[{"kwargs":{"environment":"dev"}}]',
                BUNDLE.replace("gitops.airflow.bundle.ReleaseBundle", "evil.Bundle"),
                BUNDLE.replace('"release"', '"other"'),
                BUNDLE.replace('"refresh_interval":10', '"refresh_interval":10,"git_conn_id":"evil"'),
                BUNDLE.replace('"refresh_interval":10', '"refresh_interval":10,"subdir":"src"'),
                BUNDLE.replace('"refresh_interval":10', '"refresh_interval":true'),
                BUNDLE.replace('"refresh_interval":10', '"refresh_interval":1e300'),
                BUNDLE[:-1] + "," + BUNDLE[1:],
            )
        ),
        ("VISAGE_ENVIRONMENT=dev", "VISAGE_ENVIRONMENT=prod", "VISAGE_ENVIRONMENT", "write dev"),
        (
            '"environment":"dev"',
            '"environment":"prod"',
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE",
            '"environment":"dev"',
        ),
    ],
)
def test_refuses_with_file_and_line(old: str, new: str, key: str | None, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.Settings.from_file(_with(old, new), "dev")
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    if key is None:
        assert message.startswith("environments/dev/settings.env: ")
    else:
        line = _line(key if key != "export" else "WEB_PORT")
        assert message.startswith(f"environments/dev/settings.env:{line}: ")


def test_line_ends_of_windows_are_named() -> None:
    content = (ROOT / "environments/dev/settings.env").read_bytes().replace(b"\n", b"\r\n")
    with pytest.raises(SettingsError, match="a Windows line end; save the file with the line ends of Unix"):
        settings.Settings.from_file(content, "dev")


@pytest.mark.parametrize(
    "line",
    [
        "AIRFLOW__LOGGING__REMOTE_LOGGING=True",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER=s3://logs/dev",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID=aws_default",
        "AIRFLOW__SECRETS__BACKEND=airflow.providers.hashicorp.secrets.vault.VaultBackend",
        'AIRFLOW__SECRETS__BACKEND_KWARGS={"url":"https://vault.example.org","auth_type":"kubernetes"}',
        "AIRFLOW__CORE__AUTH_MANAGER=airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__EXECUTOR=LocalExecutor,KubernetesExecutor",
        "AIRFLOW__METRICS__OTEL_ON=True",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY=4",
        "AIRFLOW__KUBERNETES_EXECUTOR__RUNNING_POD_LOG_LINES=50",
        "AIRFLOW__CELERY__BROKER_URL_SECRET=broker-url",
    ],
)
def test_an_option_of_airflow_is_a_variable_of_the_process(line: str) -> None:
    key, _, value = line.partition("=")
    assert settings.Settings.from_file(f"{DEV}{line}\n".encode(), "dev").variables[key] == value


def test_a_process_has_the_values_of_its_file() -> None:
    loaded = settings.load("dev", ROOT)
    assert (
        settings.Settings.from_environ({"PATH": "/bin", **loaded.variables}).model_dump()
        == loaded.model_dump()
    )
    alone = settings.Settings.from_environ({"VISAGE_ENVIRONMENT": "dev"})
    assert (alone.task_retries, alone.accuracy_threshold, alone.active_dags) == (2, 0.85, ())


def test_refuses_the_settings_of_another_environment() -> None:
    with pytest.raises(SettingsError, match="'dev' in the folder of staging; write staging"):
        settings.Settings.from_file(DEV.encode(), "staging")


def test_refuses_missing_and_double_keys() -> None:
    with pytest.raises(SettingsError, match=r"settings\.env: WEB_PORT: missing"):
        settings.Settings.from_file(_with("WEB_PORT=8080\n", ""), "dev")
    last = DEV.count("\n") + 1
    with pytest.raises(SettingsError, match=rf"settings\.env:{last}: WEB_PORT is there twice, first in line"):
        settings.Settings.from_file((DEV + "WEB_PORT=8080\n").encode(), "dev")


def test_a_secret_in_a_refused_value_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        settings.Settings.from_file(_with("WEB_PORT=8080", "WEB_PORT=hunter2"), "dev")
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.env: No such file"):
        settings.load("dev", tmp_path)
    (tmp_path / "environments/dev").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"qa: no such environment in .*; there are dev"):
        settings.load("qa", tmp_path)


# A line end is no part of a value: what follows it is the next line.
_VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n"), max_size=30)


@given(st.dictionaries(st.from_regex(r"\A[A-Z][A-Z0-9_]{0,10}\Z"), _VALUES, max_size=4))
def test_what_is_accepted_all_readers_read_alike(values: dict[str, str]) -> None:
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    try:
        found = settings.parse_lines(text.encode(), "file")
    except SettingsError:
        return
    assert {key: value for key, (_, value) in found.items()} == values
    assert dotenv_values(stream=StringIO(text), interpolate=True) == values
    assert _as_kustomize_reads(text) == values


@given(st.data())
def test_a_damaged_file_is_one_line_that_names_it(data: st.DataObject) -> None:
    """Cut out or put in something anywhere in a file that was right."""
    start = data.draw(st.integers(0, len(DEV)))
    end = data.draw(st.integers(start, min(len(DEV), start + 30)))
    text = DEV[:start] + data.draw(st.text(max_size=20)) + DEV[end:]
    message = settings.path_of("dev")
    try:
        found = settings.Settings.from_file(text.encode("utf-8", "surrogatepass"), "dev")
    except SettingsError as error:
        message = str(error)
    else:
        assert found.visage_environment == "dev"
    assert message.startswith(settings.path_of("dev"))
    assert "\n" not in message
