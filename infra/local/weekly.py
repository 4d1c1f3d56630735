"""The weekly backup and its drill: `python -m infra.local.weekly CHECKOUT FOLDER`, run by the engine."""

import contextlib
import shutil
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gitops.private import private_folder
from infra.local import backup
from infra.local.drill import Drill, drill
from infra.local.layout import Layout

KEPT = 4
"""How many whole backups stay."""
_WEEK, _RETRY = timedelta(days=7), timedelta(days=1)
_PAUSE = 600
_FAULTY = ".faulty"


def due(last: Drill | None, now: datetime) -> bool:
    """Return whether it is time for the next backup: a week after a whole one, a day after a faulty one."""
    return last is None or now - datetime.fromisoformat(last.at) >= (_WEEK if last.ok else _RETRY)


def save_and_drill(layout: Layout, folder: Path, now: datetime) -> Drill:
    """Save a backup, restore it into a scratch folder beside it, and delete the oldest ones.

    The newest whole backups stay, and the newest faulty one.
    """
    private_folder(folder)
    for left in (*folder.glob("visage-drill-*"), *folder.glob("????-??-??T*.partial")):
        shutil.rmtree(left)
    target = folder / now.strftime("%Y-%m-%dT%H%M%SZ")

    def save() -> str:
        backup.save(layout, target)
        return f"{sum(path.stat().st_size for path in target.rglob('*')):,} bytes"

    result = drill(target, layout.weekly, scratch=folder, save=save)
    if result.ok:
        _keep(folder, "????-??-??T??????Z", KEPT)
    elif target.is_dir():
        target.rename(target.with_name(target.name + _FAULTY))
        _keep(folder, f"????-??-??T??????Z{_FAULTY}", 1)
    return result


def _keep(folder: Path, pattern: str, count: int) -> None:
    for old in sorted(folder.glob(pattern))[:-count]:
        shutil.rmtree(old)


def main(checkout: Path, folder: Path) -> None:
    """Save and drill when it is time, for ever."""
    # So the scratch database of a drill ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    layout = Layout(checkout)
    while True:
        if due(Drill.read(layout.weekly), datetime.now(UTC)):
            result = save_and_drill(layout, folder, datetime.now(UTC))
            for part in result.parts:
                print(f"{result.backup}: {part.name}: {'' if part.ok else 'FAULT: '}{part.text}", flush=True)
        time.sleep(_PAUSE)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]), Path(sys.argv[2]))
