"""Prepare: from shards to the arrays that training reads, and the hold-out set that judges the model.

Each photograph is in one part alone. Of photographs that are the same (see `duplicates`) one stays, with its
part and its labels, and the others are left out. So is one that shows another cut of a photograph in another
part (see `crops`):

1. The raw data come before the labelled batches, so a batch never takes a photograph out of them.
2. The hold-out set comes before the validation part, and that before the training part: a photograph that
   judges a model is not learnt, whichever batch it comes with and whatever it is called there.
3. Then the first stays, in the order of the rows.

Repetitions within one part of the raw data stay: no photograph changes its part by them, and a part that
others published too stays the one that they measured on.

The stage also writes a sample of unchanged training and validation images, for calibration and comparison.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_attributes.common.celeba_attributes import PARTITIONS
from face_attributes.common.errors import DataError, ImageError
from face_attributes.common.files import digest_of, replacing, replacing_folder, sha256, write_json
from face_attributes.common.paths import HOLDOUT, LABELLED, PREPARED, RAW, SAMPLE
from face_attributes.common.progress import bar
from face_attributes.common.sampling import choose
from face_attributes.data import crops, duplicates, images
from face_attributes.data.arrays import INFO, Info, PartWriter
from face_attributes.data.labelled_batches import pointer_of, training_shards
from face_attributes.data.parallel import ahead
from face_attributes.data.shards import Rows, ShardReader, ShardWriter, attributes_of
from face_attributes.params import PrepareParams

log = logging.getLogger(__name__)

_HELD_OUT = "test"
# Which photograph stays, the one of the lowest rank: by its part, and a batch's after all of the raw data
_RANKS = {part: rank for rank, part in enumerate((_HELD_OUT, "validation", "train"))}


class _Row(NamedTuple):
    id: str
    jpeg: bytes
    partition: str
    labels: np.ndarray  # bool (A,)


@dataclass(frozen=True)
class Choice:
    """Which of N rows stay.

    Attributes:
        attributes: names of the A attributes.
        ids: the name of each row.
        partitions: the part of each.
        labels: bool array (N, A).
        repeated: int array (N,), the row that each of those that are left out repeats; -1 for one that stays.
        cuts: bool array (N,), whether a row is left out as another cut of a photograph in another part.

    """

    attributes: tuple[str, ...]
    ids: Sequence[str]
    partitions: Sequence[str]
    labels: np.ndarray
    repeated: np.ndarray
    cuts: np.ndarray

    @property
    def stays(self) -> np.ndarray:
        """A bool array (N,), whether each row stays."""
        return self.repeated < 0

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows are left out because of a photograph in each part."""
        counts = dict.fromkeys(_RANKS, 0)
        for index in self.repeated[self.repeated >= 0].tolist():
            counts[self.partitions[int(index)]] += 1
        return counts

    @property
    def other_labels(self) -> int:
        """How many of the rows that are left out had other labels than the photograph that stays."""
        gone = np.flatnonzero(self.repeated >= 0)
        return int((self.labels[gone] != self.labels[self.repeated[gone]]).any(axis=1).sum())

    def ids_of(self, partition: str) -> Iterator[str]:
        """Yield the names of the rows of a part that stay."""
        rows = zip(self.ids, self.partitions, self.stays, strict=True)
        return (name for name, part, stays in rows if stays and part == partition)

    def sizes(self) -> dict[str, int]:
        """Return the number of rows of each part that stay."""
        return {part: sum(1 for _ in self.ids_of(part)) for part in PARTITIONS}


def prepare(
    params: PrepareParams,
    raw: Path = RAW,
    labelled: Path = LABELLED,
    out: Path = PREPARED,
    holdout: Path = HOLDOUT,
    sample: Path = SAMPLE,
    *,
    drawn: bool = False,
) -> Choice:
    """Write the arrays of the training and validation parts to `out` and the test part to `holdout`.

    The rows of `raw` come first, then those of each labelled batch, in order of their names; photographs that
    are there already are left out. So is a labelled batch that lacks an attribute of the raw data, with a
    line in the log. `sample` gets some images of the training part and as many of the
    validation part. Where the raw data are `drawn`, they are no cuts of each other.

    Returns:
        The rows, and which of them stay.

    Raises:
        DataError: there are no shards, a batch is missing, they do not agree, an id appears twice, an image
            is damaged, or a part is empty.

    """
    shards = _agreeing(training_shards(raw, labelled), labelled)
    reader = ShardReader(shards)
    reader.check_ids()
    _require_all_parts(reader.partition_sizes(), raw)
    own = ShardReader([shard for shard in shards if shard.parent == raw])
    choice = _choose(reader, sum(own.partition_sizes().values()), drawn=drawn)
    sizes = choice.sizes()
    _require_all_parts(sizes, raw)
    with replacing_folder(out) as folder, replacing(holdout) as held_out, replacing(sample) as sampled:
        _write(reader, params, folder, held_out, sampled, choice)
        digests = {file.name: sha256(file) for file in sorted(folder.iterdir())}
        info = Info(
            attributes=reader.attributes,
            shrink=params.shrink,
            train=sizes["train"],
            validation=sizes["validation"],
            left_out=sum(choice.left_out.values()),
            digest=digest_of({"attributes": reader.attributes, "files": digests}),
        )
        write_json(folder / INFO, info.to_json())
    if info.left_out:
        log.info(
            f"prepare: {info.left_out} photographs are left out, as they are there already: "
            f"{_listed(choice.left_out)}; {choice.other_labels} of them had other labels, which do not "
            f"count, and {choice.cuts.sum()} are another cut of a photograph in another part"
        )
    batches = len(shards) - len([shard for shard in shards if shard.parent == raw])
    log.info(
        f"prepare: {_listed(sizes)} of {raw} and {batches} labelled batches, "
        f"{len(reader.attributes)} attributes"
    )
    return choice


