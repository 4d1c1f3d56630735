"""The labelled batches in an environment's data folder that wait to become training data.

labelled/<batch>/   photographs and their attribute list; complete when its folder appears (rename it in)

Batches named `<environment>-<day>` were collected here from scored images with late labels. A batch waits
until the trained commit or main has it. It is not moved meanwhile: a run appends it to its own candidate, and
a candidate that is never merged does not consume its batches.
"""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from gitops import tasks
from visage_dags.batches import shown

log = logging.getLogger(__name__)

# The smallest batch: of fewer images, hardly any is held out.
MINIMUM = 100
FOLDER = "labelled"
_FOLDER, _SUFFIX = "data/labelled/", ".parquet.dvc"
# The names that `append` takes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def waiting(home: Path) -> list[str]:
    """Return the names of the batches, sorted. A leading dot marks a batch that is still arriving.

    A file beside the folders is named in the log: nothing reads it.
    """
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for entry in folder.iterdir():
        if entry.name[0] == ".":
            continue
        if entry.is_dir():
            names.append(entry.name)
        else:
            log.warning("%s: left alone: not a folder; put photographs and their list into one", shown(entry))
    return sorted(names)


def batch_name(folder: str) -> str:
    """Return the name of the batch in a folder: the folder's own where it can be the name of a batch.

    Of any other folder it is similar, always the same, and different for each folder.
    """
    if _NAME.fullmatch(folder):
        return folder
    similar = re.sub(r"[^A-Za-z0-9._-]+", "-", shown(Path(folder))).strip("-._")[:80] or "batch"
    return f"{similar}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"


def pointer(batch: str) -> str:
    """Return the path of the file in git that makes a batch part of the training data."""
    return f"{_FOLDER}{batch}{_SUFFIX}"


def gather(home: Path, environment: str, day: date, code: Path) -> None:
    """Collect scored images with late labels into a batch, with the release in the folder `code`.

    Nothing is written for fewer than a hundred new labels.
    """
    labels = home / "labels"
    if not labels.is_dir() or not any(labels.iterdir()):
        return
    options = ["--labels", str(labels), "--out", str(home / FOLDER)]
    command = ["python", "-m", "face_attributes", "gather", str(home / "scored"), *options]
    name = f"{environment}-{day.isoformat()}"
    tasks.call(command=[*command, "--name", name], folder=str(code), minutes=60)


def new(home: Path, environment: str, day: date, code: Path, release: str) -> list[str]:
    """Collect the images whose labels arrived, and return the batches that a training would learn from first.

    These are the waiting batches that neither the release nor main has.
    """
    gather(home, environment, day, code)
    names = sorted(map(batch_name, waiting(home)))
    if not names:
        return []
    known = present([release, tasks.branch_commit(branch="main")], names)
    return [name for name in names if name not in known]


def added(base: str, result: str) -> list[str]:
    """Return the batches that are in `result` but not in `base`, and large enough for a comparison."""
    changed = tasks.changed_files(base=base, commit=result)
    pointers = [path for path in changed if path.startswith(_FOLDER) and path.endswith(_SUFFIX)]
    files = tasks.inspect(commit=result, files=pointers)["files"] if pointers else {}
    return [
        Path(path).name.removesuffix(_SUFFIX)
        for path, text in files.items()
        if text is not None and _images(text) >= MINIMUM
    ]


def present(commits: Sequence[str], batches: Sequence[str]) -> set[str]:
    """Return the members of `batches` that at least one of `commits` has."""
    pointers = [pointer(batch) for batch in batches]
    files = [tasks.inspect(commit=commit, files=pointers)["files"] for commit in dict.fromkeys(commits)]
    return {batch for batch in batches if any(found[pointer(batch)] is not None for found in files)}


def _images(text: str) -> int:
    """Return the number of images that a pointer records, or 0."""
    try:
        content = tasks.parse_yaml(text=text)
    except tasks.ParseError:
        return 0
    meta = content.get("meta") if isinstance(content, dict) else None
    images = str(meta.get("images")) if isinstance(meta, dict) else ""
    return int(images) if images.isascii() and images.isdigit() and len(images) < 10 else 0
