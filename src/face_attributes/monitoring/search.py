"""Search scored images by their attributes, with a picture of each face whose photograph is still there."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from face_attributes.common.errors import DataError, ImageError
from face_attributes.data import images
from face_attributes.data.alignment import faces_of
from face_attributes.monitoring.score_files import day_of

_FILES = 500  # the newest ones that are searched


def search(
    scores: Path, photographs: Path, has: Sequence[str], lacks: Sequence[str], most: int
) -> dict[str, Any]:
    """Return the newest scored faces with some attributes and without others.

    Args:
        scores: The folder of the files of scores.
        photographs: The folder with a folder of photographs for each file.
        has: Attributes that a face shows.
        lacks: Attributes that it does not show.
        most: The number of faces to return.

    Returns:
        `faces`, each with `id`, `batch`, `day`, `release`, the probabilities of the named `attributes`, and
        `picture`, a JPEG in base64, or None; and `files`, the number of files that were searched.

    Raises:
        DataError: No file of scores has such an attribute.

    """
    asked = [*has, *lacks]
    faces: list[dict[str, Any]] = []
    searched, lacking = 0, ""
    for path in _newest(scores):
        known = pq.read_schema(path).names
        missing = [name for name in asked if f"{name}_score" not in known]
        if missing:
            lacking = missing[0]
            continue
        searched += 1
        for row in _rows(path, has, lacks, most - len(faces)):
            faces.append(_face(path, row, asked, photographs))
        if len(faces) >= most:
            break
    if lacking and not searched:
        raise DataError(f"{lacking}: no file of scores has this attribute")
    return {"faces": faces, "files": searched}


def _newest(scores: Path) -> list[Path]:
    found = [path for path in scores.glob("date=*/*.parquet") if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.parent.name, path.stat().st_mtime_ns), reverse=True)[:_FILES]


def _rows(path: Path, has: Sequence[str], lacks: Sequence[str], most: int) -> Iterator[dict[str, Any]]:
    names = ["id", *(name for name in ("face", "release") if name in pq.read_schema(path).names)]
    asked = list(dict.fromkeys([*has, *lacks]))
    table = pq.read_table(path, columns=[*names, *asked, *(f"{name}_score" for name in asked)])
    for name in has:
        table = table.filter(pc.field(name))
    for name in lacks:
        table = table.filter(~pc.field(name))
    yield from table.slice(0, most).to_pylist()


def _face(path: Path, row: dict[str, Any], asked: Sequence[str], photographs: Path) -> dict[str, Any]:
    day = day_of(path)
    return {
        "id": row["id"],
        "batch": path.stem,
        "day": day and day.isoformat(),
        "release": row.get("release"),
        "attributes": {name: round(row[f"{name}_score"], 4) for name in asked},
        "picture": _picture(photographs / path.stem, row["id"], row.get("face") or 1),
    }


def _picture(batch: Path, name: str, number: int) -> str | None:
    """Return the aligned face as a JPEG in base64, or None if its photograph is not there any more."""
    several, _, last = name.rpartition("#")
    path = batch / (several if last.isdigit() and several else name)
    if not path.resolve().is_relative_to(batch.resolve()):
        return None
    try:
        faces = faces_of(images.read(path), "auto")
    except ImageError:
        return None
    return (
        base64.b64encode(images.encode(faces[number - 1].pixels)).decode() if number <= len(faces) else None
    )
