"""Reference: what the model says of the images it was made from, for monitoring to compare others with.

Columns: `id`, `partition`, then the answers (see `answers`). A model is surer of images that it was trained
on than of any that it meets later, so validation images, which it did not learn, stand beside them.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from face_attributes import answers
from face_attributes.decoding import decoded
from face_attributes.errors import DataError, first_line
from face_attributes.files import replacing
from face_attributes.model import Model
from face_attributes.paths import MODEL, REFERENCE, SAMPLE
from face_attributes.progress import bar
from face_attributes.shards import ShardReader

WHOLE = "all"

_SCORE = "_score"


@dataclass(frozen=True)
class Population:
    """Rows of a reference that belong together: a labelled batch by its name, those of no batch, or `all`."""

    name: str
    table: pa.Table


def reference(model: Path = MODEL, sample: Path = SAMPLE, out: Path = REFERENCE) -> None:
    """Write the reference of a model; equal models and samples give equal bytes.

    Raises:
        ModelError: the file is not a model.
        DataError: the sample cannot be used.

    """
    loaded = Model(model)
    total = sum(ShardReader([sample]).partition_sizes().values())
    if not total:
        raise DataError(f"{sample}: holds no images; run the stage prepare again")
    schema = pa.schema([("id", pa.string()), ("partition", pa.string()), *answers.fields(loaded)])
    batches = []
    with bar("reference", total, "images") as progress:
        for rows, pixels in decoded(sample):
            columns = [pa.array(rows.ids), pa.array(rows.partitions), *answers.of(loaded, pixels)]
            batches.append(pa.record_batch(columns, schema=schema))
            progress.update(len(rows))
    table = pa.Table.from_batches(batches).replace_schema_metadata({"model_sha256": loaded.sha256})
    with replacing(out) as partial:
        pq.write_table(table.combine_chunks(), partial, compression="zstd", use_dictionary=["partition"])
    print(f"reference: {total} images in {out}")


def read(path: Path, model_sha256: str) -> pa.Table:
    """Return the validation rows of a model's reference.

    Raises:
        DataError: the file is missing or no reference, or is that of another model.

    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        table = pq.read_table(path, partitioning=None)
        about = (table.schema.metadata or {})[b"model_sha256"].decode()
        rows = table.filter(pc.equal(table.column("partition"), "validation"))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: not the reference of a model ({first_line(error)})") from None
    if about != model_sha256:
        raise DataError(
            f"{path}: is the reference of model {about[:12]}, not of {model_sha256[:12]}; "
            "run the stage reference again"
        )
    return rows


def attributes(table: pa.Table) -> list[str]:
    """Return the attributes of the model that a reference is about."""
    return [name.removesuffix(_SCORE) for name in table.column_names if name.endswith(_SCORE)]


def watched(table: pa.Table) -> list[str]:
    """Return the columns that say something of an image, in the order of the file."""
    return [name for name in table.column_names if name not in ("id", "partition")]


def populations(table: pa.Table, minimum: int) -> list[Population]:
    """Return all rows, and beside them each part of at least `minimum` rows, where there are parts.

    Whatever a model was trained on besides what it was first trained on came to it as a labelled batch, whose
    images have the name of the batch before their own.
    """
    found = [Population(WHOLE, table)]
    batches = [name.rpartition("/")[0].partition("/")[0] for name in table.column("id").to_pylist()]
    if set(batches) != {""}:
        for batch in sorted(set(batches)):
            rows = table.filter(pa.array([one == batch for one in batches], pa.bool_()))
            if rows.num_rows >= minimum:
                found.append(Population(batch or "collected", rows))
    return found
