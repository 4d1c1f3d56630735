"""The shadow: another model that scores the same batches, beside that of the release."""

import logging
from dataclasses import dataclass
from pathlib import Path

from gitops.errors import ParseError
from gitops.gates.shadows import Agreement, Figures, Paired, Times
from gitops.text import record

log = logging.getLogger(__name__)

REPORT = "report.json"


@dataclass(frozen=True)
class Shadow:
    """The shadow that main declares for an environment.

    Attributes:
        commit: The commit whose model runs beside that of the release.
        failed: The batches that it could not score.
        figures: How it compares with the release; None without a report that can be read.

    """

    commit: str
    failed: int = 0
    figures: Figures | None = None

    @property
    def attributes(self) -> tuple[tuple[str, Agreement], ...]:
        """The attributes, those with the most different answers first."""
        rows = self.figures.per_attribute if self.figures else {}
        return tuple(sorted(rows.items(), key=lambda item: (item[1].agreement, item[0])))

    @property
    def latency(self) -> tuple[tuple[str, Times], ...]:
        """The latency of both models, by the size of a call."""
        return tuple(self.figures.latency.items()) if self.figures else ()

    @property
    def paired(self) -> Paired | None:
        """The comparison on images with late labels, or None without enough of them."""
        return self.figures.comparison if self.figures else None


def read(home: Path, commit: str) -> Shadow:
    """Return a shadow, from the files that the DAG `score_shadow` writes."""
    folder = home / "shadows" / commit[:12]
    failed = sum(1 for _ in (folder / "failed").glob("*"))
    try:
        return Shadow(commit, failed, record.read_file(Figures, folder / REPORT))
    except FileNotFoundError:
        return Shadow(commit, failed)
    except (OSError, ParseError) as error:
        log.warning("%s: cannot be read: %s", folder / REPORT, error)
        return Shadow(commit, failed)
