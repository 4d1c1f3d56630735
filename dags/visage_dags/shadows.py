"""The files of a shadow: another model that scores the batches of this environment, beside the release.

shadows/<sha12>/date=<day>/<batch>.parquet   the scores of the shadow; its name begins with its commit. Of a
                                             batch that a canary answered, the scores of the release
shadows/<sha12>/failed/<batch>               the reason why it could not score a batch
shadows/<sha12>/unpaired/<batch>             the reason why the release could not score a batch of the canary
shadows/<sha12>/report.json                  how it compares with the release

They lie beside `scores`, so monitoring never reads them.
"""

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

MOST = 20
"""The batches of one run, so that a shadow of a busy environment reports soon."""
_MOST_SEEN = 2000
_LONGEST_REASON = 300


def folder(home: Path, shadow: str) -> Path:
    """Return the folder of a shadow."""
    return home / "shadows" / shadow[:12]


def waiting(home: Path, shadow: str, models: Collection[str]) -> list[tuple[Path, str]]:
    """Return files of scores whose batches the other model has not scored, newest day first.

    Args:
        home: The data folder.
        shadow: The commit of the shadow, or of the canary.
        models: The digests of the models whose batches count: that of the release, and of a canary.

    Returns:
        Each file, and the digest of its model.

    """
    mine = folder(home, shadow)
    known = {path.name for path in mine.glob("date=*/*.parquet")}
    for notes in ("failed", "unpaired"):
        known |= {f"{path.name}.parquet" for path in (mine / notes).glob("*")}
    days = sorted((home / "scores").glob("date=*"), reverse=True)
    files = (path for day in days for path in sorted(day.glob("*.parquet")) if path.name[0] != ".")
    found: list[tuple[Path, str]] = []
    for path, _ in zip(files, range(_MOST_SEEN), strict=False):
        if path.name in known or not photographs(home, path).is_dir():
            continue
        if (model := _model(path)) in models:
            found.append((path, model))
            if len(found) == MOST:
                break
    return found


def photographs(home: Path, scores: Path) -> Path:
    """Return the folder of the photographs of a scored batch."""
    return home / "scored" / scores.name.removesuffix(".parquet")


def scores_path(home: Path, shadow: str, scores: Path) -> Path:
    """Return the path of the shadow's scores of a batch."""
    return folder(home, shadow) / scores.parent.name / scores.name


def note_failure(home: Path, shadow: str, batch: str, reason: str, *, notes: str = "failed") -> None:
    """Keep the reason why the shadow could not score a batch, with paths as they are in `home`."""
    note = folder(home, shadow) / notes / batch
    note.parent.mkdir(parents=True, exist_ok=True)
    reason = " ".join(reason.replace(f"{home}/", "").split())
    note.write_text(reason[:_LONGEST_REASON] or "it failed", "utf-8")


def failure(home: Path, shadow: str, batch: str) -> str:
    """Return the reason why the shadow could not score a batch, or "" if it has not failed."""
    note = folder(home, shadow) / "failed" / batch
    return note.read_text("utf-8") if note.is_file() else ""


def failures(home: Path, shadow: str) -> list[str]:
    """Return the reasons of the batches that the shadow could not score, oldest first."""
    notes = sorted((folder(home, shadow) / "failed").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    return [path.read_text("utf-8") for path in notes]


def has_scores(home: Path, shadow: str) -> bool:
    """Return whether the shadow has scored a batch."""
    return any(folder(home, shadow).glob("date=*/*.parquet"))


def keep_only(home: Path, shadow: str) -> None:
    """Remove the results of earlier shadows; their reports are tags in git."""
    for other in (home / "shadows").glob("*"):
        if other.name != shadow[:12]:
            shutil.rmtree(other)


def figures(report: Path) -> dict[str, Any]:
    """Read the comparison."""
    content: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return content


def _model(scores: Path) -> str:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(scores).metadata or {}
    return metadata.get(b"model_sha256", b"").decode()
