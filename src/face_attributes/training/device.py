"""The device of a training, and whether half precision is faster on it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from face_attributes.model.network import FaceNet
from face_attributes.params import TrainParams
from face_attributes.training.group import ALONE, Group, uses_gpu

# On processors with bfloat16 instructions the gain is far above this, on others there is none: between the
# two there is room for a noisy machine to measure badly and still decide alike.
_WORTH_IT = 1.25
_REPEATS = 4
_STEPS = 1


@dataclass(frozen=True)
class Runtime:
    """Device and precision of a training. `gain`: how much faster bfloat16 was measured to be."""

    device: torch.device
    bfloat16: bool
    gain: float | None = None

    @property
    def precision(self) -> str:
        return "bfloat16" if self.bfloat16 else "float32"

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def choose(params: TrainParams, shape: tuple[int, int], attributes: int, group: Group = ALONE) -> Runtime:
    """Choose the device, and measure the faster precision unless `params` sets it.

    The first process of a group measures for all.

    Raises:
        ParamsError: a GPU is asked for and there is none.

    """
    # Never the number of cores: with another number of threads, sums have another order and other last digits
    torch.set_num_threads(params.threads)
    device = torch.device("cuda", group.place) if uses_gpu(params) else torch.device("cpu")
    if params.precision != "auto":
        return Runtime(device, params.precision == "bfloat16")
    gain = group.agree(_gain(params, shape, attributes, device) if group.first else 0.0)
    return Runtime(device, gain >= _WORTH_IT, round(gain, 2))


def _gain(params: TrainParams, shape: tuple[int, int], attributes: int, device: torch.device) -> float:
    speeds = {half: _step(Runtime(device, half), params, shape, attributes) for half in (False, True)}
    seconds = {half: float("inf") for half in speeds}
    # Turns alternate and the best of each counts, so that a busy moment hits neither alone
    for _ in range(_REPEATS):
        for half, step in speeds.items():
            seconds[half] = min(seconds[half], _timed(step, device))
    return seconds[False] / seconds[True]


def _step(
    runtime: Runtime, params: TrainParams, shape: tuple[int, int], attributes: int
) -> Callable[[], None]:
    batch = min(params.batch_size, 128)
    network = FaceNet(attributes, shape, params.width, 0.0)
    # torch's types lack memory_format
    network.to(runtime.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = torch.zeros(batch, *shape, 3, device=runtime.device).permute(0, 3, 1, 2)
    targets = torch.zeros(batch, attributes, device=runtime.device)
    loss_of = nn.BCEWithLogitsLoss()

    def step() -> None:
        with runtime.autocast():
            logits = network(images)
        loss_of(logits.float(), targets).backward()

    step()
    return step


def _timed(step: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    for _ in range(_STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
