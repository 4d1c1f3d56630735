"""The service as clients see it: real HTTP, a real worker, a real model."""

import hashlib
import json
import os
import signal
import threading
import time

import cv2
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import requests

from serving import cli
from serving.clients import Token
from tests.serving.conftest import ATTRIBUTES, BROKEN, ONE, ROOT, TWO, plain, png, running
from tests.support.waiting import wait_for


def test_each_face_of_a_photograph_is_answered(live, two_faces):
    done = live.predict(two_faces, png(plain(255, 128)), b"hello")
    assert done.status_code == 200, done.text
    two, one, none = done.json()["photographs"]
    assert [len(photograph["faces"]) for photograph in (two, one, none)] == [2, 1, 0]
    assert all(photograph["release"] == ONE for photograph in (two, one, none))
    assert none["error"] == "not a JPEG, PNG, WebP or HEIC"
    (face,) = one["faces"]
    assert (face["box"], face["score"]) == (None, None), "it came aligned"
    assert face["attributes"]["Red"] == {"probability": 1.0, "threshold": 0.5, "present": True}
    assert face["attributes"]["Blue"]["present"] is False
    left, top, right, bottom = two["faces"][1]["box"]
    assert left < 480 < right
    assert top < 300 < bottom


def test_the_release_and_health(live, models):
    release = requests.get(f"{live.url}/release", timeout=10).json()
    assert (release["environment"], release["release"], release["problem"]) == ("dev", ONE, None)
    assert release["attributes"] == ATTRIBUTES
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/v2"):
        assert requests.get(f"{live.url}{path}", timeout=10).status_code == 200, path
    found = requests.get(f"{live.url}/v2/models/face_attributes", timeout=10).json()
    assert found["versions"] == [ONE]
    assert found["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 218, 178, 3]}]
    assert requests.get(f"{live.url}/v2/models/other", timeout=10).status_code == 422


def infer(live, pixels, *, binary):
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape)}
    url = f"{live.url}/v2/models/face_attributes/infer"
    if not binary:
        return requests.post(
            url, json={"id": "7", "inputs": [tensor | {"data": pixels.tolist()}]}, timeout=60
        )
    head = json.dumps({"id": "7", "inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return requests.post(url, data=head + pixels.tobytes(), headers=headers, timeout=60)


@pytest.mark.parametrize("binary", [False, True])
def test_the_open_inference_protocol(live, binary):
    done = infer(live, np.stack([plain(255), plain(0, 51)]), binary=binary)
    assert done.status_code == 200, done.text
    found = done.json()
    assert (found["model_name"], found["model_version"], found["id"]) == ("face_attributes", ONE, "7")
    (output,) = found["outputs"]
    assert output["shape"] == [2, 3]
    assert output["data"] == pytest.approx([1, 0, 0, 0, 0.2, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a request of the Open Inference Protocol"),
        (b"{" * 5000, "not a request"),
        (b'{"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1, 218, 178, 3]}]}', "not a request"),
        (b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 9, 9, 3]}]}', "shape: must be"),
        (b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 218, 178, 3]}]}', "0 numbers"),
        (
            b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 218, 178, 3], "data": [-1]}]}',
            "whole numbers from 0 to 255",
        ),
    ],
)
def test_bad_tensors_are_refused_in_a_line(live, body, reason):
    done = requests.post(f"{live.url}/v2/models/face_attributes/infer", data=body, timeout=10)
    assert done.status_code == 400
    assert reason in done.json()["error"]


def test_sampled_answers_go_to_files_of_scores(tmp_path, models, two_faces):
    with running(tmp_path / "home", models, sample=1.0) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        assert service.predict(two_faces, b"hello").status_code == 200
        assert infer(service, plain(9)[None], binary=True).status_code == 200
    (scores,) = (tmp_path / "home/scores").glob("date=*/online-111111111111-*.parquet")
    rows = pq.read_table(scores).to_pylist()
    assert [row["face"] for row in rows] == [1, 2, 1]
    assert {row["release"] for row in rows} == {ONE}
    assert json.loads(scores.with_suffix(".json").read_text())["rows"] == 3
    (photograph,) = (tmp_path / "home/scored" / scores.stem).iterdir()
    assert photograph.read_bytes() == two_faces
    assert rows[0]["id"] == f"{photograph.name}#1"


class Asking(threading.Thread):
    """A client that asks until `over` is set, and notes every answer."""

    def __init__(self, service):
        super().__init__()
        self.service = service
        self.over = threading.Event()
        self.answers = []

    def run(self):
        content = png(plain(255))
        while not self.over.is_set():
            done = self.service.predict(content)
            found = done.json()
            self.answers.append(
                (done.status_code, found["photographs"][0]["release"] if done.ok else found["error"])
            )


