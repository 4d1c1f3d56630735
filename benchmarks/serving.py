"""How near the online service comes to the model alone, and its latency.

    python -m benchmarks.serving [--seconds 10]

Needs the model that `dvc repro` makes, and Linux. One core is for the clients and for HTTP, and the others
are for the process that answers. On these others, in the same run, the same work is done without a service:

- `tensors`: aligned faces as binary data of the Open Inference Protocol, against `session.run` alone;
- `aligned`: aligned JPEGs to /predict, against their decoding and `session.run`;
- `photographs`: JPEGs of 640x480 pixels with a face, against decoding, alignment and `session.run`.

Each client sends its next request after the answer to the last one, or when a refusal told it to come back.
`share` is that of images/s. `by CPU` compares the processor time of an image in the process that answers with
that without the service: it is the share that is left if clients keep these cores busy, and other work on the
machine changes it little.
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import psutil
import uvloop

from drawn_faces import SyntheticParams, draw_face
from face_attributes.common.paths import MODEL
from face_attributes.data import images
from face_attributes.data.alignment import faces_of
from face_attributes.data.parallel import BATCH
from face_attributes.model.onnx_model import Model
from gitops.release import serving as serving_file
from serving import app, cli
from serving.addresses import Addresses
from serving.canary import Canary
from serving.clients import Clients
from serving.kept import Kept
from serving.others import Others
from serving.queue import Queue
from serving.releases import Prepare, Prepared, Releases
from serving.search import Search
from tests.support.scenes import Place, scene

CLIENTS = (1, 8, 64)
BUDGET = 0.1  # seconds
HTTP_CORES, MODEL_CORES = {0}, set(range(1, os.cpu_count() or 1)) or {0}
LEARNT = 1.5  # seconds in which the service learns how long an image of a kind takes
_COMMIT = "0" * 40
_BOUNDARY = "face"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Kind:
    """A kind of requests.

    Attributes:
        contents: The tensors' pixels, or files.
        size: Of the contents, how many are in a request.

    """

    name: str
    contents: list[bytes]
    size: int

    def request(self) -> tuple[str, bytes, dict[str, str]]:
        """Return the path, the body and the headers of a request."""
        part = self.contents[: self.size]
        if self.name == "tensors":
            tensor = {"name": "images", "datatype": "UINT8", "shape": [len(part), app.HEIGHT, app.WIDTH, 3]}
            head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            headers = {"Inference-Header-Content-Length": str(len(head))}
            return f"/v2/models/{app.NAME}/infer", head + b"".join(part), headers
        disposition = 'Content-Disposition: form-data; name="files"; filename="face.jpg"'
        start = f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
        form = b"".join(start + content + b"\r\n" for content in part)
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        return "/predict", form + f"--{_BOUNDARY}--\r\n".encode(), headers

    def answer(self, model: Model, pool: ThreadPoolExecutor) -> None:
        """Do the work of BATCH contents without a service."""
        if self.name == "tensors":
            model.predict(
                np.frombuffer(b"".join(self.contents), np.uint8).reshape(-1, app.HEIGHT, app.WIDTH, 3)
            )
            return
        faces = pool.map(lambda content: faces_of(content, "auto"), self.contents)
        model.predict(np.stack([face.pixels for found in faces for face in found]))


def kinds() -> list[Kind]:
    """Return the kinds of requests, with BATCH contents each."""
    faces = [draw_face(1, index, SyntheticParams(count=BATCH, seed=1))[0] for index in range(BATCH)]
    scenes = [scene([face], [Place(320, 240, 160, 0)], (640, 480)) for face in faces[:8]]
    files = [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes() for image in scenes]
    return [
        Kind("tensors", [face.tobytes() for face in faces], 16),
        Kind("aligned", [images.encode(face) for face in faces], 16),
        Kind("photographs", files * (BATCH // 8), 1),
    ]


def main() -> None:
    """Print a table with a row for each kind and each number of clients."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10, help="for each row")
    arguments = parser.parse_args()
    if not MODEL.exists():
        parser.exit(2, f"Cannot measure the service: {MODEL}: no such file\nNext: .venv/bin/dvc repro\n")
    os.sched_setaffinity(0, HTTP_CORES)
    print(
        "| requests | clients | images/s | without service | share | by CPU | p50 ms | p99 ms | refused |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    with _service() as port:
        for kind in kinds():
            for clients in CLIENTS:
                before, own = _apart(_alone, kind, arguments.seconds / 4), _processor_time()
                times, refused, took, answered = _apart(_load, port, clients, kind, arguments.seconds)
                own = (_processor_time() - own) / (answered * kind.size)
                after = _apart(_alone, kind, arguments.seconds / 4)
                alone, needed = (sum(pair) / 2 for pair in zip(before, after, strict=True))
                rate = len(times) * kind.size / took
                p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
                print(
                    f"| {kind.name} | {clients} | {rate:.0f} | {alone:.0f} | {rate / alone:.2f} "
                    f"| {needed / own:.2f} | {p50:.0f} | {p99:.0f} | {refused} |",
                    flush=True,
                )
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def _apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _processor_time() -> float:
    """Return the seconds of processor time of the process that answers."""
    below = psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in below if "online" in process.cmdline()]
    return sum(time.user + time.system for time in times)


