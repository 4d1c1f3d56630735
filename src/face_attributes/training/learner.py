"""The network in training, the moving average of its weights, and the optimizer."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from face_attributes.model.network import FaceNet
from face_attributes.params import TrainParams
from face_attributes.training.device import Runtime
from face_attributes.training.group import ALONE, Group
from face_attributes.training.whole_batch import Batch, convert

_WARM_UP = 0.15  # share of the budget in which the learning rate rises


class Learner:
    """A network in training.

    Attributes:
        network: The network that the gradients update.
        average: a running average of it, in evaluation mode: the model that a training results in. It is
            better than any single step (Izmailov et al., "Averaging Weights Leads to Wider Optima and
            Better Generalization", UAI 2018, section 3).

    """

    def __init__(
        self,
        attributes: int,
        shape: tuple[int, int],
        params: TrainParams,
        runtime: Runtime,
        group: Group = ALONE,
    ) -> None:
        self.network = FaceNet(attributes, shape, params.width, params.dropout)
        # torch's types lack memory_format
        self.network.to(runtime.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._batch = Batch(group)
        self._forward: nn.Module = self.network
        if group.size > 1:
            convert(self.network, self._batch)
            # The layers see to it that all processes have the same statistics
            self._forward = DistributedDataParallel(self.network, forward_sync_buffers=False)
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(self.network, params.weight_decay), lr=params.learning_rate
        )
        self._params, self._runtime = params, runtime
        self._steps = 0

    def step(self, images: Tensor, targets: Tensor, spent: float, count: int | None = None) -> Tensor:
        """Learn from one batch.

        Args:
            images: float32 (N, 3, height, width), normalised, on the device: this process's share of it.
            targets: float32 (N, A), 0 or 1, on the device.
            spent: share of the budget that is spent, 0 to 1; it decides the learning rate.
            count: images of the batch in all processes.

        Returns:
            The mean binary cross-entropy, a scalar on the device. With several processes, its part of it:
            they add up to the mean over the batch.

        """
        for group in self._optimizer.param_groups:
            group["lr"] = self._params.learning_rate * schedule(spent)
        size, count = self._batch.group.size, count or len(targets)
        self._batch.count = count
        with self._runtime.autocast():
            logits = self._forward(images)
        if size == 1:
            loss = functional.binary_cross_entropy_with_logits(logits.float(), targets)
        else:
            loss = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum")
            loss = loss / (count * targets.shape[1])
        self._optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel takes the mean of the gradients, and shares may differ in size
        (loss * size).backward()
        self._optimizer.step()
        # The average is young at first, and must not remember the random start for long
        _blend(
            self.average, self.network, min(self._params.ema_decay, (1 + self._steps) / (10 + self._steps))
        )
        self._steps += 1
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, for `restore`."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "steps": self._steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps = state["steps"]


def schedule(spent: float) -> float:
    """Return the share of the learning rate at a share of the budget: up in a line, down in a cosine."""
    if spent < _WARM_UP:
        return 0.05 + 0.95 * spent / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (spent - _WARM_UP) / (1 - _WARM_UP)))


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    # Decaying biases and batch normalisation only hurts
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def _blend(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
