"""A folder in the CelebA layout: its photographs, their attributes, and the part of each.

Read as its authors publish it (`list_attr_celeba.txt`: a count, a header, then -1 or 1 for each attribute)
or as it is often passed on (`list_attr_celeba.csv`: a header that starts with `image_id`). The partition
list (`list_eval_partition`, in the same two flavours) may be missing: each image then gets its part by a
hash of the person on it, or of its name if people are not known, so that it keeps it whatever else is added.
The list of people (`identity_CelebA`) may be missing too. Any subset of the listed images makes a data set.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np

from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES, PARTITIONS
from face_attributes.common.errors import DataError, FileError
from face_attributes.common.files import printable, read_regular
from face_attributes.common.sampling import choose
from face_attributes.data import groups

ATTRIBUTES = "list_attr_celeba"
PARTITION = "list_eval_partition"
IDENTITY = "identity_CelebA"
IMAGES = "img_align_celeba"
# In a folder of gathered images: where each was scored
SOURCES = "gathered.csv"
# The archives that are in circulation nest the same files differently
_LIST_FOLDERS = (".", "Anno", "Eval")
_IMAGE_FOLDERS = (IMAGES, f"{IMAGES}/{IMAGES}", f"Img/{IMAGES}")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif")
_ARCHIVES = (".zip", ".7z", ".001", ".rar", ".tar", ".gz", ".tgz")
_VALUES = {"1": True, "-1": False}
_ID_COLUMN = "image_id"
# Of all 202,599 photographs, CelebA's own list has 27 MB.
_LARGEST_LIST = 256 << 20

Line = tuple[int, list[str]]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Listing:
    """The lists of a folder in the CelebA layout, without the images.

    Attributes:
        images: folder of the image files.
        attributes: names of the A attributes.
        ids: file names of the N images that are listed and there.
        labels: bool array (N, A).
        partitions: uint8 array (N,), an index into PARTITIONS for each image.
        absent: how many images are listed, but not there.
        unlisted: file names in `images` that the list does not name.
        people: The person on each of the N images, or None without a list of people.
        lists: The lists that were read, by their names without suffix.

    """

    images: Path
    attributes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: np.ndarray
    partitions: np.ndarray
    absent: int
    unlisted: tuple[str, ...]
    people: tuple[str, ...] | None = None
    lists: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, limit: int | None) -> np.ndarray:
        """Return the indices of `limit` images, in order, so that every part stays in proportion.

        None means all.
        """
        if limit is None or limit >= len(self):
            return np.arange(len(self))
        chosen = choose(self.ids, limit)
        return np.array([index for index, name in enumerate(self.ids) if name in chosen])

    def described(self) -> str:
        """Return the sources of the attributes, of the parts and of the people, in one line."""
        attributes, parts, people = (self.lists.get(name) for name in (ATTRIBUTES, PARTITION, IDENTITY))
        hashed = f"a hash of each {'person' if people else 'name'} (no {PARTITION})"
        return (
            f"{len(self.attributes)} attributes"
            + (f" of {attributes.name}" if attributes else "")
            + f", parts by {parts.name if parts else hashed}"
            + (f", people by {people.name}" if people else f", people not known (no {IDENTITY})")
        )


def read(folder: Path, attributes: Sequence[str]) -> Listing:
    """Read the lists of a folder in the CelebA layout, keeping `attributes` in that order.

    Raises:
        DataError: a list is missing or malformed, an attribute has no column, or no listed image is there.

    """
    attribute_list = _attribute_list(folder)
    images = _images(folder)
    if images is None:
        raise DataError(f"{folder}: holds no folder {IMAGES}; it must have CelebA's layout{_packed(folder)}")
    listing = _listing(images, attribute_list, attributes, attributes)
    partition_list, identity_list = _find_list(folder, PARTITION), _find_list(folder, IDENTITY)
    if partition_list is not None:
        parts = _listed(listing.ids, read_partition(partition_list), partition_list)
        listing = replace(listing, partitions=np.array(parts, np.uint8))
    if identity_list is not None:
        people = _listed(listing.ids, read_identity(identity_list), identity_list)
        listing = replace(listing, people=tuple(people))
        if partition_list is None:
            listing = replace(listing, partitions=groups.by_person(people))
    found = {ATTRIBUTES: attribute_list, PARTITION: partition_list, IDENTITY: identity_list}
    return replace(listing, lists={name: path for name, path in found.items() if path is not None})


def unused(folder: Path, listing: Listing) -> list[str]:
    """Return the files and folders of a folder in the CelebA layout that `read` made no use of."""
    used = {*listing.lists.values(), listing.images}
    above = {parent for path in used for parent in path.parents}
    entries = [path for sub in _LIST_FOLDERS if (folder / sub).is_dir() for path in (folder / sub).iterdir()]
    unused = {path for path in entries if path not in used and path not in above}
    return sorted(printable(str(path.relative_to(folder))) for path in unused)


def read_batch(
    folder: Path, attributes: Sequence[str], name: str, attribute_list: Path | None = None
) -> Listing:
    """Read a batch: a folder in the CelebA layout, or one that holds the images themselves.

    Every attribute of CelebA's that has a column is kept, so that a training that learns more of them later
    can still read the batch. Images of one group (see `groups`) get one part.

    Args:
        folder: where the images are.
        attributes: names that must have a column.
        name: of the batch.
        attribute_list: the list to read instead of the one in `folder`.

    Raises:
        DataError: as `read`.

    """
    attribute_list = _attribute_list(folder) if attribute_list is None else attribute_list
    images = _images(folder) or folder
    if images != folder and not images.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{images}: leads out of the batch; put the photographs into it")
    listing = _listing(images, attribute_list, attributes, CELEBA_ATTRIBUTES)
    # A plain folder may hold anything else too, the list itself to begin with
    photographs = tuple(file for file in listing.unlisted if PurePath(file).suffix.lower() in _SUFFIXES)
    listing = replace(listing, unlisted=photographs)
    if identity_list := _find_list(folder, IDENTITY):
        people = _listed(listing.ids, read_identity(identity_list), identity_list)
        return replace(listing, people=tuple(people), partitions=groups.by_person(people))
    return replace(listing, partitions=groups.of_batch(name, listing.ids, read_sources(folder)))


def read_attributes(path: Path, nested: bool = False) -> tuple[list[str], list[str], np.ndarray]:
    """Read an attribute list of either flavour.

    Args:
        path: the list.
        nested: whether an image may lie in folders, and so have a path rather than a file name.

    Returns:
        Names of the columns, file names of the N images, and a bool array (N, columns).

    Raises:
        DataError: with the line that is wrong.

    """
    lines = _lines(path)
    if _is_csv(path):
        columns = _csv_header(path, lines)
        count = None
    else:
        count = _count(path, lines)
        columns = _next(path, lines, "the names of the attributes")[1]
    duplicates = _duplicates(columns)
    if duplicates:
        raise DataError(f"{path}: column {duplicates[0]} appears twice")
    ids: list[str] = []
    rows = bytearray()
    for number, (name, *fields) in lines:
        if len(fields) != len(columns):
            raise DataError(f"{path}:{number}: {len(fields)} values for {len(columns)} attributes")
        try:
            rows.extend([_VALUES[field] for field in fields])
        except KeyError as error:
            column = columns[fields.index(error.args[0])]
            raise DataError(f"{path}:{number}: {column} is {error.args[0]!r}, must be -1 or 1") from None
        ids.append(_checked_path(path, number, name) if nested else _checked_name(path, number, name))
    _check_ids(path, ids, count)
    values = np.frombuffer(bytes(rows), np.uint8).reshape(len(ids), len(columns)).astype(bool)
    return columns, ids, values


def read_partition(path: Path) -> dict[str, int]:
    """Read a partition list of either flavour: for each file name 0 (train), 1 (validation) or 2 (test).

    Raises:
        DataError: with the line that is wrong.

    """
    lines = _lines(path)
    if _is_csv(path):
        _csv_header(path, lines)
    partitions: dict[str, int] = {}
    for number, fields in lines:
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise DataError(f"{path}:{number}: must be a file name and 0 (train), 1 (validation) or 2 (test)")
        if fields[0] in partitions:
            raise DataError(f"{path}:{number}: {fields[0]} is listed twice")
        partitions[_checked_name(path, number, fields[0])] = int(fields[1])
    return partitions


def read_identity(path: Path) -> dict[str, str]:
    """Read an identity list of either flavour: for each file name who is on the image.

    Raises:
        DataError: with the line that is wrong.

    """
    lines = _lines(path)
    if _is_csv(path):
        _csv_header(path, lines)
    people: dict[str, str] = {}
    for number, fields in lines:
        if len(fields) != 2 or not fields[1]:
            raise DataError(f"{path}:{number}: must be a file name and the number or name of a person")
        if fields[0] in people:
            raise DataError(f"{path}:{number}: {fields[0]} is listed twice")
        people[_checked_name(path, number, fields[0])] = fields[1]
    return people


def read_sources(folder: Path) -> dict[str, str]:
    """Return where each image of a gathered folder was scored; nothing for a folder that was made by hand."""
    listing = folder / SOURCES
    if not listing.is_file():
        return {}
    with listing.open(newline="", encoding="utf-8") as file:
        # Earlier releases did not quote the name of an image, which may have a comma in it
        return {row[0]: ",".join(row[1:]) for row in csv.reader(file) if row and row[0] != _ID_COLUMN}


def _attribute_list(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    attribute_list = _find_list(folder, ATTRIBUTES)
    if attribute_list is None:
        raise DataError(
            f"{folder}: holds no {ATTRIBUTES}.txt or {ATTRIBUTES}.csv; it must have CelebA's layout"
            f"{_packed(folder)}"
        )
    return attribute_list


def _images(folder: Path) -> Path | None:
    """Return the folder of the images, the innermost one that has files."""
    folders = [folder / name for name in reversed(_IMAGE_FOLDERS) if (folder / name).is_dir()]
    return next((path for path in folders if _image_names(path)), folders[0] if folders else None)


def _packed(folder: Path) -> str:
    """Return a hint at archives in a folder that nobody unpacked; empty where there are none."""
    archives = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _ARCHIVES)
    return f"; unpack {', '.join(archives[:3])}, which lies there" if archives else ""


def _listing(images: Path, attribute_list: Path, attributes: Sequence[str], kept: Sequence[str]) -> Listing:
    """Return the listing of a plain folder. The hash of a name determines the part of the image.

    All of `attributes` must have a column; those of `kept` that have one are kept, in that order.
    """
    columns, ids, values = read_attributes(attribute_list)
    missing = [name for name in attributes if name not in columns]
    if missing:
        raise DataError(
            f"{attribute_list}: no column for {', '.join(missing[:5])}{' ...' * (len(missing) > 5)}; "
            "add it, or name the attributes to learn in params.yaml: data.attributes"
        )
    names = tuple(name for name in kept if name in columns)
    present_names = _image_names(images)
    present = np.array([name in present_names for name in ids])
    there = tuple(name for name in ids if name in present_names)
    if not there:
        example = f", such as {ids[0]}; it has {min(present_names)}" if present_names else "; it has no files"
        raise DataError(
            f"{images}: holds none of the {len(ids)} images that {attribute_list} lists{printable(example)}"
            f"{_packed(images.parent)}"
        )
    return Listing(
        images=images,
        attributes=names,
        ids=there,
        labels=values[present][:, [columns.index(name) for name in names]],
        partitions=np.array([groups.hash_partition(name) for name in there], np.uint8),
        absent=len(ids) - len(there),
        unlisted=tuple(sorted(present_names - set(ids))),
    )


def _find_list(folder: Path, name: str) -> Path | None:
    """Return a list by its name, in whatever case; `.txt`, as its authors publish it, comes before `.csv`."""
    for sub in _LIST_FOLDERS:
        if not (folder / sub).is_dir():
            continue
        files = {path.name.lower(): path for path in sorted((folder / sub).iterdir()) if path.is_file()}
        for suffix in (".txt", ".csv"):
            if path := files.get(f"{name}{suffix}".lower()):
                return path
    return None


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _lines(path: Path) -> Iterator[Line]:
    """Yield the number and the fields of each line that is not blank, whatever its line ends."""
    try:
        content = read_regular(path, _LARGEST_LIST)
        file = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=None)
        if _is_csv(path):
            reader = csv.reader(file)
            for row in reader:
                if any(row):
                    yield reader.line_num, [field.strip() for field in row]
        else:
            for number, line in enumerate(file, start=1):
                if fields := line.split():
                    yield number, fields
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not a text file in UTF-8") from None
    except FileError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _next(path: Path, lines: Iterator[Line], expected: str) -> Line:
    line = next(lines, None)
    if line is None:
        raise DataError(f"{path}: ends before {expected}")
    return line


def _count(path: Path, lines: Iterator[Line]) -> int:
    number, fields = _next(path, lines, "the number of images")
    if len(fields) != 1 or not fields[0].isascii() or not fields[0].isdigit():
        raise DataError(f"{path}:{number}: must be the number of images, is {' '.join(fields)[:40]!r}")
    return int(fields[0])


def _csv_header(path: Path, lines: Iterator[Line]) -> list[str]:
    number, fields = _next(path, lines, "its header")
    if fields[0] != _ID_COLUMN:
        other = next((sign for sign in (";", "\t") if sign in fields[0]), None)
        hint = f"; columns are separated by commas, not by {other!r}" if other else ""
        raise DataError(
            f"{path}:{number}: the first column must be {_ID_COLUMN}, is {fields[0][:40]!r}{hint}"
        )
    if empty := [column for column, name in enumerate(fields, start=1) if not name]:
        raise DataError(f"{path}:{number}: column {empty[0]} has no name; is there a comma at the end?")
    return fields[1:]


def _checked_name(path: Path, number: int, name: str) -> str:
    if not name or name != PurePath(name).name or "\\" in name or name == "..":
        raise DataError(f"{path}:{number}: {name!r} is not a file name")
    return name


def _checked_path(path: Path, number: int, name: str) -> str:
    for part in name.split("/"):
        _checked_name(path, number, part)
    return name


def _check_ids(path: Path, ids: list[str], count: int | None) -> None:
    if count is not None and count != len(ids):
        raise DataError(f"{path}:1: declares {count} images, but {len(ids)} follow")
    if not ids:
        raise DataError(f"{path}: lists no images")
    duplicates = _duplicates(ids)
    if duplicates:
        raise DataError(f"{path}: {duplicates[0]} is listed twice")


def _duplicates(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]


def _listed(ids: Sequence[str], values: dict[str, Value], path: Path) -> list[Value]:
    missing = [name for name in ids if name not in values]
    if missing:
        raise DataError(
            f"{path}: does not list {missing[0]}{f' and {len(missing) - 1} more' * (len(missing) > 1)}; "
            "add the missing entries, or remove the list, which is optional"
        )
    return [values[name] for name in ids]


def _image_names(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        # A link or a pipe counts as an image that cannot be used, with its reason.
        return {
            entry.name
            for entry in entries
            if not entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        }


assert PARTITIONS == ("train", "validation", "test")  # the codes 0, 1, 2 of the lists
