"""What a commit's `dvc.lock` records of one output: the digest by which the DVC remote keeps it."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from gitops.errors import ModelError
from gitops.repository import Repository

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Recorded:
    """The MD5 digest and the size in bytes of one file; the size where it is recorded."""

    md5: str
    size: int | None


def recorded(repository: Repository, commit: str, path: str) -> Recorded:
    """Return what `dvc.lock` of a commit records of the file `path`.

    :raises ModelError: where it records nothing, or nothing that DVC would write.
    """
    where = f"{LOCK} in {commit[:12]}"
    try:
        data = yaml.load(repository.read(commit, LOCK) or b"", Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelError(f"{where}: not what DVC writes; run dvc repro again") from error
    stages = _mapping(_mapping(data).get("stages"))
    for stage in stages.values():
        outs = _mapping(stage).get("outs")
        for out in outs if isinstance(outs, list) else []:
            if _mapping(out).get("path") == path:
                digest, size = str(out.get("md5", "")), out.get("size")
                if not re.fullmatch(r"[0-9a-f]{32}", digest):
                    raise ModelError(f"{where}: {path} has no MD5 digest; run dvc repro again")
                return Recorded(digest, size if type(size) is int else None)
    raise ModelError(f"{where}: records no {path}; only a commit with a trained model can be released")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
