"""Requirements of the training pipeline. All missing requirements are listed, not just the first."""

import glob
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import tasks

COMMANDS = ("git", "dvc", "python")
FILES = ("dvc.yaml", "params.yaml", "params.small.yaml", "src/face_attributes/__main__.py")
FREE_BYTES = 2 * 1024**3
SOURCES = ("synthetic", "celeba")


@dataclass(frozen=True)
class Lack:
    """Something that is missing, with the remedy; `transient` if it may come back without any help."""

    text: str
    transient: bool = False


@dataclass(frozen=True)
class Readiness:
    """The commit to train from, its source of images, and everything that is missing."""

    commit: str
    source: str
    lacks: tuple[Lack, ...]

    def __str__(self) -> str:
        return "Not ready to train:\n" + "\n".join(f"- {lack.text}" for lack in self.lacks)

    @property
    def transient(self) -> bool:
        """Whether everything that is missing may come back without anybody's help."""
        return all(lack.transient for lack in self.lacks)


def survey(ref: str, home: Path) -> Readiness:
    """Look for everything that a training needs.

    Args:
        ref: The branch to train from, or the full id of a commit of a branch.
        home: The data folder of the environment.

    """
    lacks = _machine(home)
    if _which("git") is None or not home.is_dir():
        return Readiness("", "", (*lacks, Lack("the rest: not checked, it needs git and a data folder")))
    origin = tasks.find_commit(ref=ref)
    if origin["problem"]:
        lacks.append(Lack(f"origin: {origin['problem']}", transient=origin["transient"]))
        return Readiness("", "", tuple(lacks))
    commit = origin["commit"]
    content = tasks.inspect(commit=commit, files=FILES, storage=_which("dvc") is not None)
    lacks += [Lack(f"{name}: not in this commit") for name in FILES if content["files"][name] is None]
    if content["storage_problem"]:
        lacks.append(Lack(f"DVC remote: {content['storage_problem']}", transient=True))
    source, problems = _source(content["files"])
    return Readiness(commit, source, (*lacks, *problems))


def raw_data_pattern(source: str, release_root: Path) -> str:
    """Return the file whose presence means that the raw images are complete, as a recursive glob pattern.

    Drawn faces need no files, so the pattern names a file of the release. The archives of CelebA that are in
    circulation have their lists at the top, or in folders of their own.
    """
    if source == "synthetic":
        return glob.escape(str(release_root / "params.yaml"))
    folder = Path(os.environ.get("CELEBA_DIR", "")).expanduser()
    return f"{glob.escape(str(folder))}/**/list_attr_celeba.*"


def _machine(home: Path) -> list[Lack]:
    lacks = [Lack(f"{command}: not on PATH") for command in COMMANDS if _which(command) is None]
    try:
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
    except OSError as error:
        return [*lacks, Lack(f"{home}: {error.strerror}; VISAGE_HOME must be a writable folder")]
    if free < FREE_BYTES:
        needed = FREE_BYTES / 1024**3
        lacks.append(Lack(f"{home}: {free / 1024**3:.1f} GiB free, {needed:.0f} GiB needed; free space"))
    return lacks


def _which(command: str) -> str | None:
    """Look where the steps of the pipeline look: beside this interpreter first."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which(command, path=os.pathsep.join(folders))


def _source(files: Mapping[str, str | None]) -> tuple[str, list[Lack]]:
    """Return the source of the images of a commit, or "" and the reason why it is not known."""
    text = files["params.yaml"]
    if text is None:
        return "", []  # reported already
    try:
        params = tasks.parse_yaml(text=text)
    except tasks.ParseError as error:
        return "", [Lack(f"params.yaml: data.source: cannot be read, {error}; repair the file")]
    source = _mapping(_mapping(params).get("data")).get("source")
    if source is None:
        return "", [Lack("params.yaml: data.source: missing; write synthetic or celeba")]
    if source not in SOURCES:
        return "", [Lack(f"params.yaml: data.source: {source}: no such source; write synthetic or celeba")]
    if source == "celeba" and not os.environ.get("CELEBA_DIR", ""):
        return source, [Lack("CELEBA_DIR: not set, and params.yaml: data.source is celeba; name its folder")]
    return source, []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
