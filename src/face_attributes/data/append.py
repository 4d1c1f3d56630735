"""Append: photographs whose attributes came to be known later, as a batch that the next training reads."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from face_attributes.common.errors import DataError
from face_attributes.common.files import digest_of
from face_attributes.common.paths import FORGOTTEN, LABELLED
from face_attributes.data import celeba, source
from face_attributes.data.collect import write_images
from face_attributes.data.forgotten import Forgotten
from face_attributes.data.labelled_batches import pointer_of, pointers_in, shard_of
from face_attributes.data.quarantine import Quarantine
from face_attributes.data.shards import ShardReader, ShardWriter
from face_attributes.params import DataParams

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
# Beside the batches, not among them: prepare depends on all that is there
_WORKPLACE = ".labelled.partial"
_TIMEOUT = 3600  # seconds; DVC copies the file into its cache
# With core.autostage of the user, DVC would stage a pointer in a folder that is gone in the end
_PROGRAM = """
import sys
from dvc.cli import main
from dvc.config import Config

load = Config.load

def load_without_autostage(self, *arguments, **options):
    load(self, *arguments, **options)
    self["core"]["autostage"] = False

Config.load = load_without_autostage
sys.exit(main(sys.argv[1:]))
"""
# Our key in `.dvc` files, beside the keys of DVC
_META, _DIGEST, _QUARANTINE = "meta", "digest", "quarantine"
_ERROR = "ERROR: "


@dataclass(frozen=True)
class AppendResult:
    """The result of an append.

    Attributes:
        pointer: the `.dvc` file that git is to hold.
        new: False where the batch was there before, with equal content.
        parts: number of images in each part.
        bad: for each image that cannot be used the reason.
        absent: how many images are listed, but not there.
        unlabelled: how many images are there, but not listed.

    """

    pointer: Path
    new: bool
    parts: dict[str, int]
    bad: dict[str, str]
    absent: int
    unlabelled: int


def append(
    params: DataParams,
    folder: Path,
    name: str | None = None,
    attribute_list: Path | None = None,
    batches: Path = LABELLED,
) -> AppendResult:
    """Make a labelled batch of a folder of photographs, and track it with DVC.

    Whatever stops it leaves the batch as a whole or not at all. One that is there is never changed. Images
    without labels are left out.

    Args:
        params: The attributes that the batch must have, and the allowed share of bad images.
        folder: photographs in the CelebA layout, or directly in it.
        name: of the batch; by default the folder's own, with `-` in place of spaces and other characters.
        attribute_list: their attributes, in one of CelebA's two flavours; found in `folder` if there is none.
        batches: where the batches are.

    Raises:
        DataError: the name or the folder cannot be used, too many images are bad, a batch of that name has
            other content, one of another name has the same, or DVC refuses.
        ParamsError: an attribute is asked for that the source does not have.

    """
    name = batch_name(folder, name)
    shard = shard_of(batches, name)
    pointer = pointer_of(shard)
    listing = celeba.read_batch(folder, source.wanted(params), name, attribute_list)
    quarantine = Quarantine(len(listing), params.max_bad_fraction)
    with _workplace(batches) as place:
        if shard.exists() and not pointer.exists():
            raise DataError(f"{shard}: is there without {pointer.name}, so no batch; move it away")
        made = shard_of(place, name)
        prefix = f"{name}/"
        with ShardWriter(made, listing.attributes, one_file=True) as writer:
            options = params.align, Forgotten.read(batches.with_name(FORGOTTEN.name)), "append", prefix
            write_images(listing, np.arange(len(listing)), writer, quarantine, *options)
        reader = ShardReader([made])
        parts = reader.partition_sizes()
        digest = rows_digest(reader, prefix)
        new = _is_new(digest, pointer)
        if new:
            track(made, reader, quarantine.reasons)
            # From here on the batch is there, whatever happens: DVC's cache has its file
            pointer_of(made).replace(pointer)
            # Not moved here: DVC removes files with another commit only if it created them itself
            _dvc("checkout", pointer)
    return AppendResult(pointer, new, parts, quarantine.reasons, listing.absent, len(listing.unlisted))


def batch_name(folder: Path, name: str | None = None) -> str:
    """Return the name of the batch of a folder.

    Args:
        folder: The folder of the photographs.
        name: The name that somebody chose; by default that of the folder, with `-` for other characters.

    Raises:
        DataError: a batch cannot have it.

    """
    if name is None:
        own = folder.resolve().name
        name = own if _NAME.fullmatch(own) else _OTHER.sub("-", own).strip("-._")[:100] or own
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} cannot be the name of a batch: at most 100 letters, digits, '-', '_' and '.', "
            "a letter or a digit first; give it another one with --name"
        )
    return name


@contextmanager
def _workplace(batches: Path) -> Iterator[Path]:
    """Yield an empty folder that is gone in the end; nobody else has one for these batches meanwhile."""
    try:
        lock = os.open(batches, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise DataError(f"{batches}: no such folder; run this in the root of the repository") from None
    place = batches.with_name(_WORKPLACE)
    try:
        _lock(lock, batches)
        # Leftovers of a killed append
        if place.exists():
            shutil.rmtree(place)
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place)
    finally:
        os.close(lock)


def _lock(descriptor: int, batches: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"{batches}: another append is at work here; try again when it has ended") from None


def rows_digest(reader: ShardReader, prefix: str) -> str:
    """Return the SHA-256 of the rows as 64 hex digits, whatever the batch is called.

    Unlike that of the file it does not change with the library that writes Parquet.
    """
    digest = hashlib.sha256(digest_of(reader.attributes).encode())
    for rows in reader.batches():
        for name, jpeg, labels in zip(rows.ids, rows.jpegs, rows.labels, strict=True):
            row = [name.removeprefix(prefix), hashlib.sha256(jpeg).hexdigest(), labels.tolist()]
            digest.update(digest_of(row).encode())
    return digest.hexdigest()


def _is_new(digest: str, pointer: Path) -> bool:
    """Return whether a batch of this content must be added. False if it exists already.

    Raises:
        DataError: its name or its content is that of another batch.

    """
    if pointer.exists():
        if _recorded_digest(pointer) == digest:
            return False
        raise DataError(
            f"{pointer}: this batch is there with other content, and batches are appended, never rewritten; "
            "choose another --name"
        )
    for listed in pointers_in(pointer.parent):
        if _recorded_digest(listed) == digest:
            # Under two names a photograph could come to both the training and the test part
            raise DataError(f"{listed}: this batch has the same photographs with the same labels already")
    return True


def _recorded_digest(pointer: Path) -> str | None:
    return _meta(pointer).get(_DIGEST)


def _meta(pointer: Path) -> dict[str, Any]:
    try:
        return dict(YAML(typ="safe").load(pointer).get(_META, {}))
    except (YAMLError, AttributeError, TypeError, ValueError):
        raise DataError(f"{pointer}: not a .dvc file that can be read; restore it with git") from None


def recorded_quarantine(pointer: Path) -> dict[str, str]:
    """Return the reason for each image that a batch left out, as its `.dvc` file records them."""
    return dict(_meta(pointer).get(_QUARANTINE) or {})


def track(shard: Path, reader: ShardReader, reasons: dict[str, str]) -> None:
    """Add a shard to DVC, and describe the batch in its `.dvc` file.

    Args:
        shard: The file.
        reader: The reader of it.
        reasons: The reason for each image that was left out.

    """
    digest = rows_digest(reader, f"{shard.stem}/")
    rows = reader.partition_sizes()
    meta = {"images": sum(rows.values()), "rows": rows, "yes": _yes(reader)}
    meta |= {_DIGEST: digest, _QUARANTINE: reasons}
    _dvc("add", shard)
    yaml = YAML()
    pointer = pointer_of(shard)
    document = yaml.load(pointer)
    document[_META] = meta
    yaml.dump(document, pointer)


def _yes(reader: ShardReader) -> dict[str, int]:
    """Return the number of images with each attribute."""
    counts = sum(
        (rows.labels.sum(axis=0) for rows in reader.batches()), np.zeros(len(reader.attributes), int)
    )
    return dict(zip(reader.attributes, counts.tolist(), strict=True))


def _dvc(command: str, path: Path) -> None:
    call = [sys.executable, "-P", "-c", _PROGRAM, command, str(path)]
    try:
        # The user's git may ignore the files that DVC makes.
        env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"dvc {command} {path}: took longer than {_TIMEOUT} s; try again") from None
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        # DVC prints the reason first, then advice
        reason = next((line for line in lines if line.startswith(_ERROR)), (lines or ["no reason given"])[-1])
        raise DataError(f"dvc {command} {path}: {reason.removeprefix(_ERROR)}")
