"""The exported model: a self-contained ONNX file."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.errors import ModelError, first_line

INPUT, OUTPUT, EMBEDDING = "images", "probabilities", "embedding"
# Keys of the metadata
ATTRIBUTES, THRESHOLDS, PROFILE, VARIANT = "attributes", "thresholds", "profile", "variant"
DATA_DIGEST, PARAMS_DIGEST = "data_digest", "params_digest"
_FOREIGN = "not a face-attribute model"
_AT_MOST = 1.01

onnxruntime.set_default_logger_severity(3)  # its warnings are about graph details that nobody here can act on


class Model:
    """An exported model on ONNX Runtime.

    Attributes:
        attributes: names of the A attributes.
        thresholds: float32 array (A,): a probability at or over it means that the attribute is there.
        sha256: digest of the file, 64 hex digits.
        bytes: size of the file.
        profile: `full` or `small`, the profile that it was trained with.
        variant: `float32` or `int8`, the type of its computations.
        data_digest: digest of the arrays that it was trained on.
        params_digest: digest of the parameters that it was trained with.
        embedding: how many numbers its embedding has; 0 for a model that was exported without one.

    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Load a model.

        Args:
            path: ONNX file.
            threads: how many threads one call may use; None leaves it to ONNX Runtime: one for each core.

        Raises:
            ModelError: the file is missing, truncated, or not a model of this project.

        """
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        # Read once: the digest is that of the very bytes that run
        content = path.read_bytes()
        self.bytes, self.sha256 = len(content), hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Threads that wait by spinning take the cores from whoever decodes the images
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights in a file beside the model would not be part of its digest: here no such file can exist
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            reason = first_line(error)
            if re.search(r"\b(IR version|opset)\b", reason, re.IGNORECASE):
                version = onnxruntime.__version__
                raise ModelError(f"{path}: ONNX Runtime {version} is too old for it ({reason})") from None
            if "xternal data" in reason:
                raise ModelError(f"{path}: has weights outside of the file; export it again") from None
            raise ModelError(f"{path}: not a readable ONNX file, perhaps truncated ({reason})") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            self.attributes: tuple[str, ...] = tuple(json.loads(metadata[ATTRIBUTES]))
            self.thresholds = np.array(json.loads(metadata[THRESHOLDS]), np.float32)
            self.profile, self.variant = metadata[PROFILE], metadata[VARIANT]
            self.data_digest, self.params_digest = metadata[DATA_DIGEST], metadata[PARAMS_DIGEST]
        except KeyError as error:
            raise ModelError(f"{path}: {_FOREIGN}: its metadata has no {error.args[0]}") from None
        except ValueError as error:
            raise ModelError(f"{path}: {_FOREIGN}: its metadata is damaged ({error})") from None
        if self.thresholds.shape != (len(self.attributes),):
            raise ModelError(
                f"{path}: {_FOREIGN}: {self.thresholds.size} thresholds for {len(self.attributes)} attributes"
            )
        values = (*self._session.get_inputs(), *self._session.get_outputs())
        ends = [(value.name, value.type, value.shape[1:]) for value in values]
        expected = [
            (INPUT, "tensor(uint8)", [HEIGHT, WIDTH, 3]),
            (OUTPUT, "tensor(float)", [len(self.attributes)]),
        ]
        self.embedding = 0
        # Releases from before there was one are still compared with
        if len(ends) > len(expected) and ends[-1][:2] == (EMBEDDING, "tensor(float)"):
            (self.embedding,) = ends.pop()[2]
        if ends != expected:
            raise ModelError(f"{path}: {_FOREIGN}: its inputs and outputs are {ends}, not {expected}")

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return float32 probabilities (N, A) of uint8 RGB images (N, 218, 178, 3).

        Raises:
            ModelError: An answer is no probability.

        """
        return self._run([OUTPUT], images)[0]

    def describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities (N, A) of uint8 RGB images (N, 218, 178, 3), and their embedding (N, E).

        The embedding is a float32 projection of the output of the network's last layer but one.

        Raises:
            ModelError: An answer is no probability.

        """
        if not self.embedding:
            return self.predict(images), np.empty((len(images), 0), np.float32)
        probabilities, embedding = self._run([OUTPUT, EMBEDDING], images)
        return probabilities, embedding

    def _run(self, outputs: Sequence[str], images: np.ndarray) -> list[np.ndarray]:
        # A session of other models may also return sparse tensors, lists and dictionaries.
        found = cast("list[np.ndarray]", self._session.run(outputs, {INPUT: images}))
        # Not a number is in no range. An int8 model may round 1 up a little.
        if not ((found[0] >= 0) & (found[0] <= _AT_MOST)).all():
            raise ModelError(f"the model {self.sha256[:12]} gives answers that are no probabilities")
        return found

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the bool decisions (N, A) for probabilities (N, A)."""
        return probabilities >= self.thresholds
