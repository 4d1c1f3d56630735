"""The training loop, which the search runs briefly and often, and the training once and to the end."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from face_attributes.augment import move, relight
from face_attributes.errors import SearchError
from face_attributes.files import replacing
from face_attributes.network import SPAN, FaceNet, normalise, to_tensor
from face_attributes.params import TrainParams
from face_attributes.prepared import Part
from face_attributes.progress import bar
from face_attributes.runtime import Runtime

_WARM_UP = 0.15  # share of the budget in which the learning rate rises
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Epoch:
    """One row of the learning curve; losses are binary cross-entropies."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass
class Fitted:
    """A trained network (the average of its weights over the last steps) and how it got there."""

    network: FaceNet
    curve: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0
    images: int = 0
    out_of_time: bool = False


def fit(
    train: Part,
    validation: Part,
    params: TrainParams,
    runtime: Runtime,
    *,
    checkpoint: Path | None = None,
    keep_going: Callable[[Epoch], bool] = lambda epoch: True,
    description: str = "train",
) -> Fitted:
    """Train a network from its first step to the end of its budget.

    Args:
        train: images to learn from.
        validation: images to judge each epoch by.
        params: how to train; all but `precision` and `device` count.
        runtime: device and precision.
        checkpoint: where to save the state after each epoch, and to go on from if it is there.
        keep_going: asked after each epoch; False ends the training.
        description: what the progress bar says.

    Raises:
        SearchError: the loss is no longer a number.

    """
    torch.manual_seed(params.seed)
    attributes, shape = train.labels.shape[1], train.images.shape[1:3]
    network = FaceNet(attributes, shape, params.width, params.dropout)
    network = network.to(runtime.device, memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(_parameter_groups(network, params.weight_decay), lr=params.learning_rate)
    steps_per_epoch = math.ceil(len(train) / params.batch_size)
    total_steps = steps_per_epoch * params.epochs
    done = Fitted(average)
    if checkpoint is not None and checkpoint.exists():
        _restore(checkpoint, network, average, optimizer, done)
    limit = math.inf if params.max_minutes is None else params.max_minutes * 60
    started = time.monotonic() - done.seconds

    with bar(description, total_steps * params.batch_size, "images") as progress:
        progress.update(len(done.curve) * steps_per_epoch * params.batch_size)
        for epoch in range(len(done.curve), params.epochs):
            # Each epoch has random numbers of its own: one that is resumed draws what it would have drawn
            torch.manual_seed(params.seed * 1_000_003 + epoch)
            random = np.random.default_rng([params.seed, epoch])
            network.train()
            losses, seen = torch.zeros((), device=runtime.device), 0
            order = random.permutation(len(train))
            for step in range(steps_per_epoch):
                # Whichever budget ends first, steps or minutes, the learning rate reaches zero with it
                spent = max(
                    (epoch * steps_per_epoch + step) / total_steps, (time.monotonic() - started) / limit
                )
                if spent >= 1:
                    done.out_of_time = True
                    break
                for group in optimizer.param_groups:
                    group["lr"] = params.learning_rate * _schedule(spent)
                chosen = order[step * params.batch_size : (step + 1) * params.batch_size]
                if len(chosen) < 2:  # batch normalisation needs two
                    continue
                images, targets = _batch(train, np.sort(chosen), params.augmentation, random, runtime)
                with runtime.autocast():
                    logits = network(images)
                loss = functional.binary_cross_entropy_with_logits(logits.float(), targets)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                _update(average, network, params.ema_decay, epoch * steps_per_epoch + step)
                losses += loss.detach() * len(chosen)
                seen += len(chosen)
                progress.update(params.batch_size)
            if not seen and done.curve:  # the minutes were over before the epoch began
                break
            row = _judge(average, validation, runtime, epoch + 1, float(losses) / max(seen, 1))
            done.curve.append(row)
            done.images += seen
            done.seconds = time.monotonic() - started
            progress.set_postfix(
                loss=f"{row.train_loss:.3f}", accuracy=f"{row.validation_accuracy:.3f}", refresh=False
            )
            if not math.isfinite(row.train_loss):
                raise SearchError(f"{description}: the loss is no longer a number; lower train.learning_rate")
            if checkpoint is not None:
                _save(checkpoint, network, average, optimizer, done)
            if done.out_of_time or not keep_going(row):
                break
    return done


@torch.inference_mode()
def predict(network: FaceNet, images: np.ndarray, runtime: Runtime) -> np.ndarray:
    """Return the logits of uint8 images (N, height, width, 3) as float32 (N, A), without augmentation."""
    network.eval()
    logits = []
    for start in range(0, len(images), _EVALUATION_BATCH):
        pixels = np.array(images[start : start + _EVALUATION_BATCH])
        with runtime.autocast():
            logits.append(network(normalise(to_tensor(pixels).to(runtime.device))).float().cpu())
    return torch.cat(logits).numpy()


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    # Decaying biases and batch normalisation only hurts
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _schedule(spent: float) -> float:
    """Return the share of the learning rate at a share of the budget: up in a line, down in a cosine."""
    if spent < _WARM_UP:
        return 0.05 + 0.95 * spent / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (spent - _WARM_UP) / (1 - _WARM_UP)))


def _batch(
    part: Part, chosen: np.ndarray, augmentation: float, random: np.random.Generator, runtime: Runtime
) -> tuple[Tensor, Tensor]:
    """Return the chosen images, augmented, and what is true of them, on the device."""
    images = move(part.images[chosen], augmentation, random)
    contrast, offset = map(to_tensor, relight(len(chosen), augmentation, random))
    pixels = normalise(to_tensor(images).to(runtime.device))
    pixels.mul_(contrast.to(runtime.device)).add_(offset.to(runtime.device), alpha=SPAN)
    return pixels, torch.from_numpy(part.labels[chosen]).to(runtime.device).float()


@torch.no_grad()
def _update(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    # The average is young at first, and must not remember the random start for long
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _judge(network: FaceNet, part: Part, runtime: Runtime, epoch: int, train_loss: float) -> Epoch:
    logits, labels = predict(network, part.images, runtime), part.labels
    loss = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(labels).float()
    )
    return Epoch(epoch, train_loss, float(loss), float(((logits > 0) == labels).mean()))


def _save(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, done: Fitted
) -> None:
    with replacing(path) as partial:
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "curve": [asdict(row) for row in done.curve],
                "seconds": done.seconds,
                "images": done.images,
            },
            partial,
        )


def _restore(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, done: Fitted
) -> None:
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    done.curve = [Epoch(**row) for row in state["curve"]]
    done.seconds, done.images = state["seconds"], state["images"]
