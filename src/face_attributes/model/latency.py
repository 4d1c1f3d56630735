"""The latency of a model: the milliseconds of a call, with typical batch sizes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.model.onnx_model import Model

BATCHES = (1, 64)  # images in a call: a single request, and a batch
_WARM_UP = 3
_RUNS = 40
_RESAMPLINGS = 2000


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a call with `batch` images: the median and the 95th percentile."""

    batch: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Ratio:
    """The median latencies of two models in turns, and their ratio with its 95% interval."""

    p50_ms: float
    other_p50_ms: float
    value: float
    low: float
    high: float


def measure(models: Sequence[Model], batch: int, runs: int = _RUNS) -> list[Latency]:
    """Return the latency of each model on this machine."""
    quantiles = np.quantile(_times(models, batch, runs), (0.5, 0.95), axis=0)
    return [Latency(batch, float(p50), float(p95)) for p50, p95 in quantiles.T]


def ratio(model: Model, other: Model, batch: int, runs: int = _RUNS) -> Ratio:
    """Return how many times as long a model takes as another one, on this machine.

    The interval comes from resampled turns: a turn has a call of each model.
    """
    milliseconds = _times([model, other], batch, runs)
    turns = np.random.default_rng(0).integers(runs, size=(_RESAMPLINGS, runs))
    medians = np.median(milliseconds[turns], axis=1)
    low, high = np.quantile(medians[:, 0] / medians[:, 1], (0.025, 0.975))
    own, others = np.median(milliseconds, axis=0)
    return Ratio(float(own), float(others), float(own / others), float(low), float(high))


def _times(models: Sequence[Model], batch: int, runs: int) -> np.ndarray:
    """Return the milliseconds of calls (runs, models).

    The models take turns, so that a busy moment of the machine hits all of them alike.
    """
    images = np.random.default_rng(0).integers(0, 256, (batch, HEIGHT, WIDTH, 3), np.uint8)
    milliseconds = np.empty((runs, len(models)))
    for model in models:
        for _ in range(_WARM_UP):
            model.predict(images)
    for run in range(runs):
        for column, model in enumerate(models):
            start = time.perf_counter()
            model.predict(images)
            milliseconds[run, column] = (time.perf_counter() - start) * 1000
    return milliseconds
