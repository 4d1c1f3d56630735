"""The archive: the metrics and plots of training runs, by run id.

A run leaves an annotated tag, `archive/<run>`, on the commit of its results, and in the environment's data
folder a copy of the files for people, so that nobody has to check that commit out to read them.
"""

import logging
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from gitops.dvc import lockfile
from gitops.dvc.run import call
from gitops.errors import CandidateError, ParseError
from gitops.git.workspace import Origin, Workspace, workspace
from gitops.paths import LOCK, PARAMETERS
from gitops.release.snapshot import Snapshot
from gitops.training.candidate import slug

log = logging.getLogger(__name__)

FOLDERS = ("metrics", "plots", "search")
FILES = (PARAMETERS, LOCK)
COMMIT = "commit"
# A copy takes about a megabyte. The tags stay, so older runs can still be found.
KEPT = 200
_PARTIAL = ".partial-"


def tag_of(run_id: str) -> str:
    """The tag on the results of a run."""
    return f"archive/{slug(run_id)}"


def archive(origin: Origin, commit: str, *, run_id: str, runs: Path, home: Path, kept: int = KEPT) -> Path:
    """Archive the results of the run `run_id` in `commit`: a tag on it, and a copy in `runs/<run_id>/`.

    Archiving a run again replaces its archive. Of the copies, the newest `kept` stay. Returns the
    folder of the copy.

    Raises:
        CandidateError: for a run id that cannot name a folder.
        StepError: if the DVC remote does not give a plot that is kept there.
        GitError: if `origin` cannot be reached.

    """
    if "/" in run_id or not slug(run_id).strip("."):
        raise CandidateError(f"{run_id!r}: cannot name a folder; give the run another id")
    target = runs / run_id
    with workspace(origin, commit, home) as space:
        under_dvc = _under_dvc(space)
        if under_dvc:
            call(["dvc", "pull", *under_dvc], space.path, timedelta(minutes=10))
        # DVC links its files from its cache. A link of the commit may lead to any file of this machine.
        linked = {space.path / path for path in under_dvc}

        def left_out(place: str, names: list[str]) -> list[str]:
            paths = [Path(place, name) for name in names]
            return [
                path.name
                for path in paths
                if path.name == ".gitignore" or (path.is_symlink() and path not in linked)
            ]

        with _replacing(target) as folder:
            for name in FOLDERS:
                if (space.path / name).is_dir() and not (space.path / name).is_symlink():
                    # Without the modes: files of the DVC cache are readable by everybody
                    shutil.copytree(
                        space.path / name,
                        folder / name,
                        ignore=left_out,
                        copy_function=shutil.copyfile,
                    )
            for name in FILES:
                if (space.path / name).is_file() and not (space.path / name).is_symlink():
                    shutil.copyfile(space.path / name, folder / name)
            (folder / COMMIT).write_text(f"{commit}\n")
        _tag(space, run_id)
    for old in _oldest(runs, kept):
        shutil.rmtree(old)
        log.info("Removed %s: the %d newest runs are kept.", old, kept)
    return target


def _under_dvc(space: Workspace) -> list[str]:
    """The files to archive that git does not have."""
    lock, pipeline = (
        file.read_bytes() if (file := space.path / name).is_file() else b""
        for name in (LOCK, lockfile.PIPELINE)
    )
    try:
        outs = [path for path, _ in lockfile.outs(lock, pipeline)]
    except ParseError as error:
        raise CandidateError(f"{error.at(LOCK)}; run: source .venv/bin/activate && dvc repro") from error
    return [path for path in outs if path.startswith(FOLDERS) and not (space.path / path).exists()]


@contextmanager
def _replacing(target: Path) -> Generator[Path]:
    """Yield a folder that takes the place of `target` once it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=target.parent) as place:
        fresh = Path(place) / "fresh"
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(Path(place) / "before")
        fresh.rename(target)


def _tag(space: Workspace, run_id: str) -> None:
    repository, name = space.repository, tag_of(run_id)
    accuracy = Snapshot.load(repository, space.commit).metrics.means.get("mean_accuracy")
    summary = f"mean accuracy {accuracy.value:.4f}" if accuracy else "no evaluation that can be read"
    # The commit's own time makes the tag, and so its id, the same at every retry.
    who = f"Visage <visage@localhost> {int(repository.commit_info(space.commit).at.timestamp())}"
    text = f"object {space.commit}\ntype commit\ntag {name}\ntagger {who} +0000\n\nRun {run_id}: {summary}\n"
    target, reference = repository.git("mktag", input=text), f"refs/tags/{name}"
    with space.origin.session():
        before = repository.remote_refs("origin", reference).get(reference)
        if before != target:
            repository.push("origin", {reference: target}, leases={reference: before})
    log.info("Tagged %s as %s.", space.commit, name)


def _oldest(runs: Path, kept: int) -> list[Path]:
    folders = [path for path in runs.iterdir() if path.is_dir() and not path.name.startswith(_PARTIAL)]
    return sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[kept:]
