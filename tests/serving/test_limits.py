"""The answers to hostile and slow clients."""

import contextlib
import hashlib
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests

from serving import limits
from serving.clients import Token
from tests.serving.conftest import ONE, plain, png, running
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, models):
    """A service with a client, a low rate and a short queue."""
    tokens = {
        "shop": Token(hashlib.sha256(b"0123456789abcdef").hexdigest()),
        "owner": Token(hashlib.sha256(b"0123456789abcdeg").hexdigest(), frozenset({"reader"})),
        "watch": Token(hashlib.sha256(b"0123456789abcdeh").hexdigest(), frozenset({"operator"})),
    }
    with running(tmp_path_factory.mktemp("guarded") / "home", models, tokens=tokens, rate=1) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        yield service


TOKEN = {"Authorization": "Bearer 0123456789abcdef"}


def test_a_client_needs_its_token(guarded):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic 0123456789abcdef"}):
        done = guarded.predict(png(plain(1)), headers=headers)
        assert done.status_code == 401
        assert done.headers["WWW-Authenticate"] == "Bearer"
    assert requests.get(f"{guarded.url}/release", timeout=10).status_code == 401
    assert requests.get(f"{guarded.url}/readyz", timeout=10).status_code == 200
    assert guarded.predict(png(plain(1)), headers=TOKEN).status_code == 200


def test_a_client_does_what_its_role_allows(guarded):
    calls = {
        "release": lambda headers: requests.get(f"{guarded.url}/release", headers=headers, timeout=60),
        "releases": lambda headers: requests.get(f"{guarded.url}/releases", headers=headers, timeout=60),
        "search": lambda headers: requests.get(f"{guarded.url}/search", headers=headers, timeout=60),
        "predict": lambda headers: guarded.predict(png(plain(1)), headers=headers),
    }
    for name in ("explain", "compare"):
        calls[name] = lambda headers, name=name: requests.post(
            f"{guarded.url}/{name}",
            params={"release": ONE},
            files={"file": png(plain(1))},
            headers=headers,
            timeout=60,
        )
    everybody = {"release", "releases"}
    for token, allowed in (
        ("0123456789abcdef", everybody | {"predict", "explain", "compare"}),
        ("0123456789abcdeg", everybody | {"search"}),
        ("0123456789abcdeh", everybody),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        statuses = {name: call(headers).status_code for name, call in calls.items()}
        assert {name for name, status in statuses.items() if status != 403} == allowed, statuses
    refused = calls["search"](TOKEN)
    assert refused.json()["error"] == "your token is of no reader; its line needs the word reader"


def test_more_than_the_rate_is_told_when_to_come_back(guarded):
    contents = [png(plain(1))] * 16
    statuses = [guarded.predict(*contents, headers=TOKEN) for _ in range(3)]
    refused = [done for done in statuses if done.status_code == 429]
    assert refused
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 3600
    assert "photographs a second" in refused[0].json()["error"]


def test_a_page_of_another_site_is_refused(live):
    done = live.predict(png(plain(1)), headers={"Sec-Fetch-Site": "cross-site"})
    assert done.status_code == 403
    done = requests.options(f"{live.url}/predict", headers={"Origin": "https://other.example"}, timeout=10)
    assert "Access-Control-Allow-Origin" not in done.headers


def test_a_page_whose_name_came_to_mean_this_machine_is_refused(live):
    headers = {"Host": "pages.example:8180", "Sec-Fetch-Site": "same-origin"}
    assert requests.get(f"{live.url}/search", headers=headers, timeout=60).status_code == 403
    assert live.predict(png(plain(1)), headers=headers).status_code == 403


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "\u0663", "2147483648"])
def test_a_length_that_is_none_is_refused(live, length):
    headers = {"Inference-Header-Content-Length": length.encode()}
    url = f"{live.url}/v2/models/face_attributes/infer"
    assert requests.post(url, data=b"{}", headers=headers, timeout=60).status_code == 400


def test_too_much_json_is_refused_unread(live):
    body = b'{"inputs": [' + b"0," * (3 << 20)
    refused = requests.post(f"{live.url}/v2/models/face_attributes/infer", data=body, timeout=60)
    assert refused.status_code == 413
    assert refused.json()["error"] == "more than 4 MiB of JSON; send the pixels as binary data"


def test_too_many_files(live):
    assert live.predict(*[b"x"] * 17).status_code == 413
    assert requests.post(f"{live.url}/predict", timeout=10).status_code == 422


def test_a_photograph_that_is_too_large_is_refused_and_the_others_are_answered(live):
    large, small = live.predict(b"\xff\xd8" + bytes(33 << 20), png(plain(1))).json()["photographs"]
    assert large["error"] == "larger than 32 MiB"
    assert small["error"] is None


def test_too_large_a_body_is_refused_with_and_without_its_length(live):
    with connected(live) as client:
        client.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {65 << 20}\r\n\r\n".encode())
        assert b" 413 " in client.recv(1000).splitlines()[0]

    def pieces():
        for _ in range(80):
            yield bytes(1 << 20)

    url = f"{live.url}/v2/models/face_attributes/infer"
    # The service may close the connection before the body was sent
    with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert requests.post(url, data=pieces(), timeout=60).status_code == 413
    assert live.predict(png(plain(1))).status_code == 200


def connected(service):
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


@pytest.mark.parametrize("start", [b"", b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_slow_head_is_cut_off(live, monkeypatch, start):
    monkeypatch.setattr(limits, "HEAD", 0.5)
    with connected(live) as client:
        client.sendall(start)
        begun = time.monotonic()
        assert client.recv(1000) == b""
        assert time.monotonic() - begun < 20


def test_a_slow_body_is_cut_off(live, monkeypatch):
    monkeypatch.setattr(limits, "BODY", 1.0)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    with connected(live) as client:
        client.sendall(head + b"--x")
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_full_queue_is_told_when_to_come_back(tmp_path, models):
    with running(tmp_path / "home", models, capacity=4) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        statuses, contents = [], [png(plain(index)) for index in range(16)]

        def ask():
            statuses.append(service.predict(*contents))

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {done.status_code for done in statuses} == {200, 429}
    assert all("Retry-After" in done.headers for done in statuses if done.status_code == 429)
