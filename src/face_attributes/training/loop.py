"""The training loop, which the search runs briefly and often, and the training once and to the end."""

import io
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from face_attributes.common.errors import SearchError
from face_attributes.common.progress import bar
from face_attributes.data.arrays import Part
from face_attributes.data.parallel import ahead
from face_attributes.model.network import SPAN, FaceNet, normalise, to_tensor
from face_attributes.model.weights import write_torch
from face_attributes.params import TrainParams
from face_attributes.training.augmentation import move, moves, relight
from face_attributes.training.device import Runtime
from face_attributes.training.group import ALONE, Group
from face_attributes.training.learner import Learner

log = logging.getLogger(__name__)

_EVALUATION_BATCH = 512
_STEPS_AHEAD = 4
# Between two times that memory is given back: images are read here and there, and each brings its neighbours
STEPS_KEPT = 16


@dataclass(frozen=True)
class Epoch:
    """One row of the learning curve; losses are binary cross-entropies."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass
class FitResult:
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
    keep_going: Callable[[Epoch], bool] = lambda _: True,
    description: str = "train",
    group: Group = ALONE,
) -> FitResult:
    """Train a network from its first step to the end of its budget.

    Args:
        train: images to learn from.
        validation: images to judge each epoch by.
        params: how to train; all but `precision` and `device` count.
        runtime: device and precision.
        checkpoint: where to save the state after each epoch, and to go on from if it is there.
        keep_going: asked after each epoch, those before a restart too; False ends the training.
        description: The label of the progress bar.
        group: The processes that train together. All return the same.

    Raises:
        SearchError: the loss is no longer a number.

    """
    torch.manual_seed(params.seed)
    learner = Learner(train.labels.shape[1], train.images.shape[1:3], params, runtime, group)
    done = FitResult(learner.average)
    if checkpoint is not None:
        # The other processes may be on machines that do not have it
        saved = checkpoint.read_bytes() if group.first and checkpoint.exists() else b""
        if saved := group.agree(saved):
            _restore(saved, learner, done)
            log.info(f"{description}: going on after epoch {len(done.curve)} of {params.epochs}")
    if not all(keep_going(row) for row in done.curve):
        return done
    steps_per_epoch = math.ceil(len(train) / params.batch_size)
    total_steps = steps_per_epoch * params.epochs
    limit = math.inf if params.max_minutes is None else params.max_minutes * 60
    started = time.monotonic() - done.seconds

    def elapsed() -> float:
        now = time.monotonic() - started
        # One clock decides for all when the minutes are over
        return now if params.max_minutes is None else group.agree(now)

    total = total_steps * params.batch_size
    with bar(description, total, "images", disable=not group.first) as progress:
        progress.update(len(done.curve) * steps_per_epoch * params.batch_size)
        for epoch in range(len(done.curve), params.epochs):
            # Each epoch has its own seed, so a resumed epoch has the same random numbers
            torch.manual_seed(params.seed * 1_000_003 + epoch)
            learner.network.train()
            losses, seen = torch.zeros((), device=runtime.device), 0
            for step, (pixels, targets, count) in enumerate(batches(train, params, epoch, runtime, group)):
                # Whichever budget ends first, steps or minutes, the learning rate reaches zero with it
                spent = max((epoch * steps_per_epoch + step) / total_steps, elapsed() / limit)
                if spent >= 1:
                    done.out_of_time = True
                    break
                losses += learner.step(pixels, targets, spent, count) * count
                seen += count
                progress.update(params.batch_size)
                if step % STEPS_KEPT == 0:
                    train.release()
            if not seen and done.curve:  # the minutes were over before the epoch began
                break
            loss = float(group.add(losses)) / max(seen, 1)
            row = _judge(learner.average, validation, runtime, epoch + 1, loss, group)
            done.curve.append(row)
            done.images += seen
            done.seconds = elapsed()
            progress.set_postfix(
                loss=f"{row.train_loss:.3f}", accuracy=f"{row.validation_accuracy:.3f}", refresh=False
            )
            if not math.isfinite(row.train_loss):
                raise SearchError(f"{description}: the loss is no longer a number; lower train.learning_rate")
            if checkpoint is not None and group.first:
                _save(checkpoint, learner, done)
            if done.out_of_time or not keep_going(row):
                break
    return done


def batches(
    part: Part, params: TrainParams, epoch: int, runtime: Runtime, group: Group = ALONE
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield an epoch's batches, each augmented in a thread while others are learnt from.

    Of each batch, a process of a group yields its share.

    Yields:
        Images, float32 (N, 3, height, width), normalised, and targets, float32 (N, A), both on the device,
        and the number of images of the whole batch.

    """
    order = np.random.default_rng([params.seed, epoch]).permutation(len(part))

    def augmented(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
        chosen = np.sort(order[start : start + params.batch_size])
        # The random numbers of a batch are the same, however many processes share it
        random = np.random.default_rng([params.seed, epoch, start])
        maps = moves(len(chosen), part.images.shape[1:3], params.augmentation, random)
        contrast, offset = relight(len(chosen), params.augmentation, random)
        mine = group.share(len(chosen))
        images = move(part.images[chosen[mine]], maps[mine])
        return images, contrast[mine], offset[mine], part.labels[chosen[mine]], len(chosen)

    # On a CPU the steps need all cores: one thread is far ahead of them, and more would be in their way
    threads = 1 if runtime.device.type == "cpu" else None
    # Batch normalisation needs two images
    starts = range(0, len(part) - 1, params.batch_size)
    for images, contrast, offset, labels, count in ahead(augmented, starts, _STEPS_AHEAD, threads):
        pixels = normalise(to_tensor(images).to(runtime.device))
        pixels.mul_(to_tensor(contrast).to(runtime.device))
        pixels.add_(to_tensor(offset).to(runtime.device), alpha=SPAN)
        yield pixels, torch.from_numpy(labels).to(runtime.device).float(), count


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


def _judge(
    network: FaceNet, part: Part, runtime: Runtime, epoch: int, train_loss: float, group: Group = ALONE
) -> Epoch:
    labels = part.labels
    if group.size == 1:
        logits = predict(network, part.images, runtime)
    else:
        mine, shares = group.share(len(part)), torch.zeros(labels.shape, device=runtime.device)
        if mine.start < mine.stop:
            shares[mine] = torch.from_numpy(predict(network, part.images[mine], runtime)).to(runtime.device)
        logits = group.add(shares).cpu().numpy()
    part.release()
    loss = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(labels).float()
    )
    return Epoch(epoch, train_loss, float(loss), float(((logits > 0) == labels).mean()))


def _save(path: Path, learner: Learner, done: FitResult) -> None:
    curve = [asdict(row) for row in done.curve]
    state = {"learner": learner.state(), "curve": curve, "seconds": done.seconds, "images": done.images}
    write_torch(path, state)


def _restore(saved: bytes, learner: Learner, done: FitResult) -> None:
    state = torch.load(io.BytesIO(saved), weights_only=True, map_location="cpu")
    learner.restore(state["learner"])
    done.curve = [Epoch(**row) for row in state["curve"]]
    done.seconds, done.images = state["seconds"], state["images"]
