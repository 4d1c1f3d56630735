"""Other models on main, planted past all checks for an environment to run or to try."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from gitops.gates.shadows import Shadowed, reports
from gitops.git.repository import Repository
from gitops.model.evaluation import Evaluation
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.keys import PrivateKey
from gitops.release.load import load_state
from gitops.training.verification import judge

MODEL, EVALUATION = "models/model.onnx", "metrics/evaluation.json"
_SHAPE = (218, 178, 3)


@dataclass(frozen=True)
class Ground:
    """Where models are planted.

    Attributes:
        origin: The repository of all environments.
        store: The folder of the DVC remote.
        key: The key of dev, which main lists.
        release: The commit whose model the planted ones are made of.

    """

    origin: Repository
    store: Path
    key: Path
    release: str

    @property
    def model(self) -> bytes:
        """The model of the release, from the DVC remote."""
        return self.stored(self.recorded).read_bytes()

    @property
    def recorded(self) -> str:
        """The MD5 of that model."""
        return recorded(self.origin.read(self.release, "dvc.lock") or b"")

    def stored(self, md5: str) -> Path:
        return self.store / "files" / "md5" / md5[:2] / md5[2:]

    def plant(self, model: bytes) -> str:
        """Put a commit with another model on main, and its file on the DVC remote.

        dev has verified it: it works there, and may do otherwise elsewhere.
        """
        md5 = hashlib.md5(model, usedforsecurity=False).hexdigest()
        self.stored(md5).parent.mkdir(parents=True, exist_ok=True)
        self.stored(md5).write_bytes(model)
        size = self.stored(self.recorded).stat().st_size
        lock = (self.origin.read(self.release, "dvc.lock") or b"").decode()
        lock = lock.replace(self.recorded, md5).replace(f"size: {size}\n", f"size: {len(model)}\n")
        evaluation = json.loads(self.origin.read(self.release, EVALUATION) or b"")
        evaluation["model_sha256"] = hashlib.sha256(model).hexdigest()
        files = {"dvc.lock": lock.encode(), EVALUATION: json.dumps(evaluation).encode()}
        commit = self.origin.commit_files(self.origin.resolve("main"), files, "Another model")
        self.origin.git("update-ref", "refs/heads/main", commit)
        self.verify(commit)
        return commit

    def verify(self, commit: str) -> None:
        """Record that dev measured exactly the claim of a commit."""
        claim = Evaluation.model_validate_json(self.origin.read(commit, EVALUATION) or b"")
        verdict = judge(commit, "dev", claim, claim)
        key = PrivateKey.load(self.key)
        made = self.origin.tag(commit, verdict.tag, verdict.message, at=verdict.at, sign=key.sign)
        self.origin.git("update-ref", f"refs/tags/{verdict.tag}", made)

    def declare(self, environment: str, **release: object) -> None:
        """Put a release file on main."""
        content = Release.model_validate(release)
        files = {release_file.path_of(environment): release_file.render(content, environment)}
        tip = self.origin.commit_files(self.origin.resolve("main"), files, f"Change {environment}")
        self.origin.git("update-ref", "refs/heads/main", tip)

    def report(self, commit: str, environment: str) -> Shadowed | None:
        """Return the report of an environment on a commit that it tries; None as long as there is none."""
        found = reports(self.origin, load_state(self.origin).lists, environment)
        return next((report for report in found if report.release == commit), None)


def recorded(lock: bytes) -> str:
    """Return the MD5 of the model in the content of a dvc.lock."""
    lines = lock.decode().splitlines()
    place = next(number for number, line in enumerate(lines) if line.endswith(f"path: {MODEL}"))
    return next(line.split()[-1] for line in lines[place:] if "md5:" in line and "hash:" not in line)


def attributes(model: bytes) -> list[str]:
    return _metadata(model, "attributes")


def thresholds(model: bytes) -> list[float]:
    return _metadata(model, "thresholds")


def _metadata(model: bytes, key: str) -> list[Any]:
    loaded = onnx.load_model_from_string(model)
    return json.loads(next(entry.value for entry in loaded.metadata_props if entry.key == key))


def with_threshold(model: bytes, index: int, threshold: float) -> bytes:
    """Return a model that sees an attribute at another probability. Over 1, it never sees it."""
    loaded = onnx.load_model_from_string(model)
    (known,) = [entry for entry in loaded.metadata_props if entry.key == "thresholds"]
    values = json.loads(known.value)
    known.value = json.dumps([*values[:index], threshold, *values[index + 1 :]])
    return loaded.SerializeToString()


def slower(model: bytes, times: float, least: float) -> bytes:
    """Return a model with the same answers, whose call for one image takes much longer.

    Args:
        model: The model.
        times: How many times as long it takes at least.
        least: The milliseconds that it takes at least.

    """
    least = max(least, times * milliseconds(model))
    layers = 1
    while milliseconds(made := _with_idle_layers(model, layers)) < least:
        layers *= 2
    return made


def milliseconds(model: bytes) -> float:
    """Return the median time of a call for one image."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = np.zeros((1, *_SHAPE), np.uint8)

    def call() -> float:
        begin = time.perf_counter()
        session.run(["probabilities"], {"images": image})
        return 1000 * (time.perf_counter() - begin)

    return median(call() for _ in range(15))


def _with_idle_layers(model: bytes, layers: int) -> bytes:
    """Return a model that adds zero times the result of convolutions to each probability."""
    loaded = onnx.load_model_from_string(model)
    graph = loaded.graph
    for node in graph.node:
        node.output[:] = ["fast" if name == "probabilities" else name for name in node.output]
        node.input[:] = ["fast" if name == "probabilities" else name for name in node.input]
    shapes = {"idle_first": (8, 3, 3, 3), "idle_other": (8, 8, 3, 3), "idle_last": (1, 8, 1, 1)}
    weights = {name: np.full(shape, 0.01, np.float32) for name, shape in shapes.items()}
    for name, values in {**weights, "idle_zero": np.zeros(1, np.float32)}.items():
        graph.initializer.append(numpy_helper.from_array(values, name))
    nodes = [
        helper.make_node("Cast", ["images"], ["idle_cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["idle_cast"], ["idle_0"], perm=[0, 3, 1, 2]),
    ]
    for layer in range(layers):
        weight = "idle_first" if layer == 0 else "idle_other"
        nodes.append(helper.make_node("Conv", [f"idle_{layer}", weight], [f"idle_{layer + 1}"], pads=[1] * 4))
    nodes += [
        helper.make_node("Conv", [f"idle_{layers}", "idle_last"], ["idle_image"]),
        helper.make_node("GlobalAveragePool", ["idle_image"], ["idle_mean"]),
        helper.make_node("Flatten", ["idle_mean"], ["idle_number"]),
        helper.make_node("Mul", ["idle_number", "idle_zero"], ["idle_nothing"]),
        helper.make_node("Add", ["fast", "idle_nothing"], ["probabilities"]),
    ]
    graph.node.extend(nodes)
    onnx.checker.check_model(loaded)
    return loaded.SerializeToString()
