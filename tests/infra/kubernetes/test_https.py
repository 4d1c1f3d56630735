"""The api-server as the example of an Ingress with TLS configures it, reached by that Ingress and by pods."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from infra.airflow import heartbeat
from tests.dashboard.server import PASSWORDS, serve
from tests.infra.kubernetes.rendering import objects, pod_of
from tests.infra.kubernetes.test_patches import made_with

pytestmark = [pytest.mark.long, pytest.mark.system("kubectl"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("word", ["ingressClassName", "example.org/airflow"])
def test_people_log_in_by_tls_alone_and_pods_reach_it(word: str, tmp_path: Path) -> None:
    manifests = made_with(tmp_path / "tree", word)
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
        cookies = log_in(server.url, engine["AIRFLOW__API__BASE_URL"])
        tasks = urlsplit(engine["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]).path
        for path in (container["readinessProbe"]["httpGet"]["path"], f"{tasks}health"):
            assert requests.get(f"{server.url}{path}", timeout=30).status_code == 200, path
        assert heartbeat.unanswered(server.port, heartbeat.PAGES["api-server"][2]) is None
    assert cookies == {"session": True, "_token": True}


def log_in(server: str, address: str) -> dict[str, bool]:
    """Log in by the form, as behind the Ingress, and return whether each cookie is sent by TLS alone."""
    public = urlsplit(address)
    known: dict[str, str] = {}
    secure: dict[str, bool] = {}

    def ask(method: str, path: str, data: dict[str, str] | None = None) -> requests.Response:
        headers = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "203.0.113.7",
            "Host": public.netloc,
            "Referer": f"{address}/",
            "Cookie": "; ".join(f"{name}={value}" for name, value in known.items()),
        }
        answer = requests.request(
            method,
            f"{server}{public.path}{path}",
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=30,
        )
        for cookie in answer.cookies:
            known[cookie.name] = cookie.value or ""
            secure[cookie.name] = cookie.secure
        return answer

    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', ask("GET", "/auth/login/").text)
    assert token
    form = {"username": "airflow", "password": PASSWORDS["airflow"], "csrf_token": token[1]}
    ask("POST", "/auth/login/", form)
    after = ask("GET", "/auth/")
    place = urlsplit(after.headers["Location"])
    assert place.scheme in ("", "https")
    assert place.netloc in ("", public.netloc)
    assert place.path.startswith(public.path)
    return secure
