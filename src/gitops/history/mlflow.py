"""An export of runs as a file store of MLflow, which `mlflow ui --backend-store-uri FOLDER` shows.

https://mlflow.org/docs/latest/self-hosting/architecture/backend-store/ describes the store.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gitops.errors import GitopsError
from gitops.history.runs import Run

EXPERIMENT = "1"
_NAME = "visage"
_FINISHED, _LOCAL = 3, 4
_LONGEST_VALUE, _LONGEST_NAME = 6000, 200
# MLflow takes more characters; each of these can be part of a file's name everywhere.
_REFUSED = re.compile(r"[^A-Za-z0-9_. /-]")


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write runs to a folder that does not exist yet, or is empty.

    Raises:
        GitopsError: if there is something in the folder, or it cannot be written.

    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise GitopsError(f"{folder}: is not empty; name a folder that does not exist yet")
        root = folder.resolve() / EXPERIMENT
        root.mkdir(parents=True)
        times = [_milliseconds(run) for run in runs] or [0]
        experiment = {
            "artifact_location": root.as_uri(),
            "creation_time": min(times),
            "experiment_id": EXPERIMENT,
            "last_update_time": max(times),
            "lifecycle_stage": "active",
            "name": _NAME,
        }
        _write(root / "meta.yaml", yaml.safe_dump(experiment))
        for run in runs:
            _export(run, root)
    except OSError as error:
        raise GitopsError(f"{error.filename or folder}: {error.strerror}") from error


def run_id(run: Run) -> str:
    """Return the id that MLflow gets for a run: the same one at each export."""
    return hashlib.sha256(f"{run.kind} {run.name} {run.commit}".encode()).hexdigest()[:32]


def _export(run: Run, root: Path) -> None:
    folder, end = root / run_id(run), _milliseconds(run)
    meta: dict[str, Any] = {
        "artifact_uri": (folder / "artifacts").as_uri(),
        "end_time": end,
        "entry_point_name": "",
        "experiment_id": EXPERIMENT,
        "lifecycle_stage": "active",
        "run_id": run_id(run),
        "run_name": run.name,
        "run_uuid": run_id(run),
        "source_name": "",
        "source_type": _LOCAL,
        "source_version": "",
        "start_time": end - int(1000 * (run.duration or 0)),
        "status": _FINISHED,
        "tags": [],
        "user_id": run.author,
    }
    tags = {
        "mlflow.runName": run.name,
        "mlflow.source.git.commit": run.commit,
        "mlflow.user": run.author,
        "visage.kind": run.kind,
        "visage.model_sha256": run.metrics.sha256 or "",
    }
    _write(folder / "meta.yaml", yaml.safe_dump(meta))
    (folder / "artifacts").mkdir()
    _values(folder / "tags", tags)
    _values(folder / "params", {name: value[:_LONGEST_VALUE] for name, value in run.parameters.items()})
    points = {name: [(0, value)] for name, value in _numbers(run)}
    for epoch, *losses in run.metrics.curve:
        for name, value in zip(("train_loss", "validation_loss", "validation_accuracy"), losses, strict=True):
            if value is not None:
                points.setdefault(name, []).append((int(epoch), value))
    lines = {
        name: "".join(f"{end} {value!r} {number}\n" for number, value in series)
        for name, series in points.items()
    }
    _values(folder / "metrics", lines)


def _numbers(run: Run) -> Iterable[tuple[str, float]]:
    intervals = {**run.metrics.means}
    intervals |= {f"accuracy/{name}": interval for name, interval in run.metrics.attributes.items()}
    for name, interval in intervals.items():
        for end, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high)):
            if value is not None:
                yield f"{name}{end}", float(value)
    yield from ((f"milliseconds/{name}", value) for name, value in run.metrics.speed.items())
    yield from ((f"seconds/{stage}", value) for stage, value in run.seconds.items())
    for stage, cost in run.cost.stages.items() if run.cost else ():
        yield from ((f"cost/{stage}/{name}", float(value)) for name, value in cost if value is not None)
    if run.metrics.model_bytes is not None:
        yield "model_bytes", float(run.metrics.model_bytes)


def _values(folder: Path, values: Mapping[str, str]) -> None:
    folder.mkdir()
    for path, value in zip(_paths(values), values.values(), strict=True):
        _write(folder / path, value)


def _paths(names: Iterable[str]) -> Iterator[str]:
    """Yield the path of each name. No file has the path of another file, or of its folder."""
    files, folders = set[str](), set[str]()
    for name in names:
        cut = _REFUSED.sub("_", name)[:_LONGEST_NAME]
        parts = [part for part in cut.split("/") if part.strip(".")]
        path, mark = "/".join(parts), name
        while not path or path in files or path in folders or files & {*_above(path)}:
            mark = hashlib.sha256(f"{mark} {name}".encode()).hexdigest()
            path = f"{'_'.join(parts)}_{mark[:8]}"
        files.add(path)
        folders.update(_above(path))
        yield path


def _above(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:length]) for length in range(1, len(parts)))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _milliseconds(run: Run) -> int:
    return int(run.at.timestamp() * 1000)
