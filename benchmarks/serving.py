"""How near the online service comes to the model alone, and its latency.

    python -m benchmarks.serving [--seconds 10]

Needs the model that `dvc repro` makes. Clients of a process of their own send aligned faces by the Open
Inference Protocol as binary data, each the next one after its answer, while nobody else uses the machine. In
the same run, `session.run` alone gets batches of 64 of the same faces. The clients and the service share the
cores, so the ratio is below that of clients elsewhere.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from drawn_faces import SyntheticParams, draw_face
from face_attributes.common.paths import MODEL
from face_attributes.data.parallel import BATCH
from face_attributes.model.onnx_model import Model
from gitops.release import serving as serving_file
from serving import app, cli
from serving.clients import Clients
from serving.kept import Kept
from serving.queue import Queue
from serving.releases import Prepare, Prepared, Releases

CLIENTS = (1, 8, 64)
FACES = 8  # in a request
BUDGET = 0.1  # seconds
_COMMIT = "0" * 40


def main() -> None:
    """Print images/s, p50 and p99 for each number of clients, and the ratio to the model alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10, help="for each number of clients")
    seconds = parser.parse_args().seconds
    faces = np.stack([draw_face(1, index, SyntheticParams(count=BATCH, seed=1))[0] for index in range(BATCH)])
    table = Table("clients", "images/s", "of the model alone", "p50 ms", "p99 ms", "refused")
    with _service() as port:
        for clients in CLIENTS:
            alone = _alone(faces, seconds / 4)
            times, refused, took = _load(port, clients, faces[:FACES].tobytes(), seconds)
            alone = (alone + _alone(faces, seconds / 4)) / 2
            rate = len(times) * FACES / took
            p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
            table.add_row(
                str(clients), f"{rate:.0f}", f"{rate / alone:.2f}", f"{p50:.0f}", f"{p99:.0f}", str(refused)
            )
    Console().print(table, f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def _alone(faces: np.ndarray, seconds: float) -> float:
    """Return images/s of the model alone, with all cores."""
    model = Model(MODEL)
    model.predict(faces)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        model.predict(faces)
        count += len(faces)
    return count / (time.perf_counter() - start)


def _load(port: int, clients: int, pixels: bytes, seconds: float) -> tuple[list[float], int, float]:
    """Return seconds of each answered request, the refused ones, and the time that all took."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_ask, (port, clients, pixels, seconds))


def _ask(port: int, clients: int, pixels: bytes, seconds: float) -> tuple[list[float], int, float]:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [FACES, app.HEIGHT, app.WIDTH, 3]}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    start = time.perf_counter()

    def client(_: int) -> tuple[list[float], int]:
        connection, times, refused = HTTPConnection("127.0.0.1", port, timeout=60), [], 0
        while time.perf_counter() - start < seconds:
            begin = time.perf_counter()
            connection.request("POST", f"/v2/models/{app.NAME}/infer", head + pixels, headers)
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                times.append(time.perf_counter() - begin)
            else:
                refused += 1
                time.sleep(0.05)
        connection.close()
        return times, refused

    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(client, range(clients)))
    took = time.perf_counter() - start
    return [value for times, _ in done for value in times], sum(refused for _, refused in done), took


@contextmanager
def _service() -> Iterator[int]:
    """Run the service with the model of this checkout; yield its port."""

    @contextmanager
    def prepared(_: str) -> Iterator[Prepared]:
        with cli.isolate(Path.cwd(), MODEL.resolve(), home) as release:
            yield release

    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as temporary,
        cli.listen("127.0.0.1", 0) as listener,
    ):
        home = Path(temporary)
        declared = serving_file.Serving(environment="dev", commit=_COMMIT, declared=_COMMIT)
        serving_file.write(home, declared)
        stop = threading.Event()
        thread = threading.Thread(target=_run, args=(home, prepared, listener, stop))
        thread.start()
        port = listener.getsockname()[1]
        while not _ready(port):
            time.sleep(0.1)
        yield port
        stop.set()
        thread.join()


def _run(home: Path, prepared: Prepare, listener: socket.socket, stop: threading.Event) -> None:
    async def run() -> None:
        releases = Releases(home, prepared, ["--scores", str(home / "scores")])
        queue = Queue(releases.respond, BUDGET, 1024, 60)
        service = app.Service("dev", releases, queue, Clients({}, 1e9, 10**9), 0)
        serving = asyncio.create_task(cli.run_service(service, listener, Kept(home / "scored", 0)))
        await asyncio.to_thread(stop.wait)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(run())


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/readyz")
    return connection.getresponse().status == 200


if __name__ == "__main__":
    main()
