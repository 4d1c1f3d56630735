"""Sampled photographs, which are kept for some days and then removed."""

import asyncio
import logging
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

log = logging.getLogger(__name__)

# The folder of a file of scores: the release, and when its first photograph came
_BATCH = re.compile(r"online-[0-9a-f]{12}-(\d{8}T\d{6}\.\d{6})")
_HOUR = 3600.0


@dataclass(frozen=True)
class Kept:
    """The folder of sampled photographs, and the days for which they are kept. 0 keeps none."""

    folder: Path
    days: int

    async def expire(self) -> None:
        """Remove old photographs each hour, for ever."""
        while True:
            await asyncio.to_thread(self.remove, datetime.now(UTC))
            await asyncio.sleep(_HOUR)

    def remove(self, now: datetime) -> None:
        """Remove the photographs that are older than they may be."""
        for batch in self.folder.iterdir() if self.folder.is_dir() else ():
            match = _BATCH.fullmatch(batch.name)
            if match is None:
                continue
            since = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
            if now - since > timedelta(days=self.days):
                log.info("Removing the photographs of %s.", batch.name)
                shutil.rmtree(batch)