def _agreeing(shards: Sequence[Path], labelled: Path) -> list[Path]:
    """Return the shards without the labelled batches that lack an attribute of the raw data.

    One batch must not stop every training, and a training without it must not go unnoticed.
    """
    attributes = attributes_of(shards[0])
    agreeing: list[Path] = []
    left_out: list[Path] = []
    for shard in shards:
        own = attributes_of(shard) if shard.parent == labelled else attributes
        missing = [name for name in attributes if name not in own]
        if missing:
            left_out.append(shard)
            names = f"{', '.join(missing[:3])}{' ...' * (len(missing) > 3)}"
            log.warning(
                f"prepare: {shard} is left out: no attribute {names}, which {shards[0].parent} has; to take "
                f"it away: git rm {pointer_of(shard)}; to train with it: name the attributes that both have "
                "in params.yaml: data.attributes"
            )
        else:
            agreeing.append(shard)
    if left_out:
        rows = sum(sum(ShardReader([shard]).partition_sizes().values()) for shard in left_out)
        log.warning(f"prepare: {rows} images of {len(left_out)} labelled batches are left out in all")
    return agreeing


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _require_all_parts(sizes: dict[str, int], raw: Path) -> None:
    empty = [name for name in PARTITIONS if not sizes[name]]
    if empty:
        raise DataError(f"{raw}: no {empty[0]} images; each part needs some, so more images are needed")


def _choose(reader: ShardReader, raw_rows: int, *, drawn: bool) -> Choice:
    """Choose the rows that stay; the first `raw_rows` are those of the raw data."""

    def look(row: _Row) -> tuple[_Row, np.ndarray, np.ndarray]:
        pixels = _decode(row)
        return row._replace(jpeg=b""), duplicates.fingerprint(pixels), crops.thumbnail(pixels)

    ids, partitions, labels, fingerprints = [], [], [], []
    total = sum(reader.partition_sizes().values())
    with tempfile.TemporaryFile() as file, bar("prepare: fingerprints", total, "images") as progress:
        # On disk: 200,000 thumbnails have 900 MB
        thumbnails = np.memmap(file, np.uint8, "w+", shape=(total, crops.HEIGHT, crops.WIDTH))
        for index, (row, looked, thumbnail) in enumerate(ahead(look, _rows(reader))):
            ids.append(row.id)
            partitions.append(row.partition)
            labels.append(row.labels)
            fingerprints.append(looked)
            thumbnails[index] = thumbnail
            progress.update()
        ranks = np.array([_RANKS[part] for part in partitions])
        ranks[raw_rows:] += len(_RANKS)
        repeated = duplicates.find(np.stack(fingerprints), ranks, repeating=range(len(_RANKS)))
        distinct = np.arange(total) < (raw_rows if drawn else 0)
        found = crops.find(thumbnails, np.flatnonzero(repeated < 0), partitions, ranks, distinct)
    cuts = found >= 0
    return Choice(reader.attributes, ids, partitions, np.stack(labels), np.where(cuts, found, repeated), cuts)


def _decode(row: _Row) -> np.ndarray:
    try:
        return images.decode(row.jpeg)
    except ImageError as error:
        raise DataError(f"image {row.id}: {error}; run the stage collect again") from None


def _write(
    reader: ShardReader,
    params: PrepareParams,
    folder: Path,
    holdout: Path,
    sample: Path,
    choice: Choice,
) -> None:
    def shrink(row: _Row) -> tuple[_Row, np.ndarray | None]:
        if row.partition == _HELD_OUT:
            return row, None
        return row, images.shrink(_decode(row), params.shrink)

    sizes = choice.sizes()
    shape = images.shrunk_shape(params.shrink)
    with (
        PartWriter(folder, "train", sizes["train"], shape, len(reader.attributes)) as train,
        PartWriter(folder, "validation", sizes["validation"], shape, len(reader.attributes)) as validation,
        ShardWriter(holdout, reader.attributes, one_file=True) as test,
        ShardWriter(sample, reader.attributes, one_file=True) as some,
        bar("prepare", sum(sizes.values()), "images") as progress,
    ):
        arrays = {"train": train, "validation": validation}
        chosen = {name for part in arrays for name in choose(choice.ids_of(part), params.sample)}
        staying = (row for row, stays in zip(_rows(reader), choice.stays, strict=True) if stays)
        for row, pixels in ahead(shrink, staying):
            if pixels is None:
                test.write(_one(row))
            else:
                arrays[row.partition].append(pixels, row.labels)
                if row.id in chosen:
                    some.write(_one(row))
            progress.update()


def _one(row: _Row) -> Rows:
    return Rows([row.id], [row.jpeg], [row.partition], row.labels[None])


def _rows(reader: ShardReader) -> Iterator[_Row]:
    for rows in reader.batches():
        yield from map(_Row, rows.ids, rows.jpegs, rows.partitions, rows.labels)
