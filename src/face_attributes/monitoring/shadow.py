"""A shadow: another model that scored the same batches as the model of the release, compared with it.

The two are compared by their files of scores, image by image. Without labels that shows how often they agree;
where true attributes are known, also which of them is right more often, by the test that gates a promotion.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from face_attributes.common.errors import DataError, ModelError
from face_attributes.common.files import write_json
from face_attributes.evaluation import compare, slices
from face_attributes.evaluation.predictions import Predictions
from face_attributes.model import latency
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring import late_labels, score_files
from face_attributes.monitoring.late_labels import LateLabels
from face_attributes.monitoring.performance import MINIMUM

FORMAT = 1
AT_MOST = 6_400
"""Labelled images: more make the intervals no narrower than matters, and take minutes."""

_BINS = 50
_DIGITS = 4
_OTHER = "shadow:"


@dataclass
class _Attribute:
    """The answers of both models about an attribute, added up."""

    same: int
    yes: int
    incumbent_yes: int
    histogram: np.ndarray
    incumbent_histogram: np.ndarray

    @classmethod
    def nothing(cls) -> "_Attribute":
        return cls(0, 0, 0, np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64))

    def add(self, table: pa.Table, name: str) -> None:
        ours, theirs = (table.column(column).to_numpy() for column in (name, f"{_OTHER}{name}"))
        self.incumbent_yes += int(ours.sum())
        self.yes += int(theirs.sum())
        self.same += int((ours == theirs).sum())
        for histogram, column in (
            (self.incumbent_histogram, f"{name}_score"),
            (self.histogram, f"{_OTHER}{name}_score"),
        ):
            histogram += np.histogram(table.column(column).to_numpy(), _BINS, (0.0, 1.0))[0]

    def figures(self, images: int) -> dict[str, float]:
        """Return the shares, and the largest distance between the distributions of both models' scores."""
        apart = np.abs(np.cumsum(self.histogram) - np.cumsum(self.incumbent_histogram)).max() / images
        return {
            "agreement": round(self.same / images, _DIGITS),
            "yes": round(self.yes / images, _DIGITS),
            "incumbent_yes": round(self.incumbent_yes / images, _DIGITS),
            "distance": round(float(apart), _DIGITS),
        }


def shadow(
    scores: Path,
    shadow_scores: Path,
    model: Path,
    incumbent: Path,
    labels: Iterable[Path],
    out: Path,
    since: datetime | None = None,
) -> dict[str, Any]:
    """Compare the scores of a shadow with those of the release, and write the figures to `out`.

    Args:
        scores: The folder with the files of scores that are used: those of the release, and of a canary.
        shadow_scores: The folder with those of the other model of the two for the same batches. Batches that
            have a file in only one of the two do not count.
        model: The model of the shadow.
        incumbent: The model of the release.
        labels: Attribute lists, or folders of them. One that cannot be used is left out and named in the log.
        out: JSON file to write.
        since: The time from which images count that a canary answered.

    Returns:
        The content of `out`. `comparison` is None with fewer than MINIMUM labelled images.

    Raises:
        DataError: A file cannot be read, or no image was scored by both.
        ModelError: A file is not a model, or the two have no attribute in common.

    """
    new, old = Model(model), Model(incumbent)
    attributes = [name for name in new.attributes if name in old.attributes]
    if not attributes:
        raise ModelError(f"{model}: has no attribute in common with {incumbent}")
    truths = LateLabels(late_labels.files_in(labels), attributes)
    rows = {name: _Attribute.nothing() for name in attributes}
    labelled: list[pa.Table] = []
    images = batches = answered = 0
    for path, table in _pairs(scores, shadow_scores, old.sha256, new.sha256, attributes):
        images, batches = images + table.num_rows, batches + 1
        if since is not None and _is_of(path, new.sha256) and path.stat().st_mtime >= since.timestamp():
            answered += table.num_rows
        for name, row in rows.items():
            row.add(table, name)
        names = table.column(score_files.NAME).to_pylist()
        labelled.append(table.filter(pa.array([truths.find(name) is not None for name in names], pa.bool_())))
    if not images:
        raise DataError(f"{shadow_scores}: no image there was scored by the release too")
    found, seen = score_files.sample(labelled, AT_MOST)
    earlier = _earlier(out, new, old)
    shares = {name: row.figures(images) for name, row in rows.items()}
    figures = {
        "format": FORMAT,
        "model_sha256": new.sha256,
        "incumbent_sha256": old.sha256,
        "images": images,
        "batches": batches,
        "answered": answered,
        "agreement": round(float(np.mean([row["agreement"] for row in shares.values()])), _DIGITS),
        "per_attribute": shares,
        "only_model": [name for name in new.attributes if name not in attributes],
        "only_incumbent": [name for name in old.attributes if name not in attributes],
        "latency": {
            f"batch_{batch}": _milliseconds(latency.ratio(new, old, batch)) for batch in latency.BATCHES
        },
        "labelled": seen,
        "comparison": None if found is None or seen < MINIMUM else _look(found, truths, attributes, earlier),
    }
    write_json(out, figures)
    return figures


