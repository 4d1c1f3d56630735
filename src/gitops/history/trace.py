"""Traces: from a score, a model or a commit to the others, in both directions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.errors import GitopsError, ParseError
from gitops.history.deployments import Deployment
from gitops.history.trunk import TrunkCommit
from gitops.paths import LABELLED, RAW
from gitops.text import parse, record
from gitops.text.record import Count, Digest, Record

_MOST = 100_000
"""How many summaries of scores are read."""


class Summary(Record):
    """The part of `scores/date=<day>/<batch>.json` that names the model."""

    batch: str
    rows: Count
    model_sha256: Digest
    release: str | None = None


@dataclass(frozen=True)
class Scores:
    """A file of scores, by the summary beside it."""

    path: Path
    summary: Summary


@dataclass(frozen=True)
class Trace:
    """A model, the commits of main that have it, and everything that came of it.

    Attributes:
        model: The SHA-256 of the model.
        commits: The commits of main that have it, oldest first.
        data: The MD5 of each output that `dvc.lock` records, and of each labelled batch, by path.
        deployments: The environments that main declared such a commit for.
        scores: The files of scores that were made with it.

    """

    model: str
    commits: Sequence[TrunkCommit]
    data: Mapping[str, str]
    deployments: Mapping[str, Sequence[Deployment]]
    scores: Sequence[Scores]

    @property
    def images(self) -> frozenset[str]:
        """The paths of the data that the model learned from."""
        return frozenset(path for path in self.data if path == RAW or path.startswith(f"{LABELLED}/"))

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "model_sha256": self.model,
            "commits": [
                {"commit": one.commit.id, "at": one.at.isoformat(), "subject": one.commit.subject}
                for one in self.commits
            ],
            "data": dict(self.data),
            "environments": {
                name: [
                    {
                        "release": one.release,
                        "declared": one.at.isoformat(),
                        "verified": one.verified.isoformat() if one.verified else None,
                        "rejected": one.rejected.isoformat() if one.rejected else None,
                    }
                    for one in every
                ]
                for name, every in self.deployments.items()
            },
            "scores": [
                {"file": str(one.path), "batch": one.summary.batch, "rows": one.summary.rows}
                for one in self.scores
            ],
        }


def summary_of(path: Path) -> Summary:
    """Return the summary of a file of scores, which may be named itself.

    Raises:
        GitopsError: if it cannot be read.

    """
    file = path.with_suffix(".json")
    try:
        return record.read(Summary, parse.file(file, record.LARGEST))
    except OSError as error:
        raise GitopsError(f"{file}: {error.strerror}; scoring writes it beside the scores") from error
    except ParseError as error:
        raise GitopsError(f"{file}: not the summary of scores: {error}") from error


def scores_of(home: Path, model: str) -> list[Scores]:
    """Return the scores below a data folder that were made with a model; other files are passed over.

    Raises:
        GitopsError: if there is no such folder, or it has too many files.

    """
    folder = home / "scores"
    if not folder.is_dir():
        raise GitopsError(f"{folder}: no such folder; name the data folder of an environment")
    found: list[Scores] = []
    for number, path in enumerate(sorted(folder.glob("date=*/*.json"))):
        if number == _MOST:
            raise GitopsError(f"{folder}: more than {_MOST:,} summaries")
        try:
            summary = record.read(Summary, parse.file(path, record.LARGEST))
        except (OSError, ParseError):
            continue  # of an earlier version, which named no model
        if summary.model_sha256 == model:
            found.append(Scores(path, summary))
    return found


def holders(trunk: Iterable[TrunkCommit], models: Mapping[str, str | None], model: str) -> list[TrunkCommit]:
    """Return the commits of main with a model, by the model of each commit that may have another one."""
    found: list[TrunkCommit] = []
    present: str | None = None
    for commit in trunk:
        present = models.get(commit.commit.id, present)
        if present == model:
            found.append(commit)
    return found
