"""Places with files about people: objects of DVC, a checkout, and the data folder of an environment."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from face_attributes.common.files import below
from face_attributes.people.wanted import DATA, Wanted

_WAITING = ("incoming", "scored", "quarantine")
_JOINING = ".joining-"
_LISTS = (".csv", ".txt")
_CHECKOUT = ("data/**/*.parquet", "data/**/*.npy", "data/people.csv", "data/raw/quarantine.csv")


@dataclass(frozen=True)
class File:
    """A file of a place.

    Attributes:
        path: The file.
        space: The space of its ids.
        name: The id of the photograph that it is; "" for other files.
        batch: The batch of the ids of a table or a list, which lack it; "" where they are whole.
        whole: Whether the file is removed as a whole, as DVC or a cache gives it again without the rows.

    """

    path: Path
    space: str = DATA
    name: str = ""
    batch: str = ""
    whole: bool = False

    def wants(self, wanted: Wanted) -> Callable[[str], bool]:
        """Return the test whether an id in the file is one of the wanted."""

        def test(name: str) -> bool:
            if not self.batch:
                return wanted.names(name, self.space)
            inner = f"{self.batch}/{name.removeprefix(f'{self.batch}/')}"
            return wanted.names(inner, self.space) or ("/" in name and wanted.names(name, self.space))

        return test


def files_of(kind: str, path: Path, name: str) -> Iterator[File]:
    """Yield the files of a place.

    Args:
        kind: `object`, `checkout` or `home`.
        path: The file or the folder.
        name: The name of the environment of a home.

    """
    if kind == "object":
        yield File(path, whole=True)
    elif kind == "checkout":
        yield from _checkout(path)
    else:
        yield from _home(path, name)


def _checkout(path: Path) -> Iterator[File]:
    for pattern in _CHECKOUT:
        yield from (File(found, whole=True) for found in sorted(path.glob(pattern)) if _regular(found))


def _home(home: Path, environment: str) -> Iterator[File]:
    for folder in _WAITING:
        for batch in _folders(home / folder):
            for path in sorted(below(batch, _refuse)):
                if not _regular(path):
                    continue
                inner = path.relative_to(batch).as_posix()
                if folder == "quarantine" and inner == "quarantine.csv":
                    yield File(path, environment, batch=batch.name)
                else:
                    yield File(path, environment, name=f"{batch.name}/{inner}")
    for pattern in ("scores/date=*/*.parquet", "shadows/*/date=*/*.parquet"):
        for path in sorted(home.glob(pattern)):
            yield File(path, environment, batch=path.stem)
    for path in sorted((home / "parts").glob("*/*.parquet")):
        yield File(path, environment, batch=path.parent.name.partition(_JOINING)[0])
    for path in sorted((home / "labels").glob("*")):
        if _regular(path) and path.suffix.lower() in _LISTS:
            yield File(path, environment, batch=path.stem)
    for batch in _folders(home / "labelled"):
        for path in sorted(below(batch, _refuse)):
            if _regular(path) and path.suffix.lower() in _LISTS:
                yield File(path, batch=batch.name)
            elif _regular(path):
                yield File(path, name=f"{batch.name}/{path.name}")
    for path in sorted((home / "references").glob("*.parquet")):
        yield File(path, whole=True)
    for space in _folders(home / "workspaces"):
        yield from _checkout(space)


def _refuse(error: OSError) -> None:
    raise error


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def _regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
