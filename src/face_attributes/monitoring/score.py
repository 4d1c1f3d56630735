"""Score every image of a folder with a model, and write a Parquet file.

Columns: `id` (path within the folder; of several faces in a photograph `<path>#1`, `<path>#2` ...); for each
attribute its name (bool, the decision); for each attribute `<name>_score` (float32, the probability); figures
of the image (see image_statistics); `digest` of the aligned pixels; `face` (number in the photograph, from
left to right), `box` and `score` of the detector, both empty where the image came aligned; `model_sha256` and
`release`.

Each thread takes a batch of files from the disk to its answers: with one thread a batch, nothing waits for
another and the pixels are still in its core's cache when the model reads them.
Equal images and an equal model give equal bytes: the file holds no time.
"""

import itertools
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH, Align
from face_attributes.common.errors import DataError, FileError, ImageError
from face_attributes.common.files import check_output, free_name, is_text, move, printable, replacing
from face_attributes.common.progress import bar
from face_attributes.data import images, quarantine
from face_attributes.data.alignment import AlignedFace, faces_of
from face_attributes.data.detector import Face, likeness
from face_attributes.data.parallel import BATCH, ahead
from face_attributes.evaluation import columns as monitoring_columns
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring.batch_summary import LIKE, Summary, is_summary
from face_attributes.monitoring.part import Part

log = logging.getLogger(__name__)

_LIST = "quarantine.csv"
_ROW_GROUP = 50  # batches
_BATCHES_AHEAD = 8
PARQUET: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["model_sha256", "release"]}
_MOST_LEVELS = 30
_LONGEST_PATH = 2000
"""Bytes of a folder whose files are read. The system opens no path of 4,096."""
_CLOSED = f"a folder that cannot be read, or has {_MOST_LEVELS} folders above it; move it up"
_NUMBERED = re.compile(r".+#\d+")  # the id of one of several faces
_FACE = (
    pa.field("face", pa.int16()),
    pa.field("box", pa.list_(pa.float32())),  # left, top, right, bottom, in pixels of the upright photograph
    pa.field("score", pa.float32()),
)

# The id of a face, its number in its photograph, and its pixels
NumberedFace = tuple[str, int, AlignedFace]


def score(
    folder: Path,
    model: Path,
    out: Path,
    release: str | None = None,
    quarantine_folder: Path | None = None,
    summary: Path | None = None,
    align: Align = "auto",
    part: Part | None = None,
) -> tuple[int, dict[str, str]]:
    """Score all faces in a folder of photographs.

    Args:
        folder: its images; files in folders within it count too, hidden ones do not. A folder that cannot be
            entered counts as a file that cannot be used.
        model: ONNX file.
        out: Parquet file to write.
        release: the commit that the model belongs to, if it is to be noted.
        quarantine_folder: where to move images that cannot be used, and to list the reasons in
            `quarantine.csv`; without it they stay where they are.
        summary: JSON file for the figures of the whole batch, if any (see summary); it is written also where
            not one image can be used.
        align: When to look for faces in an image.
        part: Score this part of the photographs. `join` moves unusable ones and writes the summary.

    Returns:
        The number of faces scored, and the reason for each file that could not be, by its printable name.

    Raises:
        FileError: `out` or `summary` is an input, a device or a link, or holds something else.
        DataError: the folder is missing or empty; images of it go away meanwhile; or not one of them can be
            used, and these are then in the quarantine too, where there is one.
        ModelError: the file is not a model.

    """
    if not folder.is_dir():
        problem = "a file, not a folder of images" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {problem}")
    listed = None if quarantine_folder is None else (quarantine_folder / _LIST).resolve()
    for place in (model, out, quarantine_folder, summary):
        if place is not None and place.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{place}: must lie outside {folder}, or it would be scored as a photograph")
        if place is not None and place.resolve() == listed:
            raise FileError(f"{place}: is the list of the quarantine; name another file")
    check_output(out, {"the model": model}, is_scores)
    if summary is not None:
        check_output(summary, {"the model": model, "the file of scores": out}, is_summary)
        if summary.resolve() == out.resolve():
            raise FileError(f"{summary}: is the file of scores too; name another file for the summary")
    if (
        quarantine_folder is not None
        and os.path.lexists(quarantine_folder)
        and not quarantine_folder.is_dir()
    ):
        raise DataError(f"{quarantine_folder}: is there and no folder; name another --quarantine")
    hidden: list[str] = []
    total = sum(1 for _ in _names(folder, hidden))
    if hidden:
        log.info(
            "score: %d hidden files or folders are left out, such as %s", len(hidden), printable(hidden[0])
        )
    if not total:
        raise DataError(f"{folder}: holds no images")
    loaded = Model(model, threads=1)
    bad: dict[str, str] = {}
    figures = Summary(loaded.attributes)
    start, stop = part.bounds(total) if part else (0, total)
    scorer = Scorer(folder, loaded, release, align)
    with replacing(out) as partial:
        names = itertools.islice(_names(folder), start, stop)
        usable = _write(names, scorer, partial, stop - start, bad, figures, (part, total) if part else None)
        if usable + len(bad) < stop - start:
            raise _gone(folder)
        if part is not None:
            check_photographs(folder, total)
            return figures.rows, printable_reasons(bad)
        if not all(os.path.lexists(folder / name) for name in bad):
            raise _gone(folder)
        if summary is not None:
            figures.write(summary, out, loaded.sha256, release, bad)
        if figures.unlike:
            log.warning(
                "score: %d of %d faces are unlike an aligned face (score below %g); look at them, or use "
                "--align always",
                figures.unlike,
                figures.rows,
                LIKE,
            )
        if not figures.rows:
            raise none_usable(folder, total, bad, quarantine_folder)
    if quarantine_folder is not None:
        move_unusable(folder, bad, quarantine_folder)
    return figures.rows, printable_reasons(bad)


