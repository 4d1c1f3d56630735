"""What the training pipeline needs before it starts: every lack is named, not just the first."""

import glob
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gitops import parse
from gitops.errors import GitError, NetworkError, ParseError
from gitops.workspace import Origin, resolve, workspace
from visage_dags import inputs

COMMANDS = ("git", "dvc", "python")
FILES = ("dvc.yaml", "params.yaml", "params.small.yaml", "src/face_attributes/__main__.py")
FREE_BYTES = 2 * 1024**3
SOURCES = ("synthetic", "celeba")


@dataclass(frozen=True)
class Lack:
    """Something that is missing; `passing` where it may well come back by itself."""

    what: str
    passing: bool = False


@dataclass(frozen=True)
class Readiness:
    """What was found: the commit to train from and its source of images, and what is missing."""

    commit: str
    source: str
    lacks: tuple[Lack, ...]

    def __str__(self) -> str:
        return "Not ready to train:\n" + "\n".join(f"- {lack.what}" for lack in self.lacks)

    @property
    def passing(self) -> bool:
        """Whether all that is missing may come back by itself."""
        return all(lack.passing for lack in self.lacks)


def survey(origin: Origin, ref: str, home: Path) -> Readiness:
    """Look at all that a run from `ref`, a branch or a commit of one, in the data folder `home` needs."""
    found = _machine(home)
    if _which("git") is None or not home.is_dir():
        return Readiness(
            "", "", (*found, Lack("the rest: cannot be looked at without git and a data folder"))
        )
    commit = source = ""
    spaces = home / "workspaces"
    try:
        commit = resolve(origin, ref, spaces, mirror=home / "origin.git")
        with workspace(origin, commit, spaces) as space:
            found += _checkout(space.path)
            source, lacks = _source(space.path)
            found += lacks
    except GitError as error:
        found.append(Lack(f"origin: {error}", passing=isinstance(error, NetworkError)))
    return Readiness(commit, source, tuple(found))


def raw_data_pattern(source: str, release_root: Path) -> str:
    """The file whose presence says that the raw images are complete, as a recursive glob pattern.

    Drawn faces bring themselves, so there is nothing to wait for: the release itself stands for them. The
    archives of CelebA that are in circulation have their lists at the top, or in folders of their own.
    """
    if source == "synthetic":
        return glob.escape(str(release_root / "params.yaml"))
    folder = Path(inputs.CELEBA_DIR.read()).expanduser()
    return f"{glob.escape(str(folder))}/**/list_attr_celeba.*"


def _machine(home: Path) -> list[Lack]:
    found = [Lack(f"{command}: not on PATH") for command in COMMANDS if _which(command) is None]
    try:
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
    except OSError as error:
        return [*found, Lack(f"{home}: {error.strerror}; VISAGE_HOME must name a folder to work in")]
    if free < FREE_BYTES:
        needed = FREE_BYTES / 1024**3
        found.append(Lack(f"{home}: {free / 1024**3:.1f} GiB free, {needed:.0f} GiB needed; make room"))
    return found


def _which(command: str) -> str | None:
    """Look where the steps of the pipeline look: beside this interpreter first."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which(command, path=os.pathsep.join(places))


def _checkout(checkout: Path) -> list[Lack]:
    found = [Lack(f"{name}: not in this commit") for name in FILES if not (checkout / name).is_file()]
    if _which("dvc") and (problem := _dvc_remote_problem(checkout)):
        found.append(problem)
    return found


def _source(checkout: Path) -> tuple[str, list[Lack]]:
    """Where the images of this commit come from; where that cannot be told, why."""
    try:
        params = parse.yaml_value((checkout / "params.yaml").read_bytes(), parse.PARAMS)
    except FileNotFoundError:
        return "", []  # a lack that is named already
    except ParseError as error:
        return "", [Lack(f"params.yaml: data.source: cannot be read, {error}; repair the file")]
    source = parse.mapping(parse.mapping(params).get("data")).get("source")
    if source is None:
        return "", [Lack("params.yaml: data.source: cannot be read; say synthetic or celeba")]
    if source not in SOURCES:
        return "", [Lack(f"params.yaml: data.source: {source}: no such source; say synthetic or celeba")]
    if source == "celeba" and not inputs.CELEBA_DIR.read():
        return source, [Lack("CELEBA_DIR: not set, and params.yaml: data.source is celeba; name its folder")]
    return source, []


def _dvc_remote_problem(checkout: Path) -> Lack | None:
    """Ask the DVC remote for a listing, in a process of its own, as DVC is heavy to import."""
    # An object store has no folders, so there only an error counts; a folder must be there.
    script = (
        "from dvc.repo import Repo\n"
        "remote = Repo().cloud.get_remote()\n"
        "if not remote.fs.exists(remote.path) and remote.fs.protocol == 'local':\n"
        "    raise SystemExit(f'{remote.path}: no such folder')\n"
    )
    command = [sys.executable, "-c", script]
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return Lack("DVC remote: no answer within 120 s", passing=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return Lack(f"DVC remote: {reason}", passing=True)
    return None
