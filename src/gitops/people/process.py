"""The process that looks into files: `python -m face_attributes people`, as installed beside this command."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops.errors import GitopsError
from gitops.runtime import installed


@dataclass(frozen=True)
class Source:
    """A place to look into: a file that is an object of DVC, a checkout, or the data folder `home`.

    `label` is the name of the place for people, and of a home the environment.
    """

    kind: str
    path: Path
    label: str


@dataclass(frozen=True)
class Hit:
    """A file of a source with rows about wanted photographs."""

    source: Source
    path: str
    rows: int


@dataclass(frozen=True)
class Known:
    """All that is known about the photographs to forget. It has names: it stays on this machine."""

    content: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def digests(self) -> list[str]:
        return list(self.content.get("digests", ()))

    @property
    def fingerprints(self) -> list[str]:
        return list(self.content.get("fingerprints", ()))


def search(
    sources: Iterable[Source],
    *,
    given: Iterable[str] = (),
    pictures: Iterable[Path] = (),
    known: Known | None = None,
) -> tuple[Known, list[Hit]]:
    """Find photographs, by ids, by pictures, and by the result of an earlier search."""
    listed = list(sources)
    photographs = [str(path.resolve()) for path in pictures]
    question = {"do": "search", "given": list(given), "pictures": photographs}
    answer = _ask(question, listed, known)
    return Known(answer["known"]), _hits(answer, listed)


def erase(sources: Iterable[Source], known: Known, *, given: Iterable[str] = ()) -> list[Hit]:
    """Remove from checkouts and homes all that is known; return the files that had it."""
    listed = list(sources)
    return _hits(_ask({"do": "erase", "given": list(given)}, listed, known), listed)


def rebuild(checkout: Path, known: Known, *, given: Iterable[str] = ()) -> dict[str, Any]:
    """Take known photographs out of the raw data and the labelled batches of a checkout."""
    question: dict[str, Any] = {"do": "rebuild", "given": list(given), "checkout": str(checkout)}
    return _ask(question, [], known)


def _hits(answer: Mapping[str, Any], sources: list[Source]) -> list[Hit]:
    found: list[dict[str, Any]] = answer["hits"]
    places: list[int] = [hit["place"] for hit in found]
    return [Hit(sources[place], hit["path"], hit["rows"]) for place, hit in zip(places, found, strict=True)]


def _ask(question: Mapping[str, Any], sources: list[Source], known: Known | None) -> dict[str, Any]:
    if not installed("onnxruntime"):
        raise GitopsError(
            "the libraries of the model code are not installed beside gitops; run make setup-gates"
        )
    places = [
        {"kind": source.kind, "path": str(source.path.resolve()), "name": source.label} for source in sources
    ]
    request: dict[str, Any] = {**question, "places": places, "known": known.content if known else {}}
    with tempfile.TemporaryDirectory(prefix="gitops-people-") as folder:
        # In an empty folder: the code that looks is that of this command, not of a checkout
        done = subprocess.run(
            [sys.executable, "-P", "-m", "face_attributes", "people"],
            input=json.dumps(request),
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise GitopsError("the search in the files failed; its last line has the reason")
    return json.loads(done.stdout)
