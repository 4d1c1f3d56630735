"""Batches that are scored again, because a bad release scored them: back to `incoming`, and a comparison.

The photographs of a scored batch lie in `scored/<batch>/`. Back in `incoming`, the batch keeps its name, so
its new scores replace the earlier ones, under the same day.
"""

import json
import logging
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from visage_dags import batches

log = logging.getLogger(__name__)

_BEFORE = ".visage-before.parquet"


@dataclass(frozen=True)
class Change:
    """The decisions that changed, of how many, by attribute."""

    decisions: int
    changed: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        most = ", ".join(f"{name} {count}" for name, count in self.changed.most_common(5))
        total = f"{self.changed.total():,} of {self.decisions:,} decisions differ from the earlier ones"
        return f"{total}: {most}" if most else total


def bring_back(home: Path, model: str) -> list[str]:
    """Move the photographs back to `incoming` of all batches that the model before `model` scored last.

    Args:
        home: The data folder.
        model: The digest of the model that is to score them. The one before is that of the newest scores
            that are not its own.

    Returns:
        The names of the batches.

    """
    others: dict[Path, str] = {}
    for path in (home / "scores").glob("date=*/[!.]*.json"):
        digest = _model(path)
        if digest not in (None, model) and path.with_suffix(".parquet").is_file():
            others[path] = str(digest)
    if not others:
        log.info("no scores are of another model than %s", model[:12])
        return []
    newest = max(others, key=lambda path: (path.stat().st_mtime_ns, path.name))
    before, names = others[newest], list[str]()
    for path in sorted(path for path, digest in others.items() if digest == before):
        scored, waiting = home / "scored" / path.stem, home / "incoming" / path.stem
        if is_again(home, path.stem):
            names.append(path.stem)  # by an attempt before
        elif not scored.is_dir():
            log.warning("%s: its photographs are no longer kept, so its scores stay", path.stem)
        elif waiting.exists():
            log.warning("%s: another batch of that name waits; start a run again after it", path.stem)
        else:
            shutil.copyfile(path.with_suffix(".parquet"), scored / _BEFORE)
            batches.claim_again(scored)
            waiting.parent.mkdir(exist_ok=True)
            scored.rename(waiting)
            names.append(path.stem)
    log.info("%d batches of model %s are scored again: %s", len(names), before[:12], ", ".join(names))
    return names


def is_again(home: Path, batch: str) -> bool:
    """Return whether a waiting batch is scored again."""
    return (home / "incoming" / batch / _BEFORE).is_file()


def compare(home: Path, batch: str, scores: Path) -> Change | None:
    """Compare the scores of a waiting batch with the earlier ones; None if there were none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_again(home, batch):
        return None
    before = home / "incoming" / batch / _BEFORE
    names = sorted(
        set.intersection(
            *(
                {field.name for field in pq.read_schema(path) if pa.types.is_boolean(field.type)}
                for path in (before, scores)
            )
        )
    )
    earlier, now = (pq.read_table(path, columns=["id", *names]) for path in (before, scores))
    both = now.join(earlier, keys="id", join_type="inner", right_suffix=" before")
    changed = {
        name: int((both[name].to_numpy() != both[f"{name} before"].to_numpy()).sum()) for name in names
    }
    return Change(
        len(names) * both.num_rows, Counter({name: count for name, count in changed.items() if count})
    )


def end(retired: Path) -> None:
    """Delete the earlier scores of a batch that was scored again."""
    (retired / _BEFORE).unlink(missing_ok=True)


def _model(summary: Path) -> str | None:
    try:
        content = json.loads(summary.read_bytes())
        return str(content["model_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s: no summary of a batch; left alone", summary)
        return None
