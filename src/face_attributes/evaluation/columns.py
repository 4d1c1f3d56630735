"""The output columns of each image: the model's decisions and scores, and image statistics.

Scoring writes them for new images, and the reference for images of the model, so the two can be compared.
"""

import hashlib
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from face_attributes.data import image_statistics
from face_attributes.data.image_statistics import STATISTICS
from face_attributes.model.onnx_model import Model

DIGEST = "digest"
DIGEST_BYTES = 16


def fields(model: Model) -> list[pa.Field]:
    """Return the columns: A decisions, A scores `<attribute>_score`, the embedding, the image statistics."""
    return [
        *(pa.field(name, pa.bool_()) for name in model.attributes),
        *(pa.field(f"{name}_score", pa.float32()) for name in model.attributes),
        *(pa.field(f"embedding_{index}", pa.float32()) for index in range(model.embedding)),
        *(pa.field(name, pa.float32()) for name in STATISTICS),
    ]


def fault(table: pa.Table, names: Iterable[str], there: Collection[str]) -> str | None:
    """Return the problem with columns of a file from elsewhere: another type, or values that are no numbers.

    Args:
        table: The columns.
        names: Those to check.
        there: All columns of the file. One with a score beside it is a decision.

    """
    for name in names:
        column = table.column(name)
        if pa.types.is_boolean(column.type) and name not in STATISTICS:
            continue
        if f"{name}_score" in there:
            return f"{name} is {column.type}, not true or false"
        # Tests ignore NaN
        if not pa.types.is_floating(column.type) or not pc.all(pc.is_finite(column), min_count=0).as_py():  # pyright: ignore[reportAttributeAccessIssue] made at import
            return f"{name} has values that are no numbers"
    return None


def of(model: Model, images: np.ndarray) -> list[pa.Array]:
    """Return the columns for uint8 RGB images (N, 218, 178, 3)."""
    probabilities, embedding = model.describe(images)
    decisions = model.decide(probabilities)
    statistics = np.array([image_statistics.measure(image) for image in images], np.float32)
    return [
        *(pa.array(column) for column in decisions.T),
        *(pa.array(column) for column in np.ascontiguousarray(probabilities.T)),
        *(pa.array(column) for column in np.ascontiguousarray(embedding.T)),
        *(pa.array(column) for column in np.ascontiguousarray(statistics.T)),
    ]


def digests(images: np.ndarray) -> list[bytes]:
    """Return the DIGEST of each of the uint8 RGB images (N, 218, 178, 3), by which a repeated image is known.

    It is that of the pixels: a copy with another comment or date in its file is the same image.
    """
    return [hashlib.sha256(image.data).digest()[:DIGEST_BYTES] for image in images]
