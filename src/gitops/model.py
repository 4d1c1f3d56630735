"""A release's model, fetched by its digest into a folder that keeps each model once."""

import hashlib
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import ModelError, StepError
from gitops.gate import evaluation
from gitops.repository import is_full_sha
from gitops.step import call
from gitops.workspace import Origin, workspace

MODEL = "models/model.onnx"
_ATTEMPTS = 3


def fetch_model(
    origin: Origin, release: str, *, cache: Path, timeout: timedelta = timedelta(hours=1)
) -> Path:
    """Return the file of a release's ONNX model, `<sha256>.onnx` in `cache`; fetch it where it is not there.

    Once fetched it needs neither `origin` nor the DVC remote. DVC's own configuration names the remote.

    :raises ModelError: when its digest is not the one that the release records.
    :raises GateError: when the release records none.
    :raises StepError: when the DVC remote does not give it.
    :raises GitError: when `origin` cannot be reached or has no such commit.
    """
    if not is_full_sha(release):
        raise ModelError(f"{release}: not a full commit id; a release is named by 40 hexadecimal digits")
    note = cache / "releases" / release
    if note.is_file():
        digest = note.read_text("ascii").strip()
        target = cache / f"{digest}.onnx"
        if target.is_file() and _sha256(target) == digest:
            return target
    note.parent.mkdir(parents=True, exist_ok=True)
    with workspace(origin, release, cache / "workspaces") as space:
        digest = evaluation(space.repository, release).model_sha256
        target = cache / f"{digest}.onnx"
        if not (target.is_file() and _sha256(target) == digest):
            Retrying(
                retry=retry_if_exception_type(StepError),
                stop=stop_after_attempt(_ATTEMPTS),
                wait=wait_exponential(multiplier=1, max=10),
                reraise=True,
            )(call, ["dvc", "pull", MODEL], space.path, timeout)
            _keep(space.path / MODEL, target, release, digest)
    _write(note, digest)
    return target


def _keep(file: Path, target: Path, release: str, digest: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".model-") as folder:
        # A copy, because DVC may have linked the file to its cache.
        fresh = Path(shutil.copyfile(file, Path(folder) / "model.onnx"))
        found = _sha256(fresh)
        if found != digest:
            raise ModelError(
                f"{MODEL} of {release[:12]}: its digest is {found[:12]}, metrics/evaluation.json records "
                f"{digest[:12]}; the release does not fit together: export and evaluate it again"
            )
        fresh.replace(target)


def _write(note: Path, digest: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="ascii", dir=note.parent, prefix=".note-", delete=False
    ) as file:
        file.write(f"{digest}\n")
    Path(file.name).replace(note)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
