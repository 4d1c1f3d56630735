import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import secret, variables
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.variables import Address, UserConfig
from tests.support.command import captured
from tests.support.lab import ROOT

ADDRESS = Address("staging.localhost", 9001)


def derive(layout: Layout, user_config: UserConfig, environment: str = "staging") -> dict[str, str]:
    secrets = secret.load(layout.paths_of(environment).secrets)
    return variables.derive(
        layout, environment, user_config, ADDRESS, secrets, "postgresql://db/visage_staging"
    )


def test_an_environment_gets_its_settings_unchanged_and_its_own_places(layout: Layout) -> None:
    found = derive(layout, UserConfig({}, {}))
    for line in (layout.checkout / "environments/staging/settings.env").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#") and key not in ("WEB_PORT", "SERVING_PORT"):
            assert found[key] == value
    assert found["WEB_PORT"] == found["AIRFLOW__API__PORT"] == "9001"
    assert found["SERVING_PORT"] == "9101"
    assert found["AIRFLOW__API__BASE_URL"] == "http://staging.localhost:9001"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:9001/execution/"
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["VISAGE_HOME"] == str(layout.state / "staging/data")
    assert json.loads(found["AIRFLOW_CONN_GIT_DEFAULT"])["host"] == str(layout.origin)
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    assert found["VISAGE_RUNTIME"] == f"lock:{lock}"


def test_two_environments_share_no_place_and_no_secret(layout: Layout) -> None:
    user_config = UserConfig({}, {})
    one, other = derive(layout, user_config, "staging"), derive(layout, user_config, "prod")
    different = {
        "AIRFLOW_HOME",
        "VISAGE_HOME",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH",
    }
    assert not [key for key in different if one[key] == other[key]]


