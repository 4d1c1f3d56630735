"""Score: what a model says about every image of a folder, as one Parquet file.

Columns: `id` (path within the folder); for each attribute its name (bool, the decision); for each attribute
`<name>_score` (float32, the probability); figures of the image (see image_statistics); `model_sha256` and
`release`.
Equal images and an equal model give equal bytes: the file holds no time.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from face_attributes import image_statistics, images, quarantine
from face_attributes.decoding import BATCH, ahead
from face_attributes.errors import DataError, ImageError
from face_attributes.files import replacing
from face_attributes.image_statistics import STATISTICS
from face_attributes.model import Model
from face_attributes.progress import bar

_ROW_GROUP = 50  # batches

Good = tuple[str, np.ndarray, tuple[float, ...]]


def score(
    folder: Path, model: Path, out: Path, release: str | None = None, quarantine_folder: Path | None = None
) -> tuple[int, dict[str, str]]:
    """Score a folder of aligned faces.

    Args:
        folder: its images; files in folders within it count too, hidden ones do not.
        model: ONNX file.
        out: Parquet file to write.
        release: the commit that the model belongs to, if it is to be noted.
        quarantine_folder: where to move images that cannot be used; without it they stay where they are.

    Returns:
        The number of images scored, and the reason for each one that could not be.

    Raises:
        DataError: the folder is missing or empty, or not one of its images can be used.
        ModelError: the file is not a model.

    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for place in (out, quarantine_folder):
        if place is not None and place.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{place}: must lie outside {folder}, or it would be scored next time")
    total = sum(1 for _ in _names(folder))
    if not total:
        raise DataError(f"{folder}: holds no images")
    loaded = Model(model)
    bad: dict[str, str] = {}
    with replacing(out) as partial:
        scored = _write(folder, loaded, partial, release, total, bad)
        if not scored:
            name, reason = next(iter(bad.items()))
            raise DataError(f"{folder}: not one of its {total} files can be used; {name}: {reason}")
    if quarantine_folder is not None:
        _move(folder, bad, quarantine_folder)
    return scored, bad


def _names(folder: Path) -> Iterator[str]:
    """Yield the paths of all files within the folder, in order, hidden ones left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place, name).relative_to(folder).as_posix()


def _write(
    folder: Path, model: Model, path: Path, release: str | None, total: int, bad: dict[str, str]
) -> int:
    def read(name: str) -> Good | tuple[str, ImageError]:
        try:
            image = images.decode(images.read(folder / name))
        except ImageError as error:
            return name, error
        return name, image, image_statistics.measure(image)

    schema = _schema(model)
    scored = 0
    with (
        pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=["model_sha256", "release"]
        ) as writer,
        bar("score", total, "images") as progress,
    ):
        pending: list[pa.RecordBatch] = []
        good: list[Good] = []

        def flush(everything: bool) -> None:
            nonlocal scored
            if good:
                pending.append(_batch(good, model, release, schema))
                scored += len(good)
                good.clear()
            if pending and (everything or len(pending) >= _ROW_GROUP):
                writer.write_table(pa.Table.from_batches(pending).combine_chunks())
                pending.clear()

        for result in ahead(read, _names(folder)):
            progress.update(1)
            if isinstance(result[1], ImageError):
                bad[result[0]] = str(result[1])
                continue
            good.append(result)
            if len(good) == BATCH:
                flush(everything=False)
        flush(everything=True)
        writer.add_key_value_metadata(
            {
                "model_sha256": model.sha256,
                "release": release or "",
                "thresholds": json.dumps(dict(zip(model.attributes, model.thresholds.tolist(), strict=True))),
                "quarantined": json.dumps(bad, ensure_ascii=False),
            }
        )
    return scored


def _schema(model: Model) -> pa.Schema:
    return pa.schema(
        [
            ("id", pa.string()),
            *((name, pa.bool_()) for name in model.attributes),
            *((f"{name}_score", pa.float32()) for name in model.attributes),
            *((name, pa.float32()) for name in STATISTICS),
            ("model_sha256", pa.string()),
            ("release", pa.string()),
        ]
    )


def _batch(
    good: list[Good],
    model: Model,
    release: str | None,
    schema: pa.Schema,
) -> pa.RecordBatch:
    probabilities = model.predict(np.stack([image for _, image, _ in good]))
    decisions = model.decide(probabilities)
    statistics = np.array([row for _, _, row in good], np.float32)
    return pa.record_batch(
        [
            pa.array([name for name, _, _ in good], pa.string()),
            *(pa.array(column) for column in decisions.T),
            *(pa.array(column) for column in np.ascontiguousarray(probabilities.T)),
            *(pa.array(column) for column in np.ascontiguousarray(statistics.T)),
            pa.array([model.sha256] * len(good), pa.string()),
            pa.array([release] * len(good), pa.string()),
        ],
        schema=schema,
    )


def _move(folder: Path, bad: dict[str, str], place: Path) -> None:
    """Move bad files to the quarantine, and add them to its list."""
    if not bad:
        return
    table = place / "quarantine.csv"
    quarantine.write(table, quarantine.read(table) | bad)
    for name in bad:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / name, target)
