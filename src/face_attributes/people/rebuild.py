"""Rebuild: the raw data and the labelled batches of a checkout without some photographs.

The raw data have the bytes that the stage `collect` would write, which leaves the same photographs out.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from face_attributes.common.files import replacing_folder
from face_attributes.common.paths import LABELLED, PEOPLE, RAW
from face_attributes.data import append
from face_attributes.data.forgotten import Forgotten
from face_attributes.data.labelled_batches import pointer_of, pointers_in
from face_attributes.data.parallel import ahead
from face_attributes.data.shards import Rows, ShardReader, ShardWriter
from face_attributes.people.files import drop_lines
from face_attributes.people.wanted import DATA, Wanted

_QUARANTINE = "quarantine.csv"


def rebuild(folder: Path, wanted: Wanted) -> dict[str, Any]:
    """Take wanted photographs out of the raw data and the labelled batches of a checkout.

    Returns:
        `raw`, the number of photographs that were taken out of the raw data; `batches`, that of each batch,
        by the path of its `.dvc` file.

    """
    forgotten, gone = wanted.forgotten(), set[str]()

    def is_wanted(name: str) -> bool:
        return name in gone or wanted.names(name, DATA)

    raw, batches = folder / RAW, dict[str, int]()
    taken = 0
    if shards := sorted(raw.glob("*.parquet")):
        reader = ShardReader(shards)
        with replacing_folder(raw) as fresh:
            with ShardWriter(fresh, reader.attributes) as writer:
                gone = _copy(reader, writer, forgotten, is_wanted)
            if (raw / _QUARANTINE).is_file():
                shutil.copyfile(raw / _QUARANTINE, fresh / _QUARANTINE)
                drop_lines(fresh / _QUARANTINE, is_wanted)
        taken = len(gone)
        if (folder / PEOPLE).is_file():
            drop_lines(folder / PEOPLE, is_wanted)
    for pointer in pointers_in(folder / LABELLED):
        shard = pointer.with_suffix("")
        if shard.is_file() and (count := _rebuild_batch(shard, forgotten, is_wanted)):
            batches[pointer.relative_to(folder).as_posix()] = count
    return {"raw": taken, "batches": batches}


def _copy(
    reader: ShardReader, writer: ShardWriter, forgotten: Forgotten, is_wanted: Callable[[str], bool]
) -> set[str]:
    """Write the rows that stay; return the ids of the others."""
    gone: set[str] = set()

    def judge(rows: Rows) -> tuple[Rows, list[bool]]:
        pairs = zip(rows.ids, rows.jpegs, strict=True)
        return rows, [not (is_wanted(name) or forgotten.has(jpeg)) for name, jpeg in pairs]

    for rows, stay in ahead(judge, reader.batches(), at_most=16):
        gone.update(name for name, stays in zip(rows.ids, stay, strict=True) if not stays)
        kept = np.flatnonzero(stay)
        writer.write(
            Rows(
                [rows.ids[index] for index in kept],
                [rows.jpegs[index] for index in kept],
                [rows.partitions[index] for index in kept],
                rows.labels[kept],
            )
        )
    return gone


def _rebuild_batch(shard: Path, forgotten: Forgotten, is_wanted: Callable[[str], bool]) -> int:
    """Rewrite a labelled batch and its `.dvc` file; remove both where no photograph is left."""
    reader, pointer = ShardReader([shard]), pointer_of(shard)
    fresh = shard.with_name(f".{shard.name}.partial")
    with ShardWriter(fresh, reader.attributes, one_file=True) as writer:
        gone = _copy(reader, writer, forgotten, is_wanted)
    reasons = append.recorded_quarantine(pointer)
    stay = {name: reason for name, reason in reasons.items() if not is_wanted(f"{shard.stem}/{name}")}
    if not gone and stay == reasons:
        fresh.unlink()
        return 0
    sizes = ShardReader([fresh]).partition_sizes()
    if not sum(sizes.values()):
        for path in (fresh, shard, pointer):
            path.unlink()
        return len(gone)
    fresh.replace(shard)
    append.track(shard, ShardReader([shard]), stay)
    return len(gone) + len(reasons) - len(stay)
