"""A release's model and its reference, fetched by their digests into a folder that keeps each once."""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from gitops import atomic
from gitops.dvc.lockfile import Lock, Recorded
from gitops.dvc.remote import Storage
from gitops.errors import GitError, ModelError
from gitops.git.objects import is_full_sha
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, Workspace, fetch, resolve, workspace
from gitops.model.evaluation import evaluation
from gitops.paths import EVALUATION, LOCK, MODEL

_CONFIG = ".dvc/config"
REFERENCE = "data/reference.parquet"


@dataclass(frozen=True)
class _Output:
    """A file of a release: its path, its kind of digest, the record of it, and the repair command."""

    path: str
    algorithm: str
    record: str
    remedy: str

    def digest(self, repository: Repository, release: str) -> str:
        """Return the digest that the release records."""
        if self.record == EVALUATION:
            return evaluation(repository.read(release, EVALUATION), release).model_sha256
        digest = Lock.load(repository, release).digest(self.path)
        if digest is None:
            raise ModelError(self.path, f"{self.record} of {release[:12]} does not record it", self.remedy)
        return digest

    def is_at(self, path: Path, digest: str) -> bool:
        return path.is_file() and self.actual_digest(path) == digest

    def actual_digest(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()


_MODEL = _Output(MODEL, "sha256", EVALUATION, "export and evaluate it again")
_REFERENCE = _Output(REFERENCE, "md5", LOCK, "run the stage reference again")


def fetch_model(
    origin: Origin,
    release: str,
    *,
    cache: Path,
    configuration: Path | None = None,
    timeout: timedelta = timedelta(hours=1),
) -> Path:
    """Return the file of a release's ONNX model, `<sha256>.onnx` in `cache`; fetch it where it is not there.

    Once fetched it needs neither `origin` nor the DVC remote. DVC's own configuration names the remote:
    that of the checkout `configuration`, or else that of main, and where the file is not there that of the
    release. Both get the credentials.

    Files from the DVC remote are compared with the digest in the release's `dvc.lock`, and the files in
    `cache` against its name, each time.

    Raises:
        ModelError: if its digest is not the one that the release records.
        GateError: if the release records none.
        StorageError: if the DVC remote does not give it.
        GitError: if `origin` cannot be reached or has no such commit.

    """
    return _fetch(origin, release, _MODEL, cache, configuration, timeout)


def fetch_reference(
    origin: Origin, release: str, *, cache: Path, timeout: timedelta = timedelta(hours=1)
) -> Path:
    """Return the reference of a release's model, `<md5>.parquet` in `cache`; else as `fetch_model`.

    Raises:
        ModelError: also when the release records none.

    """
    return _fetch(origin, release, _REFERENCE, cache, None, timeout)


def _fetch(
    origin: Origin,
    release: str,
    output: _Output,
    cache: Path,
    configuration: Path | None,
    timeout: timedelta,
) -> Path:
    if not is_full_sha(release):
        raise ModelError(release, "not a full commit id", "a release is named by 40 hexadecimal digits")
    suffix = Path(output.path).suffix
    note = cache / "releases" / release
    if note.is_file():
        digest = note.read_text("ascii").strip()
        target = cache / f"{digest}{suffix}"
        if output.is_at(target, digest):
            return target
    note.parent.mkdir(parents=True, exist_ok=True)
    # Nothing of the release is run here, so that it may be another one than an environment's own.
    with workspace(replace(origin, admit=None), release, cache / "workspaces") as space:
        digest = output.digest(space.repository, release)
        target = cache / f"{digest}{suffix}"
        if not output.is_at(target, digest):
            file = Lock.load(space.repository, release).recorded(output.path)
            # By its digest and past DVC's own cache, which DVC trusts even if its files are damaged.
            fresh = space.path / f"{file.md5}{suffix}"
            places = [configuration] if configuration else [*_present(space), space.path]
            Storage(places[0], former=places[1:]).fetch(file.md5, fresh, timeout=timeout)
            _check(fresh, file, release, output)
            _keep(fresh, target, release, output, digest)
    atomic.write(note, f"{digest}\n")
    return target


def _present(space: Workspace) -> list[Path]:
    """Return a folder with the configuration of DVC that main has now; none where there is no main."""
    try:
        main = resolve(space.origin, "main", space.path)
        if main == space.commit:
            return []
        fetch(space.repository, space.origin, main)
    except GitError:
        return []
    content = space.repository.read(main, _CONFIG)
    if content is None:
        return []
    place = space.path / ".git" / "present"
    (place / _CONFIG).parent.mkdir(parents=True)
    (place / _CONFIG).write_bytes(content)
    local = (space.path / _CONFIG).with_suffix(".local")
    if local.is_file():
        shutil.copyfile(local, (place / _CONFIG).with_suffix(".local"))
    return [place]


def _check(path: Path, file: Recorded, release: str, output: _Output) -> None:
    with path.open("rb") as content:
        md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != file.md5:
        raise ModelError(
            f"{output.path} of {release[:12]}",
            f"the DVC remote's copy has the MD5 digest {md5[:12]}, dvc.lock records {file.md5[:12]}",
            "remove it there and push it again",
        )


def _keep(file: Path, target: Path, release: str, output: _Output, digest: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".model-") as folder:
        # Copied beside its place first, so that it appears there whole.
        fresh = Path(shutil.copyfile(file, Path(folder) / file.name))
        actual = output.actual_digest(fresh)
        if actual != digest:
            raise ModelError(
                f"{output.path} of {release[:12]}",
                f"its digest is {actual[:12]}, {output.record} records {digest[:12]}",
                f"the release does not fit together: {output.remedy}",
            )
        fresh.replace(target)