def check_photographs(folder: Path, total: int, moved: int = 0) -> None:
    """Check that a folder still has its photographs.

    Raises:
        DataError: It has more or fewer than `total` without those that were moved.

    """
    if sum(1 for _ in _names(folder)) + moved != total:
        raise _gone(folder)


def _gone(folder: Path) -> DataError:
    return DataError(f"{folder}: images of it went away meanwhile; does another process score it too?")


def none_usable(
    folder: Path, total: int, bad: Mapping[str, str], quarantine_folder: Path | None
) -> DataError:
    """Move the files of a batch without a usable file to the quarantine, and return the error."""
    if quarantine_folder is not None:
        move_unusable(folder, bad, quarantine_folder)
    name, reason = next(iter(printable_reasons(bad).items()))
    return DataError(f"{folder}: not one of its {total} files can be used; {name}: {reason}")


def printable_reasons(reasons: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons under names that are text, as many as there were."""
    shown: dict[str, str] = {}
    for name, reason in reasons.items():
        text = name if is_text(name) else printable(name)
        shown[next(key for key in _numbered(text) if key not in shown)] = reason
    return shown


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}~{number}" for number in itertools.count(2))


def _is_own(name: str) -> bool:
    return name.startswith(".visage-")


def is_scores(path: Path) -> bool:
    """Return whether a file is one of scores."""
    try:
        return b"model_sha256" in (pq.read_metadata(path).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _names(folder: Path, hidden: list[str] | None = None) -> Iterator[str]:
    """Yield the paths of all files within the folder, in order. Hidden ones are added to `hidden` instead.

    A folder that cannot be read or lies too deep, and a link to one, are among them, as files that cannot
    be used.
    """
    closed: list[str] = []
    for place, folders, files in os.walk(folder, onerror=lambda error: closed.append(error.filename)):
        left_out = [name for name in (*folders, *files) if name.startswith(".") and not _is_own(name)]
        if hidden is not None:
            hidden.extend(left_out)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # A link to a folder is not followed, and is named like any other file that cannot be used.
        closed_here = [name for name in folders if Path(place, name).is_symlink()]
        levels = place.removeprefix(str(folder)).count(os.sep)
        if levels >= _MOST_LEVELS or len(os.fsencode(place)) > _LONGEST_PATH:
            closed_here = folders.copy()
            folders.clear()
        for name in sorted([*files, *closed_here]):
            if not name.startswith("."):
                yield Path(place, name).relative_to(folder).as_posix()
        yield from (Path(name).relative_to(folder).as_posix() for name in closed if Path(name) != folder)
        closed.clear()
    yield from (Path(name).relative_to(folder).as_posix() for name in closed if Path(name) != folder)


class Scorer:
    """Scores batches of files, in several threads at once.

    Attributes:
        model: The model.
        release: The commit that the model belongs to, if it is to be noted.
        schema: The columns of a file of scores.

    """

    def __init__(self, folder: Path, model: Model, release: str | None, align: Align) -> None:
        self._folder = folder
        self.model = model
        self.release = release
        self._align: Align = align
        self._own = threading.local()
        self.schema = pa.schema(
            [
                ("id", pa.string()),
                *monitoring_columns.fields(model),
                (monitoring_columns.DIGEST, pa.binary(monitoring_columns.DIGEST_BYTES)),
                *_FACE,
                ("model_sha256", pa.string()),
                ("release", pa.string()),
            ]
        )

    def __call__(self, names: Sequence[str]) -> tuple[list[pa.RecordBatch], dict[str, str]]:
        """Return the rows of the files that can be used, and the reason for each that cannot."""
        batches: list[pa.RecordBatch] = []
        waiting: list[NumberedFace] = []
        bad: dict[str, str] = {}
        for name in names:
            try:
                if not is_text(name):
                    raise ImageError("its name is not UTF-8; rename it")
                faces = self._faces(name)
            except ImageError as error:
                path = self._folder / name
                closed = path.is_dir() and not path.is_symlink()
                bad[name] = _CLOSED if closed else str(error)
                continue
            for face in self.numbered(name, faces):
                waiting.append(face)
                if len(waiting) == BATCH:
                    batches.append(self.rows(waiting))
                    waiting.clear()
        if waiting:
            batches.append(self.rows(waiting))
        return batches, bad

    def _faces(self, name: str) -> list[AlignedFace]:
        if _NUMBERED.fullmatch(name):
            raise ImageError("a name that ends so is that of one of several faces; rename it")
        return faces_of(images.read(self._folder / name), self._align)

    @staticmethod
    def numbered(name: str, faces: Sequence[AlignedFace]) -> list[NumberedFace]:
        """Return the id and the number of each face of a photograph."""
        several = len(faces) > 1
        return [
            (f"{name}#{number}" if several else name, number, face)
            for number, face in enumerate(faces, start=1)
        ]

    def rows(self, faces: Sequence[NumberedFace]) -> pa.RecordBatch:
        """Return the rows of some faces, at most BATCH."""
        pixels = self._buffer()[: len(faces)]
        for place, (_, _, face) in zip(pixels, faces, strict=True):
            place[:] = face.pixels
        found = [face.found for _, _, face in faces]
        columns = [
            pa.array([name for name, _, _ in faces], pa.string()),
            *monitoring_columns.of(self.model, pixels),
            pa.array(monitoring_columns.digests(pixels), pa.binary(monitoring_columns.DIGEST_BYTES)),
            pa.array([number for _, number, _ in faces], _FACE[0].type),
            pa.array([face and list(face.box) for face in found], _FACE[1].type),
            pa.array(self._likeness(pixels, found), _FACE[2].type),
            pa.array([self.model.sha256] * len(faces), pa.string()),
            pa.array([self.release] * len(faces), pa.string()),
        ]
        return pa.record_batch(columns, schema=self.schema)

    @staticmethod
    def _likeness(pixels: np.ndarray, found: Sequence[Face | None]) -> list[float]:
        """Return the certainty of the detector; of an image that came aligned, at the place of the face."""
        scores = [0.0 if face is None else face.score for face in found]
        came = [index for index, face in enumerate(found) if face is None]
        if came:
            for index, chance in zip(came, likeness(pixels[came]), strict=True):
                scores[index] = round(float(chance), 4)
        return scores

    def _buffer(self) -> np.ndarray:
        """Return this thread's place for the pixels of a batch; fresh memory for each would cost time."""
        if not hasattr(self._own, "pixels"):
            self._own.pixels = np.empty((BATCH, HEIGHT, WIDTH, 3), np.uint8)
        return self._own.pixels


def _write(
    names: Iterator[str],
    scorer: Scorer,
    path: Path,
    total: int,
    bad: dict[str, str],
    figures: Summary,
    part: tuple[Part, int] | None,
) -> int:
    """Write the rows of every file that can be used, and return how many files these are.

    The rows are added to `figures`, and the reasons of the other files to `bad`. `part` is the part that the
    names are, and the number of photographs of all parts.
    """
    usable = 0
    pending: list[pa.RecordBatch] = []
    with (
        pq.ParquetWriter(path, scorer.schema, **PARQUET) as writer,
        bar("score", total, "images") as progress,
    ):

        def flush() -> None:
            if pending:
                writer.write_table(pa.Table.from_batches(pending).combine_chunks())
                pending.clear()

        def scored(names: Sequence[str]) -> tuple[int, list[pa.RecordBatch], dict[str, str]]:
            return len(names), *scorer(names)

        for count, batches, unusable in ahead(scored, _batches(names), at_most=_BATCHES_AHEAD):
            bad.update(unusable)
            usable += count - len(unusable)
            progress.update(count)
            for rows in batches:
                pending.append(rows)
                figures.add(rows)
                if len(pending) >= _ROW_GROUP:
                    flush()
        flush()
        writer.add_key_value_metadata(
            metadata(scorer, bad) | (part[0].metadata(part[1], bad) if part else {})
        )
    return usable


def metadata(scorer: Scorer, bad: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of a file of scores, with the reason for each file that could not be used."""
    model = scorer.model
    return {
        "model_sha256": model.sha256,
        "release": scorer.release or "",
        "thresholds": json.dumps(dict(zip(model.attributes, model.thresholds.tolist(), strict=True))),
        "quarantined": json.dumps(printable_reasons(bad), ensure_ascii=False),
    }


def _batches(names: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(itertools.islice(names, BATCH)):
        yield batch


def move_unusable(folder: Path, bad: Mapping[str, str], place: Path) -> None:
    """Move bad files to the quarantine, and add them to its list. Nothing that is there is overwritten.

    A file that has the name of another one there, or of the list, gets a number; so does a folder.
    """
    if not bad:
        return
    table = place / _LIST
    reasons: dict[str, str] = {}
    for name, reason in bad.items():
        top, slash, rest = name.partition("/")
        own = f"{top}~2/{rest}" if slash and top == _LIST else name
        target = free_name(place / own, taken=table)
        try:
            move(folder / name, target)
            listed = target.relative_to(place).as_posix()
        except OSError as error:
            listed, reason = name, f"{reason} (stays in the batch: {error.strerror})"
        reasons[listed] = reason
    if os.path.lexists(table) and not quarantine.is_list(table):
        move(table, free_name(table))
    quarantine.write(table, quarantine.read(table) | printable_reasons(reasons))
