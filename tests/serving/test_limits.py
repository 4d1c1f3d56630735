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


def test_the_body_of_a_client_that_nobody_knows_is_not_read(guarded):
    with connected(guarded) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        client.settimeout(10)
        assert client.recv(1000).startswith(b"HTTP/1.1 401")


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
        client.sendall(
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {65 << 20}\r\n\r\n".encode()
        )
        assert b" 413 " in client.recv(1000).splitlines()[0]

    def pieces():
        for _ in range(80):
            yield bytes(1 << 20)

    url = f"{live.url}/v2/models/face_attributes/infer"
    # The service may close the connection before the body was sent
    with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert requests.post(url, data=pieces(), timeout=60).status_code == 413
    assert live.predict(png(plain(1))).status_code == 200


def test_a_client_has_half_of_the_memory_for_requests_at_most(guarded, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_HELD", 2 << 20)
    url = f"{guarded.url}/v2/models/face_attributes/infer"
    refused = requests.post(url, data=bytes(3 << 19), headers=TOKEN, timeout=60)
    assert refused.status_code == 429
    assert refused.json()["error"] == "too many bytes wait for an answer; try again"
    for _ in range(3):  # Bytes of answered requests count no longer
        assert requests.post(url, data=bytes(1 << 19), headers=TOKEN, timeout=60).status_code == 400


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


@pytest.mark.parametrize("part", [b"a" * 1000, b"\r\nX: a" * 200])
def test_a_head_without_end_is_cut_off(live, part):
    with connected(live) as client, contextlib.suppress(ConnectionError):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(2000):
            client.sendall(part)
            time.sleep(0.0005)
        pytest.fail("two megabytes were taken")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"X: a\r\n b",
        b"X: a\0b",
    ],
)
def test_a_request_that_a_proxy_may_read_in_another_way_is_refused(live, head):
    hidden = b"0\r\n\r\nGET /release HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(live) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n" + hidden)
        client.settimeout(10)
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("part", "count"),
    [
        (b'name="files"; filename="a"', 2000),
        (b'name="other"', 2000),
        (b'name="files"; filename="' + b"a" * 100_000 + b'"', 1),
    ],
)
def test_a_form_of_very_many_parts_or_with_a_long_head_is_refused(live, part, count):
    body = (b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n\r\ny\r\n") * count + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(requests.ConnectionError):
        refused = requests.post(f"{live.url}/predict", data=body, headers=headers, timeout=60)
        assert refused.status_code == 400
        assert refused.json().keys() == {"error"}
    assert live.predict(png(plain(1))).status_code == 200


def test_no_address_is_fetched(live):
    """Otherwise whoever may ask could reach what this machine reaches."""
    for options in (
        {"json": {"urls": ["http://127.0.0.1/"]}},
        {"data": {"files": "http://169.254.169.254/"}},
    ):
        assert requests.post(f"{live.url}/predict", timeout=10, **options).status_code == 422


def test_an_unknown_path_has_an_error_in_the_same_form(live):
    refused = requests.get(f"{live.url}/static/..%2f..%2fetc/passwd", timeout=10)
    assert (refused.status_code, refused.json()) == (404, {"error": "Not Found"})


def test_a_slow_body_is_cut_off(live, monkeypatch):
    monkeypatch.setattr(limits, "BODY", 1.0)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
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
