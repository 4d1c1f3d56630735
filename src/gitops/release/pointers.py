"""Files of DVC in a commit: pointers (`x.dvc`), and the folder `.dvc`."""

import shlex
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from gitops.errors import ParseError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.release.licences import BATCHES
from gitops.text import parse

_KEYS = {"desc", "frozen", "md5", "meta", "outs"}
_OUT_KEYS = {"hash", "isexec", "md5", "path", "size"}
_FOLDER = ".dvc"
_COMMITTED = (f"{_FOLDER}/.gitignore", f"{_FOLDER}/config")
_PLOTS = f"{_FOLDER}/plots/"


def lies_beside(path: str, pointer: bytes | None) -> bool:
    """Return whether a pointer stands for the file of its own name, and names no place to get it from.

    DVC writes any other anywhere, or fetches it from another address.
    """
    if pointer is None:
        return False
    try:
        data = parse.mapping(parse.yaml_value(pointer, parse.POINTER))
    except ParseError:
        return False
    outs = [parse.mapping(out) for out in parse.sequence(data.get("outs"))]
    name = PurePosixPath(path).name.removesuffix(".dvc")
    return data.keys() <= _KEYS and all(
        out.keys() <= _OUT_KEYS and out.get("path") == name and not str(out.get("md5", "")).endswith(".dir")
        for out in outs
    )


def faults(repository: Repository, commit: str, changed: Collection[str]) -> Iterator[Finding]:
    """Yield the files of a commit that would make DVC take data from elsewhere.

    `.dvc/config.local` beats `.dvc/config`, and DVC compares no content of `.dvc/cache` with its digest.
    A batch of labelled images has no owner, so no person looks at its pointer.

    Args:
        repository: The repository.
        commit: The commit.
        changed: The files that it changes.

    """
    paths = [path for path in changed if path.casefold().startswith((f"{_FOLDER}/", f"{BATCHES}/"))]
    if not paths:
        return
    there = {entry.path: entry for entry in repository.entries(commit)}
    new = [there[path] for path in paths if path in there]
    batches = [entry for entry in new if entry.path.startswith(f"{BATCHES}/") and entry.path.endswith(".dvc")]
    pointers = repository.contents(batches, parse.POINTER.size)
    for entry in new:
        if entry in batches:
            if not lies_beside(entry.path, pointers.get(entry.path)):
                problem = "does not stand for the one file beside it"
                yield Finding(
                    entry.path, problem, "append the batch again: see docs/data.md", rule="dvc-files"
                )
        elif entry.path.partition("/")[0].casefold() == _FOLDER and not (
            entry.path in _COMMITTED or entry.path.startswith(_PLOTS)
        ):
            command = shlex.join(["git", "rm", "--cached", entry.path])
            problem = "belongs to the DVC of one machine"
            yield Finding(entry.path, problem, f"take it out: {command}", rule="dvc-files", command=command)
