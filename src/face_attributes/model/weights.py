"""The file of the trained network, with the metadata for the exported model."""

import dataclasses
import io
from pathlib import Path

import torch

from face_attributes.common.errors import ModelError, first_line
from face_attributes.common.files import replacing
from face_attributes.data.images import shrunk_shape
from face_attributes.model.network import FaceNet


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        network: in evaluation mode, on the CPU.
        attributes: names of the A attributes.
        shrink: the factor by which the images that it sees are shrunk.
        width: channels of its first layer.
        thresholds: A decision thresholds.
        profile: `full` or `small`.
        data_digest: digest of the arrays that it was trained on.
        params_digest: digest of the parameters that it was trained with.

    """

    network: FaceNet
    attributes: tuple[str, ...]
    shrink: int
    width: int
    thresholds: tuple[float, ...]
    profile: str
    data_digest: str
    params_digest: str


def save(trained: Trained, path: Path) -> None:
    """Write a trained network, atomically. Equal networks give equal bytes."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in trained.network.state_dict().items()
    }
    fields = {field.name: getattr(trained, field.name) for field in dataclasses.fields(trained)}
    write_torch(path, {**fields, "network": weights})


def write_torch(path: Path, value: object) -> None:
    """Write a value in PyTorch's format, atomically.

    PyTorch writes the name of a file into it, and a partial file has a name of its own. On a full disk it
    reports a position in its archive. So it writes to memory.
    """
    content = io.BytesIO()
    torch.save(value, content)
    with replacing(path) as partial:
        partial.write_bytes(content.getbuffer())


def load(path: Path) -> Trained:
    """Read a trained network.

    Raises:
        ModelError: there is none, or the file is damaged.

    """
    try:
        stored = torch.load(path, weights_only=True, map_location="cpu")
        network = FaceNet(
            len(stored["attributes"]), shrunk_shape(stored["shrink"]), stored["width"], dropout=0.0
        )
        network.load_state_dict(stored.pop("network"))
        return Trained(network=network.eval(), **stored)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; run the stage train first") from None
    except Exception as error:  # whatever a damaged archive makes PyTorch raise
        raise ModelError(f"{path}: damaged ({first_line(error)}); run the stage train again") from None
