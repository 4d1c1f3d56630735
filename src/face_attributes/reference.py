"""Reference: what the model says of the images it was made from, for monitoring to compare others with.

Columns: `id`, `partition`, then the answers (see `answers`). A model is surer of images that it was trained
on than of any that it meets later, so validation images, which it did not learn, stand beside them.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from face_attributes import answers
from face_attributes.decoding import decoded
from face_attributes.errors import DataError
from face_attributes.files import replacing
from face_attributes.model import Model
from face_attributes.paths import MODEL, REFERENCE, SAMPLE
from face_attributes.progress import bar
from face_attributes.shards import ShardReader


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
