"""The model that ships: an ONNX file that needs nothing beside it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime

from face_attributes.attributes import HEIGHT, WIDTH
from face_attributes.errors import ModelError, first_line

INPUT, OUTPUT = "images", "probabilities"
# Keys of the metadata
ATTRIBUTES, THRESHOLDS, PROFILE = "attributes", "thresholds", "profile"
DATA_DIGEST, PARAMS_DIGEST = "data_digest", "params_digest"
_FOREIGN = "not a face-attribute model"

onnxruntime.set_default_logger_severity(3)  # its warnings are about graph details that nobody here can act on


class Model:
    """An exported model on ONNX Runtime.

    Attributes:
        attributes: names of the A attributes.
        thresholds: float32 array (A,): a probability at or over it means that the attribute is there.
        sha256: digest of the file, 64 hex digits.
        profile: `full` or `small`, the profile that it was trained with.
        data_digest: digest of the arrays that it was trained on.
        params_digest: digest of the parameters that it was trained with.

    """

    def __init__(self, path: Path) -> None:
        """Load a model.

        Raises:
            ModelError: the file is missing, truncated, or not a model of this project.

        """
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        # Read once: the digest is that of the very bytes that run
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        # Threads that wait by spinning take the cores from whoever decodes the images
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            reason = first_line(error)
            raise ModelError(f"{path}: not a readable ONNX file, perhaps truncated ({reason})") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            self.attributes: tuple[str, ...] = tuple(json.loads(metadata[ATTRIBUTES]))
            self.thresholds = np.array(json.loads(metadata[THRESHOLDS]), np.float32)
            self.profile = metadata[PROFILE]
            self.data_digest, self.params_digest = metadata[DATA_DIGEST], metadata[PARAMS_DIGEST]
        except KeyError as error:
            raise ModelError(
                f"{path}: not a face-attribute model: its metadata has no {error.args[0]}"
            ) from None
        except ValueError as error:
            raise ModelError(
                f"{path}: not a face-attribute model: its metadata is damaged ({error})"
            ) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [value.shape[1:] for value in (*inputs, *outputs)]
        if shapes != [[HEIGHT, WIDTH, 3], [len(self.attributes)]] or self.thresholds.shape != (
            len(self.attributes),
        ):
            raise ModelError(f"{path}: {_FOREIGN}: its shapes are {shapes}")

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return float32 probabilities (N, A) of uint8 RGB images (N, 218, 178, 3)."""
        return self._session.run([OUTPUT], {INPUT: images})[0]

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the bool decisions (N, A) that probabilities (N, A) lead to."""
        return probabilities >= self.thresholds
