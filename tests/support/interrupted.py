"""Run a stage, kill it before changes of files, and run it again.

The libraries are loaded once; each run is a fork of this process.
"""

import importlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LIBRARIES = {
    "prepare": ("cv2", "pyarrow.parquet", "face_attributes.data.prepare"),
    "collect": ("cv2", "pyarrow.parquet", "face_attributes.data.collect"),
    "tune": ("face_attributes.training.tune",),
    "train": ("face_attributes.training.train",),
    "export": ("face_attributes.model.export",),
    "evaluate": ("face_attributes.evaluation.evaluate",),
    "card": ("face_attributes.card.card",),
    "reference": ("face_attributes.evaluation.reference",),
}
MEASURED = {"images_per_second", "bfloat16_gain", "int8_gain", "latency_ms", "latency", "cores", "seconds"}
MEASURED |= {"memory_gb", "Time and energy"}
"""Timings, and the number of cores that they were measured on, which no two runs share."""


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a folder, without the timings."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps(_without_timings(json.loads(content))).encode()
            if path.name == "card.md":
                content = content.partition(b"## Time and energy")[0]
            found[str(path.relative_to(folder))] = sha256(content).hexdigest()
    return found


def _without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_timings(item) for key, item in value.items() if key not in MEASURED}
    return [_without_timings(item) for item in value] if isinstance(value, list) else value


def _run(stage: str, folder: Path, changed: Callable[[], None]) -> int:
    """Run a stage in a fork that calls `changed` before each change of a file; return its status."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.argv = ["face_attributes", stage]
        sys.stdout = sys.stderr = (folder.parent / "log").open("a")

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            written = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
            if (written and not str(arguments[0]).startswith("/dev/")) or event in _CHANGES:
                changed()

        from face_attributes.cli import main

        sys.addaudithook(hook)
        status = 1
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        finally:
            logging.shutdown()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killer(point: int) -> Callable[[], None]:
    changes = iter(range(point))

    def kill() -> None:
        if next(changes, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def main(stage: str, place: Path, most: int) -> None:
    """Print the results as JSON.

    Args:
        stage: The stage.
        place: A folder with its inputs, and a folder for temporary files beside it.
        most: The number of times that it is killed, at most.

    """
    for library in _LIBRARIES[stage]:
        importlib.import_module(library)
    tempfile.gettempdir()  # Python tries the folder with a file of its own, which a kill would leave there
    whole, start = place.with_name("whole"), place.with_name("start")
    for copy in (whole, start):
        shutil.copytree(place, copy)
    reader, writer = os.pipe()
    if _run(stage, whole, lambda: os.write(writer, b".") and None) != 0:
        raise SystemExit((place.parent / "log").read_text())
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        count = len(pipe.read())
    points = sorted({round(point * (count - 1) / max(most - 1, 1)) for point in range(min(most, count))})
    for point in points:
        status = _run(stage, place, _killer(point))
        if status == 0:  # It went on from a checkpoint, so that fewer changes were left.
            shutil.rmtree(place)
            shutil.copytree(start, place)
            status = _run(stage, place, _killer(point))
        assert status == -signal.SIGKILL, f"it was not killed before change {point}"
    assert _run(stage, place, lambda: None) == 0, (place.parent / "log").read_text()
    left = [path.name for path in Path(os.environ["TMPDIR"]).iterdir()]
    result = {"points": points, "whole": digests(whole), "again": digests(place), "left": left}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
