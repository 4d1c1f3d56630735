"""The labelled batches that wait to become training data, in an environment's data folder.

labelled/<batch>/   photographs and their attribute list; complete when its folder appears (rename it in)

Those named `<environment>-<day>` were gathered here, of scored images whose labels came since the one before.
A batch waits until the commit that is trained from has it, or main. It is not moved meanwhile: a run appends
it to its own candidate, and a candidate that is never merged takes its batches with it.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from gitops import tasks

# Images of a batch: of fewer, hardly one is held out to judge by.
MINIMUM = 100
FOLDER = "labelled"
_FOLDER, _SUFFIX = "data/labelled/", ".parquet.dvc"


def waiting(home: Path) -> list[str]:
    """The names of the batches in order; a leading dot marks one that still arrives."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def pointer(batch: str) -> str:
    """The file in git that says that a batch is part of the training data."""
    return f"{_FOLDER}{batch}{_SUFFIX}"


def gather(home: Path, environment: str, day: date, code: Path) -> None:
    """Make a batch of scored images whose labels came late, by the release in the folder `code`.

    Nothing is made where fewer than a hundred have labels that no batch has yet.
    """
    labels = home / "labels"
    if not labels.is_dir() or not any(labels.iterdir()):
        return
    options = ["--labels", str(labels), "--out", str(home / FOLDER)]
    command = ["python", "-m", "face_attributes", "gather", str(home / "scored"), *options]
    name = f"{environment}-{day.isoformat()}"
    tasks.call(command=[*command, "--name", name], folder=str(code), minutes=60)


def added(base: str, result: str) -> list[str]:
    """Return the batches that `result` has and `base` has not, and that are large enough to judge by."""
    changed = tasks.changed_files(base=base, commit=result)
    pointers = [path for path in changed if path.startswith(_FOLDER) and path.endswith(_SUFFIX)]
    files = tasks.inspect(commit=result, files=pointers)["files"] if pointers else {}
    return [
        Path(path).name.removesuffix(_SUFFIX)
        for path, text in files.items()
        if text is not None and _images(text) >= MINIMUM
    ]


def present(commits: Sequence[str], batches: Sequence[str]) -> set[str]:
    """Return those of `batches` that at least one of `commits` has."""
    pointers = [pointer(batch) for batch in batches]
    files = [tasks.inspect(commit=commit, files=pointers)["files"] for commit in dict.fromkeys(commits)]
    return {batch for batch in batches if any(found[pointer(batch)] is not None for found in files)}


def _images(text: str) -> int:
    """Return the number of images that a pointer records; 0 where it records none."""
    try:
        content = tasks.parse_yaml(text=text)
    except tasks.ParseError:
        return 0
    meta = content.get("meta") if isinstance(content, dict) else None
    images = str(meta.get("images")) if isinstance(meta, dict) else ""
    return int(images) if images.isascii() and images.isdigit() and len(images) < 10 else 0
