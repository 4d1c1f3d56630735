"""The labelled batches that wait to become training data, in an environment's data folder.

labelled/<batch>/   photographs and their attribute list; complete when its folder appears (rename it in)

Those named `<environment>-<day>` were gathered here, of scored images whose labels came since the one before.
A batch waits until the commit that is trained from has it, or main. It is not moved meanwhile: a run appends
it to its own candidate, and a candidate that is never merged takes its batches with it.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from gitops import parse
from gitops.errors import ParseError
from gitops.step import call
from gitops.workspace import Origin, fetch, workspace

# Images of a batch: of fewer, hardly one is held out to judge by.
MINIMUM = 100
FOLDER = "labelled"
_PLACE, _SUFFIX = "data/labelled/", ".parquet.dvc"


def waiting(home: Path) -> list[str]:
    """The names of the batches in order; a leading dot marks one that still arrives."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def pointer(batch: str) -> str:
    """The file in git that says that a batch is part of the training data."""
    return f"{_PLACE}{batch}{_SUFFIX}"


def gather(home: Path, environment: str, day: date, code: Path) -> None:
    """Make a batch of scored images whose labels came late, by the release in the folder `code`.

    Nothing is made where fewer than a hundred have labels that no batch has yet.
    """
    labels = home / "labels"
    if not labels.is_dir() or not any(labels.iterdir()):
        return
    options = ["--labels", str(labels), "--out", str(home / FOLDER)]
    command = ["python", "-m", "face_attributes", "gather", str(home / "scored"), *options]
    call([*command, "--name", f"{environment}-{day.isoformat()}"], code, timedelta(hours=1))


def added(origin: Origin, base: str, result: str, home: Path) -> list[str]:
    """The batches that commit `result` has and `base` has not, and that are large enough to judge by."""
    with workspace(origin, result, home) as space:
        fetch(space.repository, origin, base)
        files = [
            path
            for path in space.repository.changed(base, result)
            if path.startswith(_PLACE) and path.endswith(_SUFFIX)
        ]
        return [
            Path(path).name.removesuffix(_SUFFIX)
            for path in files
            if (file := space.path / path).is_file() and _images(file.read_bytes()) >= MINIMUM
        ]


def present(origin: Origin, commits: Sequence[str], batches: Sequence[str], home: Path) -> set[str]:
    """Which of `batches` at least one of `commits` has."""
    with workspace(origin, commits[0], home) as space:
        for commit in commits[1:]:
            fetch(space.repository, origin, commit)
        wanted = [(batch, f"{commit}:{pointer(batch)}") for commit in commits for batch in batches]
        ids = space.repository.object_ids([name for _, name in wanted])
        return {batch for (batch, _), found in zip(wanted, ids, strict=True) if found}


def _images(content: bytes) -> int:
    """The number of images that a pointer records; 0 where it records none."""
    try:
        meta = parse.mapping(parse.yaml_value(content, parse.PARAMS)).get("meta")
    except ParseError:
        return 0
    images = str(parse.mapping(meta).get("images"))
    return int(images) if images.isascii() and images.isdigit() and len(images) < 10 else 0
