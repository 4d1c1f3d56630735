"""What the training pipeline needs before it starts: every lack is named, not just the first."""

import os
import shutil
import subprocess
from pathlib import Path

FILES = ("dvc.yaml", "params.yaml", "params.small.yaml", "src/face_attributes/__main__.py")
FREE_BYTES = 2 * 1024**3


def lacks(checkout: Path, home: Path) -> list[str]:
    """What is missing for a run of the pipeline from `checkout`, one line each; empty when all is there."""
    found = [f"{command}: not on PATH" for command in ("git", "dvc") if shutil.which(command) is None]
    found += [f"{name}: not in this commit" for name in FILES if not (checkout / name).is_file()]
    free = shutil.disk_usage(home).free
    if free < FREE_BYTES:
        found.append(f"{home}: {free / 1024**3:.1f} GiB free, {FREE_BYTES / 1024**3:.0f} GiB needed")
    if problem := _dvc_remote_problem(checkout):
        found.append(problem)
    return found


def raw_data_pattern(source: str, release_root: Path) -> str:
    """The file whose presence says that the raw images are complete, as a glob pattern.

    Drawn faces bring themselves, so there is nothing to wait for: the release itself stands for them.
    """
    if source == "synthetic":
        return str(release_root / "params.yaml")
    folder = os.environ.get("CELEBA_DIR")
    if not folder:
        raise ValueError(
            f"CELEBA_DIR: not set, and params.yaml: data.source is {source}; name the images' folder"
        )
    return str(Path(folder) / "list_attr_celeba.*")


def _dvc_remote_problem(checkout: Path) -> str | None:
    """Ask the DVC remote for a listing, in a process of its own, as DVC is heavy to import."""
    # An object store has no folders, so there only an error counts; a folder must be there.
    script = (
        "from dvc.repo import Repo\n"
        "remote = Repo().cloud.get_remote()\n"
        "if not remote.fs.exists(remote.path) and remote.fs.protocol == 'local':\n"
        "    raise SystemExit(f'{remote.path}: no such folder')\n"
    )
    try:
        process = subprocess.run(
            ["python", "-c", script], cwd=checkout, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return "DVC remote: no answer within 120 s"
    if process.returncode != 0:
        return f"DVC remote: {(process.stderr.strip().splitlines() or ['no answer'])[-1]}"
    return None
