"""One file with data about people: which rows of it are about wanted photographs, and the file without them.

The kind of a file is known by its content, as an object of DVC has no name: shards, tables of scores, arrays,
lists and pictures.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from face_attributes.common.errors import ImageError
from face_attributes.common.files import replacing
from face_attributes.data import images
from face_attributes.evaluation.columns import DIGEST
from face_attributes.people.places import File
from face_attributes.people.wanted import Wanted

SHARDS, TABLE, ARRAY, PICTURE, LIST = "shards", "table", "array", "picture", "list"
_PARQUET, _NUMPY = b"PAR1", b"\x93NUMPY"
_PICTURES = (b"\xff\xd8", b"\x89PNG", b"RIFF")
_IDS = (b"image_id", b"id,")
_MARK = "\ufeff"
_BEGIN = 4096
_ROWS = 256
_LARGEST_LIST = 256 << 20
_QUARANTINED = b"quarantined"


def kind(path: Path) -> str:
    """Return the kind of a file, or "" for one that holds no rows about photographs."""
    with path.open("rb") as file:
        begin = file.read(_BEGIN)
    if begin.startswith(_PARQUET):
        try:
            names = pq.read_schema(path).names
        except (OSError, pa.ArrowException):
            return ""
        return (SHARDS if "jpeg" in names else TABLE) if "id" in names else ""
    if begin.startswith(_NUMPY):
        return ARRAY
    if begin.startswith(_PICTURES) or begin[4:8] == b"ftyp":
        return PICTURE
    # Those who use a list pass over the mark of an editor, blank lines and quotes too
    text = begin.removeprefix(_MARK.encode()).lstrip(b'" \t\r\n')
    return LIST if text.startswith(_IDS) or b"".join(text.splitlines()[:1]).strip().isdigit() else ""


def photographs(file: File, only: Callable[[str], bool] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield the id and the content of each photograph of shards, or of a picture; `only` chooses by id."""
    what = kind(file.path)
    if what == SHARDS:
        with pq.ParquetFile(file.path) as shards:
            for group in range(shards.num_row_groups):
                if only and not any(map(only, shards.read_row_group(group, ["id"]).column(0).to_pylist())):
                    continue
                for batch in shards.iter_batches(_ROWS, row_groups=[group], columns=["id", "jpeg"]):
                    for name, jpeg in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        if only is None or only(name):
                            yield name, jpeg
    elif is_photograph(file) and (only is None or only(file.name)):
        yield file.name, _content(file.path)


def is_photograph(file: File) -> bool:
    """Whether a file has the place of a photograph, whatever is in it: quarantine has other formats."""
    return bool(file.name) and kind(file.path) not in (SHARDS, TABLE, ARRAY, LIST)


def _content(path: Path) -> bytes:
    """Return a photograph; nothing of a file that is larger than any, which its id alone can name."""
    try:
        return images.read(path)
    except ImageError:
        return b""


def pictures_of_array(path: Path) -> np.ndarray:
    """Return the uint8 images (N, height, width, 3) of a file of arrays; of another array, none."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    pictures = array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] == 3
    return array if pictures else np.zeros((0, 1, 1, 3), np.uint8)


def hits(file: File, wanted: Wanted) -> int:
    """Return the number of rows of a table or a list that are about wanted photographs."""
    what = kind(file.path)
    if what == TABLE:
        dropped, reasons = _rows(file, wanted)
        return int(dropped.sum()) + reasons
    return sum(not kept for kept, _ in _lines(file.path, file.wants(wanted))) if what == LIST else 0


def without(file: File, wanted: Wanted) -> int:
    """Rewrite a table or a list without the wanted rows, and return how many these were.

    A table without a row that is left is removed.
    """
    what = kind(file.path)
    if what == TABLE:
        return _without_rows(file, wanted)
    return drop_lines(file.path, file.wants(wanted)) if what == LIST else 0


def drop_lines(path: Path, is_wanted: Callable[[str], bool]) -> int:
    """Rewrite a list without the lines whose first field is wanted, and return how many these were."""
    lines = list(_lines(path, is_wanted))
    dropped = sum(not kept for kept, _ in lines)
    if dropped:
        texts = [text for kept, text in lines if kept]
        count = texts[0].removeprefix(_MARK).strip()
        if count.isdigit():
            texts[0] = texts[0].replace(count, str(int(count) - dropped), 1)  # of CelebA's own lists
        with replacing(path) as partial:
            partial.write_bytes("".join(texts).encode("utf-8", "surrogateescape"))
    return dropped


def _lines(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[bool, str]]:
    """Yield whether each line of a list stays, and its text."""
    if path.stat().st_size > _LARGEST_LIST:
        return
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    separated = "," in text.removeprefix(_MARK).lstrip().splitlines()[0]
    for line in io.StringIO(text, newline=""):
        fields = next(csv.reader([line]), []) if separated else line.split()
        name = fields[0].strip() if fields else ""
        # `'` is the mark for text that `quarantine.write` puts before a formula
        yield not (is_wanted(name) or is_wanted(name.removeprefix("'"))), line


def _rows(file: File, wanted: Wanted) -> tuple[np.ndarray, int]:
    """Return the wanted rows of a table as a bool array (N,), and the number of unusable files among them."""
    is_wanted, found = file.wants(wanted), list[bool]()
    with pq.ParquetFile(file.path) as table:
        columns = ["id", *({DIGEST} & set(table.schema_arrow.names))]
        for batch in table.iter_batches(columns=columns):
            names = batch.column(0).to_pylist()
            digests = batch.column(1).to_pylist() if len(columns) > 1 else [None] * len(names)
            found += [
                digest in wanted.pixels or is_wanted(name)
                for name, digest in zip(names, digests, strict=True)
            ]
    return np.array(found, bool), len(_reasons(file)) - len(_reasons(file, is_wanted))


def _reasons(file: File, is_wanted: Callable[[str], bool] = lambda _: False) -> dict[str, str]:
    """Return the unusable files that a table of scores names, without the wanted."""
    metadata = pq.read_schema(file.path).metadata or {}
    reasons: dict[str, str] = json.loads(metadata.get(_QUARANTINED, b"{}"))
    return {name: reason for name, reason in reasons.items() if not is_wanted(name)}


def _without_rows(file: File, wanted: Wanted) -> int:
    rows, reasons = _rows(file, wanted)
    dropped = int(rows.sum())
    if dropped + reasons == 0:
        return 0
    if dropped == len(rows):
        file.path.unlink()
        return dropped
    with replacing(file.path) as partial, pq.ParquetFile(file.path) as table:
        metadata = dict(table.schema_arrow.metadata or {})
        if _QUARANTINED in metadata:
            stay = _reasons(file, file.wants(wanted))
            metadata[_QUARANTINED] = json.dumps(stay, ensure_ascii=False).encode()
        schema = table.schema_arrow.with_metadata(metadata or None)
        begin = 0
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for batch in table.iter_batches():
                stays = pa.array(~rows[begin : begin + batch.num_rows])
                begin += batch.num_rows
                kept = pa.Table.from_batches([batch]).filter(stays)
                if kept.num_rows:
                    writer.write_table(kept.replace_schema_metadata(metadata or None))
    return dropped + reasons
