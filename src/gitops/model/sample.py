"""The sample: three drawn faces that a release scores, with its own code and model, before it may run.

Only an exit status is asked for, since the faces have no true answers here. A model that this ONNX Runtime
cannot load, or a scoring that fails on every batch, fails on them too. The process that answers the online
service is started as well, and ends because nobody asks it.
"""

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from gitops import isolation
from gitops.errors import ModelError, UnfinishedModelError
from gitops.git.workspace import Origin, workspace
from gitops.model.download import fetch_model
from gitops.paths import MODEL

_FACES = Path(__file__).with_name("sample")
_FETCH = timedelta(minutes=2)
_SCORE = timedelta(minutes=3)
_ONLINE = Path(
    "src/face_attributes/monitoring/online.py"
)  # releases from before the online service have none
# The model takes the place of the memory in which the service puts photographs
_START_ONLINE = ("sh", "-c", 'exec "$0" -m face_attributes online --model "$@" --memory 3 3<"$1"')


def score(origin: Origin, release: str, *, folder: Path) -> tuple[int, float]:
    """Score the sample with the code and the model of a release; return the images and the seconds.

    Args:
        origin: The repository that has the release.
        release: The commit.
        folder: An empty folder for files of this call.

    Raises:
        ModelError: if the release cannot score the sample, its online process does not start, or its model is
            not the recorded one.
        UnfinishedModelError: if the scoring takes too long, or the system kills it.
        NoModelError: if the release has no model yet.
        StorageError: if the DVC remote does not give the model.
        GitError: if `origin` does not have the commit.

    """
    model = fetch_model(origin, release, cache=folder / "models", timeout=_FETCH)
    images, scores = folder / "images", folder / "scores"
    shutil.copytree(_FACES, images)
    count = len(list(images.iterdir()))
    scores.mkdir()
    out = scores / "sample.parquet"
    # Its code runs in the isolated place, whatever this environment may train.
    with workspace(replace(origin, admit=None), release, folder / "workspaces") as space:
        command = [sys.executable, "-m", "face_attributes", "score", str(images)]
        options = ["--model", str(model), "--release", release, "--out", str(out)]
        place = isolation.Place(writable=(scores,), readable=(space.path, images, model))
        variables = {"PYTHONPATH": str(space.path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        begin = time.monotonic()
        with isolation.isolated(place, variables) as isolated:
            problem, unfinished = _run([*command, *options], isolated, space.path)
            if problem is None and not (out.is_file() and out.stat().st_size):
                problem = "the command wrote no scores"
            action = f"score {count} images"
            if problem is None and (space.path / _ONLINE).is_file():
                action = "start the process of the online service"
                online = [sys.executable, str(model), "--release", release, "--scores", str(scores)]
                problem, unfinished = _run([*_START_ONLINE, *online], isolated, space.path)
        seconds = time.monotonic() - begin
    if problem:
        error = UnfinishedModelError if unfinished else ModelError
        raise error(MODEL, f"cannot {action}: {problem}")
    return count, seconds


def _run(command: list[str], isolated: isolation.Isolated, folder: Path) -> tuple[str | None, bool]:
    """Return why a command failed, or None; and whether it was stopped before its end."""
    try:
        done = isolation.run(command, isolated, folder, _SCORE.total_seconds())
    except subprocess.TimeoutExpired:
        return f"no end within {_SCORE.total_seconds():.0f} s", True
    if done.status in isolation.KILLED:
        return "the system killed it", True
    return (done.last_line or f"exit status {done.status}") if done.status else None, False
