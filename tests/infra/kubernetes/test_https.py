"""The api-server as the example of an Ingress with TLS configures it, reached as by that Ingress."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.dashboard.server import PASSWORDS, serve
from tests.infra.kubernetes.rendering import objects, pod_of
from tests.infra.kubernetes.test_patches import made_with

pytestmark = [pytest.mark.long, pytest.mark.system("kubectl"), pytest.mark.timeout(600)]


def test_a_login_sets_no_cookie_that_a_browser_would_send_without_tls(tmp_path: Path) -> None:
    manifests = made_with(tmp_path / "tree", "kind: Ingress")
    [engine] = [one["data"] for name, one in objects(manifests, "ConfigMap").items() if "engine" in name]
    pod = pod_of(objects(manifests, "Deployment")["airflow-api-server"])
    assert pod
    [container] = pod["containers"]
    airflow, command, *options = container["args"]
    assert (airflow, command) == ("airflow", "api-server")
    own = {
        **engine,
        **{one["name"]: one["value"] for one in container["env"]},
        # The volumes of the pod
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "bundles"),
        "VISAGE_HOME": str(tmp_path / "home"),
        "HOME": os.environ["HOME"],
    }
    with serve(tmp_path, "prod", own, tmp_path / "airflow.db", "", *options) as server:
        ingress = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "203.0.113.7",
            "Host": "airflow.example.org",
        }

        def ask(method: str, path: str, data: dict[str, str] | None = None) -> requests.Response:
            cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
            headers = {**ingress, "Referer": "https://airflow.example.org/", "Cookie": cookies}
            answer = requests.request(
                method, f"{server.url}{path}", headers=headers, data=data, allow_redirects=False, timeout=30
            )
            for cookie in answer.cookies:
                jar[cookie.name] = cookie.value or ""
                secure[cookie.name] = cookie.secure
            return answer

        jar: dict[str, str] = {}
        secure: dict[str, bool] = {}
        page = ask("GET", "/auth/login/").text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert token
        form = {"username": "airflow", "password": PASSWORDS["airflow"], "csrf_token": token[1]}
        ask("POST", "/auth/login/", form)
        after = ask("GET", "/auth/")
        assert secure == {"session": True, "_token": True}
        address = urlsplit(after.headers["Location"])
        assert address.scheme in ("", "https")
        assert address.netloc in ("", "airflow.example.org")