def kill(service):
    """Kill the process that answers, and wait for another one."""
    killed = service.service.releases.worker
    os.kill(killed.pid, signal.SIGKILL)
    wait_for(lambda: service.service.releases.worker not in (killed, None), seconds=120)


@pytest.mark.parametrize("requests", [400, pytest.param(10_000, marks=pytest.mark.long)])
def test_nothing_is_lost_but_the_requests_in_the_killed_process(tmp_path, models, requests):
    clients = 8
    with running(tmp_path / "home", models) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        asking = [Asking(service) for _ in range(clients)]
        for client in asking:
            client.start()

        def answered():
            return sum(len(client.answers) for client in asking)

        wait_for(lambda: answered() > requests // 5, seconds=300)
        service.serve(TWO)
        wait_for(lambda: service.answers(TWO), seconds=300)
        kill(service)
        wait_for(lambda: answered() >= requests, seconds=600)
        for client in asking:
            client.over.set()
            client.join()
        # Without requests too
        kill(service)
    answers = [answer for client in asking for answer in client.answers]
    errors = [text for status, text in answers if status != 200]
    assert len(errors) <= clients, "each client has one request in the killed process"
    assert all(text == "its process ended with signal 9; try again" for text in errors)
    assert {release for status, release in answers if status == 200} == {ONE, TWO}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_client_with_large_photographs_does_not_slow_another(tmp_path, models, two_faces):
    """A photograph of 12 million pixels takes as long as some hundred aligned ones."""
    tokens = {name: Token(hashlib.sha256(name.encode() * 4).hexdigest()) for name in ("phone", "shop")}
    large = png(cv2.resize(cv2.imdecode(np.frombuffer(two_faces, np.uint8), cv2.IMREAD_COLOR), (4032, 3024)))
    times, statuses, over = [], [], threading.Event()
    with running(tmp_path / "home", models, tokens=tokens, budget=0.1) as service:

        def send(name, *contents):
            start = time.monotonic()
            done = service.predict(*contents, headers={"Authorization": f"Bearer {name * 4}"})
            return done, time.monotonic() - start

        def phone():
            while not over.is_set():
                statuses.append(send("phone", *[large] * 4)[0].status_code)

        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        _, alone = send("phone", large)
        threads = [threading.Thread(target=phone) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        for _ in range(100):
            done, took = send("shop", png(plain(1)))
            if done.status_code == 200:
                times.append(took)
        over.set()
        for thread in threads:
            thread.join()
    assert 200 in statuses
    assert len(times) > 80
    assert np.median(times) < alone / 4, "before, each one waited for several of the large ones"
    assert max(times) < alone


def test_no_request_fails_while_the_release_changes(tmp_path, models):
    with running(tmp_path / "home", models) as service:
        assert service.predict(png(plain(1))).status_code == 503
        assert requests.get(f"{service.url}/readyz", timeout=10).status_code == 503
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        first = service.service.releases.worker.pid
        clients = [Asking(service) for _ in range(4)]
        for client in clients:
            client.start()
        service.serve(BROKEN)
        wait_for(lambda: "3" * 12 in (service.service.releases.problem or ""), seconds=120)
        assert service.answers(ONE), "the old release goes on if the new one does not start"
        service.serve(TWO)
        wait_for(lambda: service.answers(TWO), seconds=120)
        time.sleep(0.5)
        for client in clients:
            client.over.set()
            client.join()
        wait_for(lambda: not psutil.pid_exists(first), seconds=60)
    answers = [answer for client in clients for answer in client.answers]
    assert {status for status, _ in answers} == {200}
    for client in clients:
        releases = [release for _, release in client.answers]
        assert releases == sorted(releases), "no client goes back to the old release"
    assert {release for _, release in answers} == {ONE, TWO}


def test_a_killed_worker_loses_only_what_it_was_answering(live):
    clients = [Asking(live) for _ in range(4)]
    for client in clients:
        client.start()
    for _ in range(2):
        wait_for(lambda: live.answers(ONE), seconds=120)
        kill(live)
    wait_for(lambda: live.predict(png(plain(1))).ok, seconds=120)
    for client in clients:
        client.over.set()
        client.join()
    for client in clients:
        failed = [error for status, error in client.answers if status != 200]
        assert len(failed) <= 2, "one request of a client is in flight when the process is killed"
        assert all("its process ended with signal 9; try again" in error for error in failed)
    assert any(status == 200 for client in clients for status, _ in client.answers)


def test_a_worker_gets_none_of_the_keys_of_its_environment(monkeypatch, tmp_path, models):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with cli.isolate(ROOT, models[ONE], ()) as release:
        assert "secret" not in release.place.variables.values()
        assert release.place.variables["PYTHONPATH"] == str(ROOT / "src")
