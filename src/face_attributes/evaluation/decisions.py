"""Decisions: the answer of a model about each image of the hold-out set, and the true one, as a file for git.

Two releases that answered the same images can be compared by these files alone: without their models, without
the DVC remote, and without code of either. `gitops.model.decisions` reads them.

An image is known by the first 8 bytes of the SHA-256 of its file, in base64, so a hold-out set that has grown
still has its old part. Answers are bits, the first image in the lowest bit, in base64.
"""

import base64
import hashlib
from pathlib import Path

import numpy as np

from face_attributes.common.files import write_json
from face_attributes.data.shards import ShardReader
from face_attributes.evaluation import slices
from face_attributes.evaluation.predictions import Predictions
from face_attributes.model.onnx_model import Model

DIGEST_BYTES = 8


def write(model: Model, predictions: Predictions, holdout: Path, out: Path) -> None:
    """Write the decisions of a model about a hold-out set.

    Args:
        model: The model.
        predictions: Its predictions about the images of `holdout`, in their order.
        holdout: The hold-out set.
        out: JSON file to write.

    """
    digests = [
        hashlib.sha256(jpeg).digest()[:DIGEST_BYTES]
        for rows in ShardReader([holdout]).batches()
        for jpeg in rows.jpegs
    ]
    with holdout.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    columns = zip(model.attributes, predictions.truth.T, predictions.decisions.T, strict=True)
    content = {
        "format": 1,
        "model_sha256": model.sha256,
        "holdout_md5": md5,
        "samples": len(predictions.ids),
        "images": base64.b64encode(b"".join(digests)).decode(),
        "attributes": {
            name: {"truth": _bits(truth), "decisions": _bits(decided)} for name, truth, decided in columns
        },
        "slices": {
            part.name: {"by": part.by, "images": _bits(part.images)}
            for part in slices.split(predictions.labels, predictions.brightness)
        },
    }
    write_json(out, content)


def _bits(values: np.ndarray) -> str:
    return base64.b64encode(np.packbits(values, bitorder="little").tobytes()).decode()
