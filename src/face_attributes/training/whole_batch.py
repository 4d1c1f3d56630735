"""Layers that treat the shares of a batch in several processes as one batch.

PyTorch's layers see the rows of their own process alone, and its SyncBatchNorm works on GPUs alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from face_attributes.training.group import Group


@dataclass
class Batch:
    """The batch of the current step: the number of its images in all processes."""

    group: Group
    count: int = 0


class _Sum(torch.autograd.Function):
    """The sum over all processes, with its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.add(values.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.group.add(gradients[0].contiguous().clone()), None


class _WholeBatchNorm(_BatchNorm):
    """Batch normalisation with mean and variance of the whole batch."""

    batch: Batch

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not self.training:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        # As PyTorch's, it computes bfloat16 in float32
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [0, *range(2, values.dim())]
        shape = [1, -1, *[1] * (values.dim() - 2)]
        count = self.batch.count * (values.shape[2:].numel() if values.dim() > 2 else 1)
        group = self.batch.group
        mean = _sum(values.sum(axes), group) / count
        centred = values - mean.view(shape)
        variance = _sum(centred.square().sum(axes), group) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


class _WholeBatchDropout(nn.Dropout):
    """Dropout with the random numbers of the whole batch, of which each process uses those of its rows."""

    batch: Batch

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not self.training or not self.p:
            return input
        ones = torch.ones(self.batch.count, *input.shape[1:], dtype=input.dtype, device=input.device)
        return input * functional.dropout(ones, self.p)[self.batch.group.share(self.batch.count)]


def convert(network: nn.Module, batch: Batch) -> None:
    """Replace the layers of a network that depend on the rest of a batch. The weights stay the same."""
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, _BatchNorm):
                whole = _WholeBatchNorm(layer.num_features, layer.eps, layer.momentum)
                whole.to(layer.weight.device)
                whole.load_state_dict(layer.state_dict())
            elif isinstance(layer, nn.Dropout):
                whole = _WholeBatchDropout(layer.p)
            else:
                continue
            whole.batch = batch
            setattr(module, name, whole)


_sum: Callable[[Tensor, Group], Tensor] = _Sum.apply
