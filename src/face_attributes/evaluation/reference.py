"""Reference: the model's results for its own images, which monitoring compares with later images.

Columns: `id`, `partition`, `person`, then the output columns (see `columns`). Images with the same number in
`person` show the same person; it is empty for unknown people, and references of earlier releases lack it. A
model is more confident on its training images than on later images, so the reference also has validation
images.
"""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from face_attributes.common.errors import DataError, first_line
from face_attributes.common.files import replacing
from face_attributes.common.paths import MODEL, PEOPLE, REFERENCE, SAMPLE
from face_attributes.common.progress import bar
from face_attributes.data.parallel import decoded
from face_attributes.data.shards import ShardReader
from face_attributes.evaluation import columns as monitoring_columns
from face_attributes.model.onnx_model import Model

log = logging.getLogger(__name__)

WHOLE = "all"

PERSON = "person"
WINDOW = "window"
_ABOUT = ("id", "partition", PERSON)
LEAST = 100
"""The images to compare with that it takes to detect drift: with fewer, only a landslide would show."""
_COMPARED = "validation"
_SCORE = "_score"


@dataclass(frozen=True)
class Population:
    """Rows of a reference that belong together: a labelled batch by its name, those of no batch, or `all`."""

    name: str
    table: pa.Table

    def people(self) -> np.ndarray | None:
        """Return the number of the person on each image; None where that of any is not known."""
        if PERSON not in self.table.column_names or self.table.column(PERSON).null_count:
            return None
        return self.table.column(PERSON).to_numpy()

    def windows(self) -> np.ndarray | None:
        """Return the number of the window of each image; None where the images are of no windows."""
        return self.table.column(WINDOW).to_numpy() if WINDOW in self.table.column_names else None


def reference(
    model: Path = MODEL, sample: Path = SAMPLE, out: Path = REFERENCE, people: Path = PEOPLE
) -> None:
    """Write the reference of a model; equal models, samples and people give equal bytes.

    An image that is in a part of the sample twice counts once.

    Args:
        model: ONNX file.
        sample: some images that the model was made from.
        out: Parquet file to write.
        people: who is on which image, as the stage collect writes it.

    Raises:
        ModelError: the file is not a model.
        DataError: the sample cannot be used.

    """
    loaded = Model(model)
    total = sum(ShardReader([sample]).partition_sizes().values())
    if not total:
        raise DataError(f"{sample}: holds no images; run the stage prepare again")
    persons = _Persons(people)
    about = [("id", pa.string()), ("partition", pa.string()), (PERSON, pa.int32())]
    schema = pa.schema([*about, *monitoring_columns.fields(loaded)])
    batches = []
    seen: set[tuple[str, bytes]] = set()
    with bar("reference", total, "images") as progress:
        for rows, pixels in decoded(sample):
            columns = [
                pa.array(rows.ids),
                pa.array(rows.partitions),
                pa.array(map(persons.number, rows.ids), pa.int32()),
                *monitoring_columns.of(loaded, pixels),
            ]
            images = list(zip(rows.partitions, monitoring_columns.digests(pixels), strict=True))
            first = [image not in seen and images.index(image) == index for index, image in enumerate(images)]
            seen.update(images)
            batches.append(pa.record_batch(columns, schema=schema).filter(pa.array(first)))
            progress.update(len(rows))
    table = pa.Table.from_batches(batches).replace_schema_metadata({"model_sha256": loaded.sha256})
    with replacing(out) as partial:
        options: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["partition"]}
        pq.write_table(table.combine_chunks(), partial, **options)
    compared = table.column("partition").to_pylist().count(_COMPARED)
    log.info(f"reference: {table.num_rows} images in {out}, {compared} of them of the part {_COMPARED}")
    if compared < LEAST:
        log.warning(
            f"reference: {compared} images of the part {_COMPARED} are too few to detect drift, which takes "
            f"{LEAST}; raise prepare.sample, or collect more images"
        )


class _Persons:
    """Numbers people in the order that they are asked for, so that the reference has no names."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8", newline="") as file:
                self._names = {row["image_id"]: row["person"] for row in csv.DictReader(file)}
        except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"{path}: not the list of people ({first_line(error)}); run the stage collect again"
            ) from None
        self._numbers: dict[str, int] = {}

    def number(self, image: str) -> int | None:
        name = self._names.get(image)
        return None if name is None else self._numbers.setdefault(name, len(self._numbers))


def read(path: Path, model_sha256: str) -> pa.Table:
    """Return the validation rows of a model's reference.

    Raises:
        DataError: the file is missing or no reference, or is that of another model.

    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        about = (table.schema.metadata or {})[b"model_sha256"].decode()
        rows = table.filter(pc.field("partition") == _COMPARED)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: not the reference of a model ({first_line(error)})") from None
    if about != model_sha256:
        raise DataError(
            f"{path}: is the reference of model {about[:12]}, not of {model_sha256[:12]}; "
            "run the stage reference again"
        )
    if problem := monitoring_columns.fault(rows, watched(rows), rows.column_names):
        raise DataError(f"{path}: {problem}; run the stage reference again")
    return rows


def attributes(table: pa.Table) -> list[str]:
    """Return the attributes of the model that a reference is about."""
    return [name.removesuffix(_SCORE) for name in table.column_names if name.endswith(_SCORE)]


def watched(table: pa.Table) -> list[str]:
    """Return the columns that describe an image, in the order of the file."""
    return [name for name in table.column_names if name not in _ABOUT]


def populations(table: pa.Table, minimum: int) -> list[Population]:
    """Return all rows, and beside them each part of at least `minimum` rows, where there are parts.

    All later training images belong to labelled batches. Their ids start with the name of the batch.
    """
    parts = [Population(WHOLE, table)]
    batches = [name.rpartition("/")[0].partition("/")[0] for name in table.column("id").to_pylist()]
    if set(batches) != {""}:
        for batch in sorted(set(batches)):
            rows = table.filter(pa.array([one == batch for one in batches], pa.bool_()))
            if rows.num_rows >= minimum:
                parts.append(Population(batch or "collected", rows))
    return parts
