"""Find and erase the photographs, labels and scores of a person in some places.

`gitops forget` runs it as a process, with a request as JSON, and reads the answer. Nothing here knows git or
DVC: an object of DVC that is found is removed by `gitops`.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from face_attributes.common.progress import bar
from face_attributes.data import duplicates, images
from face_attributes.data.forgotten import Forgotten
from face_attributes.data.parallel import ahead
from face_attributes.monitoring.batch_summary import Summary
from face_attributes.people import files
from face_attributes.people.places import File, files_of
from face_attributes.people.wanted import Wanted

Hits = Counter[tuple[int, str]]


@dataclass(frozen=True)
class _Place:
    index: int
    kind: str
    path: Path
    name: str

    def files(self) -> Iterator[File]:
        yield from files_of(self.kind, self.path, self.name)

    def inner(self, file: File) -> str:
        return "" if file.path == self.path else file.path.relative_to(self.path).as_posix()


def search(request: dict[str, Any], *, act: bool = False) -> dict[str, Any]:
    """Carry out a request.

    Args:
        request: `places`, each with `kind`, `path` and `name`; `given`, ids; `pictures`, paths of
            photographs; and `known`, the result of an earlier search.
        act: Whether to erase the known photographs, instead of searching.

    Returns:
        `known`, which names all that was found, and `hits`: for each file its `place`, `path` and `rows`.

    """
    wanted = Wanted.of(request)
    places = [
        _Place(index, place["kind"], Path(place["path"]), place.get("name", ""))
        for index, place in enumerate(request["places"])
    ]
    for picture in request.get("pictures", ()):
        wanted.seed(images.read(Path(picture)))
    hits: Hits = Counter()
    if not act:
        _seed(places, wanted)
        _find(places, wanted, hits)
    else:
        _erase_photographs(places, wanted, hits)
    for place, file in _each(places, "people: lists"):
        if files.kind(file.path) not in (files.TABLE, files.LIST):
            continue
        rows = files.hits(file, wanted)
        if rows:
            hits[place.index, place.inner(file)] += rows
            if act:
                _drop(file, wanted)
    if act:
        _drop_empty_batches(places, hits)
    return {
        "known": wanted.plain(),
        "hits": [
            {"place": place, "path": path, "rows": rows}
            for (place, path), rows in sorted(hits.items())
            if rows
        ],
    }


def _each(places: list[_Place], task: str) -> Iterator[tuple[_Place, File]]:
    listed = [(place, file) for place in places for file in place.files()]
    with bar(task, len(listed), "files") as progress:
        for place, file in listed:
            if file.path.is_file():  # others may work here
                yield place, file
            progress.update()


def _seed(places: list[_Place], wanted: Wanted) -> None:
    """Learn the looks of the photographs whose ids somebody gave."""
    if not wanted.given:
        return
    for _, file in _each(places, "people: ids"):
        for _, content in files.photographs(file, _asked(file, wanted)):
            wanted.seed(content)


def _asked(file: File, wanted: Wanted) -> Callable[[str], bool]:
    return lambda name: wanted.asked(name, file.space)


def _find(places: list[_Place], wanted: Wanted, hits: Hits) -> None:
    """Find photographs by their ids and by their looks."""
    forgotten = wanted.forgotten()
    arrays: list[tuple[_Place, File]] = []

    def rows() -> Iterator[tuple[_Place, File, str, bytes]]:
        for place, file in _each(places, "people: photographs"):
            if files.kind(file.path) == files.ARRAY:
                arrays.append((place, file))
            for name, content in files.photographs(file):
                yield place, file, name, content

    def judge(row: tuple[_Place, File, str, bytes]) -> tuple[_Place, File, str, bytes, bool]:
        _, file, name, content = row
        return (*row, wanted.names(name, file.space) or forgotten.has(content))

    for place, file, name, content, mine in ahead(judge, rows()):
        if mine:
            wanted.found(name, file.space, content)
            hits[place.index, place.inner(file)] += 1
    for place, file in arrays:
        hits[place.index, place.inner(file)] += _alike(file, forgotten)


def _alike(file: File, forgotten: Forgotten) -> int:
    """Return the number of images in an array that look the same."""
    if not forgotten.fingerprints or files.kind(file.path) != files.ARRAY:
        return 0
    pictures = files.pictures_of_array(file.path)
    if not len(pictures):
        return 0
    prints = np.stack(list(ahead(lambda image: duplicates.fingerprint(np.asarray(image)), pictures)))
    return int(forgotten.alike(prints).sum())


def _erase_photographs(places: list[_Place], wanted: Wanted, hits: Hits) -> None:
    """Remove pictures, and files that come back from DVC without the person."""
    forgotten = wanted.forgotten()
    for place, file in _each(places, "people: photographs"):
        what = files.kind(file.path)
        rows = 0
        if files.is_photograph(file):
            rows = sum(
                forgotten.has(content) or wanted.names(name, file.space)
                for name, content in files.photographs(file)
            )
        elif file.whole and what in (files.TABLE, files.LIST):
            rows = files.hits(file, wanted)
        elif file.whole:
            found = files.photographs(file)
            rows = sum(forgotten.has(content) or wanted.names(name, file.space) for name, content in found)
            rows += _alike(file, forgotten)
        if rows:
            file.path.unlink()
            hits[place.index, place.inner(file)] += rows


def _drop_empty_batches(places: list[_Place], hits: Hits) -> None:
    """Remove labelled batches that lost their last photograph: their lists would be empty."""
    for index, name in {(index, path.split("/")[1]) for index, path in hits if path.startswith("labelled/")}:
        batch = places[index].path / "labelled" / name
        if (
            places[index].kind == "home"
            and batch.is_dir()
            and not any(path.is_file() and files.kind(path) == files.PICTURE for path in batch.rglob("*"))
        ):
            shutil.rmtree(batch)


def _drop(file: File, wanted: Wanted) -> None:
    files.without(file, wanted)
    summary = file.path.with_suffix(".json")
    if file.path.parent.name.startswith("date=") and summary.is_file():
        if file.path.exists():
            _sum_up(file.path, summary)
        else:
            summary.unlink()


def _sum_up(scores: Path, path: Path) -> None:
    """Write the summary of a file of scores that lost rows."""
    with pq.ParquetFile(scores) as file:
        names = [name for name in file.schema_arrow.names if f"{name}_score" in file.schema_arrow.names]
        summary, about = Summary(names), file.schema_arrow.metadata or {}
        for batch in file.iter_batches():
            summary.add(batch)
    reasons = json.loads(about.get(b"quarantined", b"{}"))
    text = {key.decode(): value.decode() for key, value in about.items()}
    summary.write(path, scores, text["model_sha256"], text.get("release") or None, reasons)