def test_the_file_env_reaches_the_environments_and_the_shell_only_in_part(layout: Layout) -> None:
    (layout.checkout / ".env").write_text(
        '# mine\nAIRFLOW_CONN_SLACK=\'{"conn_type": "slack"}\'\nCELEBA_DIR=/a\nVISAGE_DEV_PORT=9000\n'
    )
    shell = {"CELEBA_DIR": "/b", "AIRFLOW__CORE__PARALLELISM": "32", "DVC_NO_SCM": "1", "HOME": "/home/me"}
    user_config = UserConfig.read(layout.checkout, shell)
    found = derive(layout, user_config)
    assert found["AIRFLOW_CONN_SLACK"] == '{"conn_type": "slack"}'
    assert found["CELEBA_DIR"] == "/b", "the shell goes before the file"
    assert found["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert "VISAGE_DEV_PORT" not in found
    assert "HOME" not in found
    assert user_config.engine == {"VISAGE_DEV_PORT": "9000"}
    assert user_config.ignored == ["AIRFLOW__CORE__PARALLELISM", "DVC_NO_SCM"]


def test_the_file_env_cannot_contradict_the_settings(layout: Layout) -> None:
    (layout.checkout / ".env").write_text("ACCURACY_THRESHOLD=0.1\n")
    with pytest.raises(
        EngineError, match=r"\.env: ACCURACY_THRESHOLD: environments/staging/settings\.env sets"
    ):
        derive(layout, UserConfig.read(layout.checkout, {}))


def test_a_line_without_a_value_is_named(layout: Layout) -> None:
    (layout.checkout / ".env").write_text("CELEBA_DIR\n")
    with pytest.raises(EngineError, match=r"\.env: CELEBA_DIR: no value; write CELEBA_DIR=value"):
        UserConfig.read(layout.checkout, {})


@given(
    st.dictionaries(
        st.sampled_from(
            ["AIRFLOW_HOME", "AIRFLOW__X__Y", "_AIRFLOW_Z", "DVC_A", "GIT_DIR", "GITOPS_REMOTE", "PYTHONPATH"]
        )
        | st.sampled_from(["HOME", "LANG", "HTTP_PROXY"]),
        st.just("value"),
    )
)
def test_what_is_meant_for_another_program_is_not_passed_on(shell: dict[str, str]) -> None:
    kept = variables.inherit(shell)
    assert set(kept) - {"PATH", "NO_PROXY", "no_proxy"} == set(shell) & {"HOME", "LANG", "HTTP_PROXY"}


def test_this_environment_comes_first_on_the_path_and_no_proxy_is_asked_for_it() -> None:
    kept = variables.inherit({"PATH": "/usr/bin", "no_proxy": "example.org,localhost"})
    assert kept["PATH"] == f"{Path(sys.prefix) / 'bin'}{os.pathsep}/usr/bin"
    assert kept["NO_PROXY"] == kept["no_proxy"] == "example.org,localhost,127.0.0.1,::1,.localhost"


def test_what_changed_is_named_and_nothing_is_told_of_its_value() -> None:
    before = variables.fingerprints({"A": "1", "B": "secret"}, "key")
    now = variables.fingerprints({"A": "2", "C": "3"}, "key")
    assert variables.changed(now, before) == ["A", "B", "C"]
    assert variables.changed(before, before) == []
    assert "secret" not in json.dumps(before)


def test_a_folder_that_the_shell_names_no_more_is_no_change() -> None:
    before = variables.fingerprints({"CELEBA_DIR": "/a"}, "key")
    assert variables.changed(variables.fingerprints({}, "key"), before) == []
    assert variables.changed(variables.fingerprints({"CELEBA_DIR": "/b"}, "key"), before) == ["CELEBA_DIR"]


def test_a_weak_secret_cannot_be_guessed_from_its_fingerprint() -> None:
    one, same, other = (variables.fingerprints({"A": "1234"}, key)["A"] for key in ("k1", "k1", "k2"))
    assert one == same
    assert one != other, "whoever lacks the key cannot compute it"
    digest = hashlib.sha256(b"1234").hexdigest()
    assert one not in digest


def test_equal_secrets_of_two_variables_do_not_show() -> None:
    found = variables.fingerprints({"A": "1234", "B": "1234"}, "key")
    assert found["A"] != found["B"]


# As the web interface does, it reads the alert again each time.
ALERTS = """
import json, sys
from pathlib import Path
from airflow_local_settings import BUNDLE, DASHBOARD_UIALERTS, hostname
BUNDLE.mkdir(parents=True)
for content in json.load(sys.stdin):
    if content is not None:
        (BUNDLE / "release.json").write_text(json.dumps(content))
    print(json.dumps([[alert.category, alert.text] for alert in DASHBOARD_UIALERTS] + [hostname()]))
"""
CCC = f"`{'c' * 12}`"
HELP = "Help: [runbook](/visage/runbooks/verify_release/)"
SERVED: list[tuple[dict[str, object] | None, str, str]] = [
    (None, "info", "**staging** has no release yet"),
    ({"commit": "c" * 40, "refused": None}, "info", f"**staging** runs release `{'c' * 12}`"),
    (
        {
            "commit": "c" * 40,
            "refused": None,
            "model_notice": "model of an earlier commit: train",
            "next_command": "gitops train main",
        },
        "warning",
        f"**staging** runs release `{'c' * 12}`: model of an earlier commit: train. "
        "Next: `gitops train main`",
    ),
    (
        {"commit": None, "refused": "abc: not on main"},
        "error",
        f"**staging** has no release yet; {CCC} is refused: abc: not on main. {HELP}",
    ),
    (
        {"commit": "d" * 40, "refused": "staging rejected it"},
        "error",
        f"**staging** keeps running release `{'d' * 12}`; {CCC} is refused: staging rejected it. {HELP}",
    ),
    (
        {"commit": None, "refused": "commit: '![](http://x.example/t.gif)<img src=x>[a](http://b)'"},
        "error",
        f"**staging** has no release yet; {CCC} is refused: commit: '&#33;&#91;&#93;"
        "(http&#58;//x.example/t.gif)"
        f"&#60;img src=x&#62;&#91;a&#93;(http&#58;//b)'. {HELP}",
    ),
    (
        {
            "commit": "c" * 40,
            "refused": None,
            "model_notice": "<b>![a](//b)",
            "next_command": "gitops train `![a](http://b)`",
        },
        "warning",
        f"**staging** runs release `{'c' * 12}`: &#60;b&#62;&#33;&#91;a&#93;(//b). "
        "Next: <code>gitops train &#96;&#33;&#91;a&#93;(http&#58;//b)&#96;</code>",
    ),
    (
        {"commit": 3},
        "error",
        "**staging**: BUNDLES/release/release.json: commit: Input should be a valid string; "
        "restart the dag-processor, which writes it again",
    ),
]


def test_the_web_interface_shows_the_release_that_runs(tmp_path: Path) -> None:
    home, bundles = tmp_path / "airflow", tmp_path / "bundles"
    shutil.copytree(variables.ASSETS, home)
    default = {"environment": "staging", "declared": "c" * 40}
    shown = captured(
        [sys.executable, "-c", ALERTS],
        input=json.dumps([serving and default | serving for serving, _, _ in SERVED]),
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(home / "config"),
            "VISAGE_ENVIRONMENT": "staging",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(bundles),
        },
        check=True,
    ).stdout
    assert [json.loads(line) for line in shown.splitlines()[-len(SERVED) :]] == [
        [[category, text.replace("BUNDLES", str(bundles).replace("_", "&#95;"))], "localhost"]
        for _, category, text in SERVED
    ]
