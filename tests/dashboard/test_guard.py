"""Every request to the api-server passes the guard."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard import guard
from dashboard.guard import Guard
from dashboard.plugin import VisagePlugin

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


def client(fault: str | None = None, *, fab: bool = False) -> TestClient:
    async def page(_: Request) -> Response:
        return PlainTextResponse("in", headers={"Referrer-Policy": "no-referrer"})

    app = Starlette(routes=[Route("/", page), Route("/auth/login", page)])
    app.add_middleware(
        Guard, hosts=frozenset({"airflow-webserver", "visage.example.org"}), fault=fault, fab=fab
    )
    return TestClient(app)


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "prod.localhost:8082",
        "LOCALHOST.",
        "127.0.0.1:8080",
        "[::1]:8080",
        "10.1.2.3:8080",  # a probe of Kubernetes
        "airflow-webserver:8080",
        "visage.example.org",
    ],
)
def test_its_own_names_are_answered(host: str) -> None:
    assert client().get("/", headers={"Host": host}).text == "in"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "visage.example.org.evil.example",
        "visage.example.org@evil.example",
        "evil.example/localhost",
        "evil.example#localhost",
        "[::1",
        "",
    ],
)
def test_a_name_of_somebody_else_is_refused(host: str) -> None:
    answer = client().get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "in" not in answer.text.split()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_two_names_are_refused() -> None:
    answer = client().get("/", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert answer.status_code == 421


def test_answers_cannot_be_framed_or_load_from_elsewhere() -> None:
    headers = client().get("/", headers={"Host": "localhost"}).headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in policy
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer", "a page may have stricter headers of its own"


@pytest.mark.parametrize("fab", [True, False])
def test_scripts_within_a_page_run_only_in_fab_s_own_pages(fab: bool) -> None:
    for path in ("/", "/auth/login"):
        answer = client(fab=fab).get(path, headers={"Host": "localhost"})
        inline = "script-src 'self' 'unsafe-inline'" in answer.headers["Content-Security-Policy"]
        assert inline is (fab and path != "/")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "[::1]", "localhost", "127.0.0.2"])
def test_the_simple_auth_manager_is_for_loopback(address: str) -> None:
    assert guard.fault(SIMPLE, address) is None


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example.org", "prod.example"]
)
def test_elsewhere_another_auth_manager_is_needed(address: str) -> None:
    assert "AIRFLOW__CORE__AUTH_MANAGER" in (guard.fault(SIMPLE, address) or "")
    assert guard.fault(FAB, address) is None


def test_an_api_server_with_the_wrong_auth_manager_answers_nobody() -> None:
    answer = client("not here").get("/", headers={"Host": "localhost"})
    assert (answer.status_code, answer.text) == (503, "not here\n")


def test_the_api_server_gets_it_with_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://visage.example.org/prod")
    monkeypatch.setenv("AIRFLOW__API__HOST", "0.0.0.0")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://airflow-webserver:8080/execution/")
    monkeypatch.setenv("WEB_HOST", "prod.localhost")
    [found] = VisagePlugin().fastapi_root_middlewares
    assert found["middleware"] is Guard
    assert found["kwargs"]["hosts"] == {"visage.example.org", "airflow-webserver", "prod.localhost"}
    assert "listens on 0.0.0.0" in found["kwargs"]["fault"]
    monkeypatch.setenv(guard.PUBLISHED, "127.0.0.1")
    assert VisagePlugin().fastapi_root_middlewares[0]["kwargs"]["fault"] is None