def _alone(kind: Kind, seconds: float) -> tuple[float, float]:
    """Return images/s without a service, on the cores of the process that answers, and CPU s of an image."""
    os.sched_setaffinity(0, MODEL_CORES)
    model = Model(MODEL, threads=len(MODEL_CORES))
    with ThreadPoolExecutor(len(MODEL_CORES)) as pool:
        kind.answer(model, pool)
        count, start, own = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < seconds:
            kind.answer(model, pool)
            count += BATCH
        return count / (time.perf_counter() - start), (time.process_time() - own) / count


def _load(port: int, clients: int, kind: Kind, seconds: float) -> tuple[list[float], int, float, int]:
    """Send requests for LEARNT and some seconds.

    Returns:
        The seconds of each answered request after LEARNT, the number of refused requests after it, the time
        since then, and the number of all that were answered.

    """
    os.sched_setaffinity(0, HTTP_CORES)
    path, body, headers = kind.request()
    start = time.perf_counter()

    def client(_: int) -> tuple[list[float], int, int]:
        connection, times, refused, answered = HTTPConnection("127.0.0.1", port, timeout=60), [], 0, 0
        while time.perf_counter() - start < LEARNT + seconds:
            begin = time.perf_counter()
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            response.read()
            counted = begin - start > LEARNT
            if response.status == 200:
                answered += 1
                times += [time.perf_counter() - begin] * counted
            else:
                refused += counted
                time.sleep(float(response.headers["Retry-After"]))
        connection.close()
        return times, refused, answered

    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(client, range(clients)))
    took = time.perf_counter() - start - LEARNT
    times = [value for times, _, _ in done for value in times]
    return times, sum(refused for _, refused, _ in done), took, sum(answered for _, _, answered in done)


@contextmanager
def _service() -> Iterator[int]:
    """Run the service with the model of this checkout; yield its port."""
    pinned = ("taskset", "--cpu-list", ",".join(map(str, MODEL_CORES)))

    @contextmanager
    def prepared(_: str) -> Iterator[Prepared]:
        with cli.isolate(Path(__file__).parents[1], MODEL.resolve(), (home / "scores",)) as release:
            yield replace(release, place=replace(release.place, prefix=(*release.place.prefix, *pinned)))

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
        queue = Queue(releases.respond, BUDGET, 2048, 60)
        clients, others = Clients(dict, 1e9, 10**9), Others(dict, prepared)
        # No canary is declared, so none is prepared
        canary = Canary(lambda: None, releases, lambda release, _: prepared(release), [], home / "shadows")
        search = Search(home, releases)
        service = app.Service("dev", releases, queue, clients, 0, others, search, "", canary, Addresses([]))
        serving = asyncio.create_task(cli.run_service(service, listener, Kept(home / "scored", 0)))
        await asyncio.to_thread(stop.wait)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/readyz")
    return connection.getresponse().status == 200


if __name__ == "__main__":
    main()
