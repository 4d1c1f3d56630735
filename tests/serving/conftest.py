"""A service with real workers, and releases that differ in their models: tiny ones of real ONNX."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import requests
from onnx import TensorProto, helper

from gitops.release import serving as serving_file
from gitops.text import brand
from serving import app as web
from serving import cli
from serving.addresses import Addresses
from serving.canary import Canary, Share
from serving.clients import Clients, Token
from serving.kept import Kept
from serving.others import Others
from serving.queue import Queue
from serving.releases import Prepared, Releases
from serving.search import Search
from tests.support.scenes import Place, scene
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
ONE, TWO, BROKEN = ("1" * 40, "2" * 40, "3" * 40)
ATTRIBUTES = ["Red", "Green", "Blue"]


def tiny_model(path: Path, note: str) -> None:
    """Write a model whose probabilities are the mean colors of an image."""
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "white"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 218, 178, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    about = {"attributes": json.dumps(ATTRIBUTES), "thresholds": "[0.5, 0.5, 0.5]", "profile": "full"}
    helper.set_model_props(model, about | {"variant": "float32", "data_digest": note, "params_digest": note})
    onnx.save(model, path)


@dataclass
class Running:
    """A running service."""

    url: str
    home: Path
    bundle: Path
    service: web.Service
    shares: list[Share]
    """The canary that main declares, at the end; none at the beginning."""

    def serve(self, commit: str | None) -> None:
        """Declare a release, as the bundle does."""
        serving_file.write(
            self.bundle, serving_file.Serving(environment="dev", commit=commit, declared=commit)
        )

    def answers(self, commit: str) -> bool:
        current = self.service.releases.current
        return current is not None and current.commit == commit

    def predict(self, *contents: bytes, **options: Any) -> requests.Response:
        files = [("files", (f"{index}.png", content)) for index, content in enumerate(contents)]
        return requests.post(f"{self.url}/predict", files=files, timeout=60, **options)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {commit: folder / f"{commit}.onnx" for commit in (ONE, TWO, BROKEN)}
    for commit, path in paths.items():
        tiny_model(path, commit)
    paths[BROKEN].write_bytes(b"junk")
    return paths


@contextmanager
def running(
    home: Path,
    models: dict[str, Path],
    *,
    tokens: dict[str, Token] | None = None,
    rate: float = 1e6,
    capacity: int = 256,
    sample: float = 0.0,
    budget: float = 10.0,  # so that no request is refused on a busy machine
    fetch_hosts: tuple[str, ...] = (),
) -> Iterator[Running]:
    """Run a service in a thread of its own, until the end of the block."""
    bundle = home / "bundles"
    bundle.mkdir(parents=True, exist_ok=True)  # Pods share it

    @contextmanager
    def prepared(commit: str) -> Iterator[Prepared]:
        with cli.isolate(ROOT, models[commit], (home / "scores", home / "scored")) as release:
            yield release

    @contextmanager
    def other_model(release: str, model_of: str) -> Iterator[Prepared]:
        assert release in models
        with prepared(model_of) as found:
            yield found

    shares: list[Share] = []
    started = threading.Event()
    found: dict[str, object] = {}

    def run() -> None:
        async def main() -> None:
            options = ["--scores", str(home / "scores"), "--keep", str(home / "scored")]
            releases = Releases(bundle, prepared, options)
            queue = Queue(releases.respond, budget, capacity, 30)
            clients = Clients(lambda: tokens or {}, rate, 32 if rate < 1e6 else 10**6)
            others = Others(lambda: {ONE: ["prod"], TWO: ["dev", "staging"]}, prepared)
            colors = brand.css({})
            canary = Canary(
                lambda: shares[-1] if shares else None, releases, other_model, options, home / "shadows", 0.1
            )
            search = Search(home, releases)
            service = web.Service(
                "dev",
                releases,
                queue,
                clients,
                sample,
                others,
                search,
                colors,
                canary,
                Addresses(fetch_hosts),
            )
            listener = cli.listen("127.0.0.1", 0)
            found.update(service=service, port=listener.getsockname()[1], loop=asyncio.get_running_loop())
            found["task"] = asyncio.current_task()
            started.set()
            await cli.run_service(service, listener, Kept(home / "scored", 1))

        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            return

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(30)
    service = found["service"]
    assert isinstance(service, web.Service)
    try:
        yield Running(f"http://127.0.0.1:{found['port']}", home, bundle, service, shares)
    finally:
        loop, task = found["loop"], found["task"]
        assert isinstance(loop, asyncio.AbstractEventLoop)
        assert isinstance(task, asyncio.Task)
        loop.call_soon_threadsafe(task.cancel)
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[Running]:
    """A service of release ONE; all its answers are sampled."""
    with running(tmp_path_factory.mktemp("live") / "home", models, sample=1.0) as service:
        service.serve(ONE)
        wait_for(lambda: service.answers(ONE), seconds=120)
        yield service


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def plain(red: int, green: int = 0, blue: int = 0) -> np.ndarray:
    """Return an aligned image of one color."""
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (218, 178, 3)).copy()


@pytest.fixture(scope="session")
def two_faces() -> bytes:
    """A photograph with two turned faces."""
    from drawn_faces import SyntheticParams, draw_face

    faces = [draw_face(1, index, SyntheticParams(count=2, seed=1))[0] for index in range(2)]
    return png(scene(faces, [Place(150, 160, 110, 15), Place(480, 300, 140, -20)], (640, 480)))
