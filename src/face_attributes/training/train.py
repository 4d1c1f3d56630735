"""Train: the model itself, with the hyperparameters that the search found."""

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from face_attributes.common import checkpoints, cost
from face_attributes.common.files import digest_of, write_json, write_text
from face_attributes.common.paths import BEST, CURVE, PREPARED, TRAINING, WEIGHTS
from face_attributes.data import arrays
from face_attributes.model import weights
from face_attributes.params import Params, TrainParams
from face_attributes.training import group as groups
from face_attributes.training import hyperparameters, loop, thresholds
from face_attributes.training.device import Runtime, choose

log = logging.getLogger(__name__)


def train(
    params: Params,
    folder: Path = PREPARED,
    found: Path = BEST,
    out: Path = WEIGHTS,
    curve: Path = CURVE,
    metrics: Path = TRAINING,
) -> None:
    """Train on the prepared arrays; write the network, its learning curve and the figures of the training.

    Raises:
        DataError: the arrays are missing or damaged.
        SearchError: there are no hyperparameters, or the training came to nothing.
        TrainingError: one of several processes is lost.

    """
    options = params.train.model_copy(update=hyperparameters.read(found))
    rest = (options, params, folder, out, curve, metrics)
    if groups.outside():
        with groups.from_torchrun(options) as group:
            _train(group, *rest)
    elif (number := groups.processes(options)) > 1:
        groups.start(_train, number, *rest)
    else:
        _train(groups.ALONE, *rest)


def _train(
    group: groups.Group,
    options: TrainParams,
    params: Params,
    folder: Path,
    out: Path,
    curve: Path,
    metrics: Path,
) -> None:
    data = arrays.load(folder)
    runtime = choose(options, data.info.shape, len(data.info.attributes), group)
    checkpoint = checkpoints.path(
        "train", ".pt", data=data.info.digest, train=options.model_dump(), precision=runtime.precision
    )
    log.debug("train: on %s with %s, checkpoint %s", runtime.device, runtime.precision, checkpoint)
    fitted = loop.fit(data.train, data.validation, options, runtime, checkpoint=checkpoint, group=group)
    if not group.first:
        return

    # The exported model computes in float32, so choose the thresholds in float32
    network = copy.deepcopy(fitted.network)
    # The types of torch lack memory_format
    network.to("cpu", memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    exact = Runtime(torch.device("cpu"), bfloat16=False)
    logits = torch.from_numpy(loop.predict(network, data.validation.images, exact))
    probabilities = logits.sigmoid().numpy()
    chosen = thresholds.calibrate(probabilities, data.validation.labels)
    accuracy = ((probabilities >= np.array(chosen, np.float32)) == data.validation.labels).mean()

    weights.save(
        weights.Trained(
            network=network,
            attributes=data.info.attributes,
            shrink=data.info.shrink,
            width=options.width,
            thresholds=tuple(chosen),
            profile=params.profile,
            data_digest=data.info.digest,
            params_digest=digest_of(
                {"prepare": params.prepare.model_dump(), "train": _deciding(options, group.size)}
            ),
        ),
        out,
    )
    write_text(curve, _table(fitted.curve))
    write_json(
        metrics,
        {
            "format": 1,
            "validation_accuracy": round(float(accuracy), 4),
            "validation_loss": round(fitted.curve[-1].validation_loss, 4),
            "thresholds_moved": sum(threshold != thresholds.DEFAULT for threshold in chosen),
            "epochs": len(fitted.curve),
            "ended_by": "max_minutes" if fitted.out_of_time else "epochs",
            "train_images": data.info.train,
            "validation_images": data.info.validation,
            "duplicates_left_out": data.info.left_out,
            "weights": sum(parameter.numel() for parameter in network.parameters()),
            "device": runtime.device.type,
            "processes": group.size,
            "precision": runtime.precision,
            "bfloat16_gain": runtime.gain,
            **cost.measured(fitted.seconds),
            "images_per_second": float(f"{fitted.images / max(fitted.seconds, 1e-9):.2g}"),
        },
    )
    checkpoint.unlink(missing_ok=True)
    epochs = len(fitted.curve)
    log.info(
        f"train: validation accuracy {accuracy:.2%} after {epochs} epochs on {data.info.train} images, "
        f"{len(data.info.attributes)} attributes, {runtime.precision}"
    )


def _deciding(options: TrainParams, processes: int) -> dict[str, Any]:
    """Return the parameters that decide the weights. One process is no parameter, as in earlier releases."""
    values = options.model_dump(exclude={"device", "processes"})
    return values if processes == 1 else {**values, "processes": processes}


def _table(curve: list[loop.Epoch]) -> str:
    lines = ["epoch,train_loss,validation_loss,validation_accuracy"]
    for row in curve:
        losses = f"{row.train_loss:.5f},{row.validation_loss:.5f}"
        lines.append(f"{row.epoch},{losses},{row.validation_accuracy:.5f}")
    return "\n".join(lines) + "\n"