def _pairs(
    scores: Path, shadow_scores: Path, release_sha256: str, shadow_sha256: str, attributes: Sequence[str]
) -> Iterable[tuple[Path, pa.Table]]:
    """Yield for each batch that both scored the file in `scores`, and the rows that both have."""
    ours = {path.name: path for path in score_files.files_in([scores], score_files.ALL)}
    columns = [*attributes, *(f"{name}_score" for name in attributes)]
    for theirs in score_files.files_in([shadow_scores], score_files.ALL):
        if theirs.name not in ours:
            continue
        # Of a canary, the file in `scores` may be that of either model.
        both = [ours[theirs.name], theirs]
        own = _whole(score_files.read(both, release_sha256, [*columns, slices.BRIGHTNESS]))
        other = _whole(score_files.read(both, shadow_sha256, columns))
        if own is None or other is None:
            continue
        other = other.rename_columns([score_files.NAME, *(f"{_OTHER}{name}" for name in columns)])
        joined = own.join(other, score_files.NAME, join_type="inner").sort_by(score_files.NAME)
        if joined.num_rows:
            yield both[0], joined


def _is_of(path: Path, model_sha256: str) -> bool:
    """Return whether a file of scores is of a model."""
    return any(True for _ in score_files.read([path], model_sha256, []))


def _whole(tables: Iterable[pa.Table]) -> pa.Table | None:
    found = list(tables)
    return pa.concat_tables(found) if found else None


def _earlier(out: Path, new: Model, old: Model) -> dict[str, Any] | None:
    """Return the comparison of these models that an earlier call wrote to `out`, or None."""
    if not out.is_file():
        return None
    figures = json.loads(out.read_bytes())
    same = (figures["model_sha256"], figures["incumbent_sha256"]) == (new.sha256, old.sha256)
    return figures["comparison"] if same else None


def _look(
    table: pa.Table, truths: LateLabels, attributes: Sequence[str], earlier: dict[str, Any] | None
) -> dict[str, Any]:
    """Compare both on 100, 200, 400 ... images, each number once.

    A comparison after each batch would call a model worse by chance sooner or later.
    """
    count = MINIMUM
    while 2 * count <= table.num_rows:
        count *= 2
    if earlier is not None and earlier["samples"] == count:
        return earlier
    chosen, _ = score_files.sample([table], count)
    assert chosen is not None
    return _judge(chosen, truths, attributes)


def _judge(table: pa.Table, truths: LateLabels, attributes: Sequence[str]) -> dict[str, Any]:
    names = table.column(score_files.NAME).to_pylist()
    truth = np.stack([label for label in map(truths.find, names) if label is not None])
    labels = dict(zip(attributes, truth.T, strict=True))
    brightness = table.column(slices.BRIGHTNESS).to_numpy()

    def said(prefix: str) -> Predictions:
        decisions = np.stack([table.column(f"{prefix}{name}").to_numpy() for name in attributes], axis=1)
        scores = np.stack([table.column(f"{prefix}{name}_score").to_numpy() for name in attributes], axis=1)
        return Predictions(names, scores, decisions, truth, labels, brightness)

    return compare.judge(attributes, said(_OTHER), said(""))


def _milliseconds(ratio: latency.Ratio) -> dict[str, float]:
    return {
        "p50_ms": round(ratio.p50_ms, 3),
        "incumbent_p50_ms": round(ratio.other_p50_ms, 3),
        "ratio": round(ratio.value, 3),
        "ratio_low": round(ratio.low, 3),
    }


def told(figures: dict[str, Any]) -> str:
    """Return the result in one line."""
    least = min(figures["per_attribute"], key=lambda name: figures["per_attribute"][name]["agreement"])
    share = figures["per_attribute"][least]["agreement"]
    line = (
        f"shadow: agrees in {figures['agreement']:.2%} of the answers about {figures['images']} images; "
        f"least in {least}, {share:.2%}"
    )
    if figures["comparison"] is None:
        return f"{line}; {figures['labelled']} labelled images, a comparison takes {MINIMUM}"
    mean = figures["comparison"]["mean_accuracy"]
    return f"{line}; {json.dumps(round(100 * mean['difference'], 2))} points of accuracy on labelled ones"
