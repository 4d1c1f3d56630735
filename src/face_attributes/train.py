"""Train: the model itself, with the hyperparameters that the search found."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from face_attributes import checkpoints, prepared, thresholds
from face_attributes.errors import ModelError
from face_attributes.files import digest_of, replacing, write_json, write_text
from face_attributes.loop import Epoch, fit, predict
from face_attributes.network import FaceNet
from face_attributes.params import Params
from face_attributes.paths import BEST, CURVE, PREPARED, TRAINING, WEIGHTS
from face_attributes.runtime import choose
from face_attributes.tune import best_of


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network and what must travel with it."""

    network: FaceNet
    attributes: tuple[str, ...]
    size: int
    thresholds: tuple[float, ...]
    profile: str
    data_digest: str
    params_digest: str


def train(
    params: Params,
    folder: Path = PREPARED,
    best: Path = BEST,
    model: Path = WEIGHTS,
    curve: Path = CURVE,
    metrics: Path = TRAINING,
) -> None:
    """Train on the prepared arrays; write the model, its learning curve and the figures of the training."""
    data = prepared.load(folder)
    options = params.train.model_copy(update=best_of(best))
    runtime = choose(options, data.info.size, len(data.info.attributes))
    checkpoint = checkpoints.path(
        "train", ".pt", data=data.info.digest, train=options.model_dump(), precision=runtime.precision
    )
    fitted = fit(data.train, data.validation, options, runtime, checkpoint=checkpoint)
    probabilities = _sigmoid(predict(fitted.network, data.validation.images, runtime))
    chosen = thresholds.calibrate(probabilities, data.validation.labels)
    decisions = probabilities >= np.array(chosen, np.float32)
    save(
        Trained(
            network=fitted.network,
            attributes=data.info.attributes,
            size=data.info.size,
            thresholds=tuple(chosen),
            profile=params.profile,
            data_digest=data.info.digest,
            params_digest=digest_of(
                {"prepare": params.prepare.model_dump(), "train": options.model_dump(exclude={"device"})}
            ),
        ),
        width=options.width,
        path=model,
    )
    write_text(curve, _table(fitted.curve))
    write_json(
        metrics,
        {
            "validation_accuracy": round(float((decisions == data.validation.labels).mean()), 4),
            "validation_loss": round(fitted.curve[-1].validation_loss, 4),
            "thresholds_moved": sum(threshold != thresholds.DEFAULT for threshold in chosen),
            "epochs": len(fitted.curve),
            "ended_by": "max_minutes" if fitted.out_of_time else "epochs",
            "train_images": data.info.train,
            "validation_images": data.info.validation,
            "weights": sum(parameter.numel() for parameter in fitted.network.parameters()),
            "device": runtime.device.type,
            "precision": runtime.precision,
            "bfloat16_gain": runtime.gain,
            "images_per_second": float(f"{fitted.images / max(fitted.seconds, 1e-9):.2g}"),
        },
    )
    checkpoint.unlink(missing_ok=True)


def save(trained: Trained, width: int, path: Path) -> None:
    """Write a trained model, atomically."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in trained.network.state_dict().items()
    }
    fields = {field.name: getattr(trained, field.name) for field in dataclasses.fields(trained)}
    with replacing(path) as partial, partial.open("wb") as file:
        torch.save({**fields, "network": weights, "width": width}, file)


def load(path: Path = WEIGHTS) -> Trained:
    """Read a trained model, ready to predict.

    Raises:
        ModelError: there is none, or it is damaged.

    """
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
        network = FaceNet(len(found["attributes"]), found["size"], found.pop("width"), dropout=0.0)
        network.load_state_dict(found.pop("network"))
        return Trained(network=network.eval(), **found)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; run the stage train first") from None
    except Exception as error:
        raise ModelError(
            f"{path}: damaged ({str(error).splitlines()[0]}); run the stage train again"
        ) from error


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).sigmoid().numpy()


def _table(curve: list[Epoch]) -> str:
    lines = ["epoch,train_loss,validation_loss,validation_accuracy"]
    for row in curve:
        lines.append(
            f"{row.epoch},{row.train_loss:.5f},{row.validation_loss:.5f},{row.validation_accuracy:.5f}"
        )
    return "\n".join(lines) + "\n"
