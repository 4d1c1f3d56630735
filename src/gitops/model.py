"""Fetch what a release carries through DVC: its model, by digest, and other files by path."""

import hashlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import ModelError
from gitops.gate import evaluation
from gitops.repository import Repository

MODEL = "models/model.onnx"
_TIMEOUT = 1800


class _FetchError(ModelError):
    """One attempt failed; another may not."""


def fetch(repository: Repository, url: str, commit: str, cache: Path) -> Path:
    """Return the ONNX model of a release, fetched into `cache` (`<sha256>.onnx`) where it is not there yet.

    `repository` holds the commit, `url` is where DVC reads it from. DVC's own configuration
    (`DVC_GLOBAL_CONFIG_DIR`) names the remote.

    :raises ModelError: when it cannot be fetched, or has another digest than the release records.
    :raises GateError: when the commit records none.
    """
    digest = evaluation(repository, commit).model_sha256
    target = cache / f"{digest}.onnx"
    if target.is_file():
        if _sha256(target) == digest:
            return target
        target.unlink()
    with tempfile.TemporaryDirectory(dir=_folder(cache), prefix=".model-") as folder:
        file = Path(folder) / "model.onnx"
        get(url, commit, MODEL, file)
        found = _sha256(file)
        if found != digest:
            raise ModelError(
                f"{MODEL} of {commit[:12]}: its digest is {found[:12]}, {digest[:12]} is recorded; "
                "the release does not fit together: train and export it again"
            )
        file.replace(target)
    return target


def get(url: str, commit: str, path: str, target: Path, *, timeout: float = _TIMEOUT) -> None:
    """Fetch one file that DVC tracks, as it was at `commit` of the repository at `url`, to `target`.

    :raises ModelError: when DVC cannot, with its reason.
    """
    if target.exists():
        raise ModelError(f"{target}: exists already")
    Retrying(
        retry=retry_if_exception_type(_FetchError),
        stop=stop_after_attempt(3),
        wait=wait_exponential(multiplier=1, max=10),
        reraise=True,
    )(_get, url, commit, path, target, timeout)


def _get(url: str, commit: str, path: str, target: Path, timeout: float) -> None:
    with tempfile.TemporaryDirectory(dir=_folder(target.parent), prefix=".get-") as folder:
        fresh = Path(folder) / target.name
        command = ["dvc", "get", "--rev", commit, "--out", str(fresh), url, path]
        environment = os.environ | {"DVC_NO_ANALYTICS": "1", "GIT_TERMINAL_PROMPT": "0"}
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ModelError(f"{path} of {commit[:12]}: not fetched within {timeout:g} s") from error
            raise
        if process.returncode != 0 or not fresh.exists():
            lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()
            reason = lines[0].removeprefix("ERROR: ") if lines else f"exit status {process.returncode}"
            raise _FetchError(f"{path} of {commit[:12]}: dvc get: {reason}")
        fresh.replace(target)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
