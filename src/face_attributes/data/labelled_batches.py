"""The labelled batches, appended to the training data: a Parquet file each, known by its `.dvc` file.

Git holds the `.dvc` file and DVC the Parquet file, so a checkout may have the one without the other.
"""

import shlex
from pathlib import Path

from face_attributes.common.errors import DataError
from face_attributes.common.files import printable

_POINTER = ".dvc"


def shard_of(folder: Path, name: str) -> Path:
    """Return where the rows of a batch are."""
    return folder / f"{name}.parquet"


def pointer_of(shard: Path) -> Path:
    """Return where DVC keeps the digest of a shard; a batch is there from the moment that this file is."""
    return shard.with_name(shard.name + _POINTER)


def pointers_in(folder: Path) -> list[Path]:
    """Return the `.dvc` file of each batch, in order of names."""
    return sorted(folder.glob(f"*.parquet{_POINTER}"))


def training_shards(raw: Path, folder: Path) -> list[Path]:
    """Return the shards to train from: those of the raw data, then those of the batches, in order of names.

    Raises:
        DataError: there is no raw data, the file of a batch is not here, or a file here is no batch.

    """
    collected = sorted(raw.glob("*.parquet"))
    if not collected:
        raise DataError(f"{raw}: holds no shards; run the stage collect first")
    batches = [path.with_suffix("") for path in pointers_in(folder)]
    # A training without them would look like one with them
    missing = [path for path in batches if not path.is_file()]
    if missing:
        raise DataError(
            f"{printable(str(missing[0]))}: the file of this labelled batch is not here"
            f"{f', nor are those of {len(missing) - 1} more' * (len(missing) > 1)}; "
            f"run dvc pull {shlex.join(printable(str(pointer_of(path))) for path in missing[:5])}"
            f"{' ...' * (len(missing) > 5)}"
        )
    strays = sorted(set(folder.glob("*.parquet")) - set(batches))
    if strays:
        raise DataError(
            f"{printable(str(strays[0]))}: is no labelled batch of this commit, which has no "
            f"{printable(pointer_of(strays[0]).name)}; run dvc checkout, or move it away"
        )
    return [*collected, *batches]
