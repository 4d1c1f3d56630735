"""Evaluate: the exported model, on ONNX Runtime, on photographs that no training saw."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import metrics as scores

from face_attributes import gallery, images
from face_attributes.decoding import BATCH, ahead
from face_attributes.errors import DataError, ImageError
from face_attributes.files import write_json, write_text
from face_attributes.model import Model
from face_attributes.params import EvaluateParams
from face_attributes.paths import ACCURACIES, EVALUATION, HOLDOUT, MODEL, SUMMARY, WORST_ERRORS
from face_attributes.progress import bar
from face_attributes.shards import ShardReader

_DIGITS = 4
# The figures that fit on a line; the file with all of them has some three hundred
_SUMMARY = ("mean_accuracy", "majority_accuracy", "mean_balanced_accuracy", "samples", "profile")


@dataclass(frozen=True)
class Answers:
    """What a model said about N hold-out images, and what is true of them; arrays are (N, A)."""

    ids: list[str]
    probabilities: np.ndarray
    decisions: np.ndarray
    truth: np.ndarray


def run(params: EvaluateParams) -> None:
    """Run the stage: evaluate the exported model, and write the figures, their summary and the plots.

    Raises:
        ModelError: the file is not a model.
        DataError: the hold-out set is damaged.

    """
    model, answers = evaluate(params, MODEL, HOLDOUT, EVALUATION)
    figures = json.loads(EVALUATION.read_text(encoding="utf-8"))
    write_json(SUMMARY, {name: figures[name] for name in _SUMMARY})
    _plot_accuracies(figures["per_attribute"], ACCURACIES)
    _plot_worst_errors(model, answers, HOLDOUT, params.worst, WORST_ERRORS)


def evaluate(params: EvaluateParams, model: Path, holdout: Path, out: Path) -> tuple[Model, Answers]:
    """Evaluate any model on any hold-out set and write the figures to `out`.

    Raises:
        ModelError: the file is not a model.
        DataError: the hold-out set is damaged or lacks an attribute of the model.

    """
    loaded = Model(model)
    answers = ask(loaded, holdout)
    figures = judge(loaded, answers, params)
    write_json(out, figures)
    print(
        f"evaluate: mean accuracy {figures['mean_accuracy']:.2%} on {figures['samples']} images, "
        f"majority class {figures['majority_accuracy']:.2%}, balanced {figures['mean_balanced_accuracy']:.2%}"
    )
    return loaded, answers


def ask(model: Model, holdout: Path) -> Answers:
    """Score every image of a hold-out set, from its JPEG bytes, through the model."""
    reader = ShardReader([holdout])
    missing = [name for name in model.attributes if name not in reader.attributes]
    if missing:
        raise DataError(f"{holdout}: has no labels for {missing[0]}, which the model predicts")
    total = sum(reader.partition_sizes().values())
    if not total:
        raise DataError(f"{holdout}: holds no images")
    columns = [reader.attributes.index(name) for name in model.attributes]
    ids: list[str] = []
    labels: list[np.ndarray] = []
    probabilities: list[np.ndarray] = []

    def rows() -> Iterator[tuple[str, bytes]]:
        for some in reader.batches():
            ids.extend(some.ids)
            labels.append(some.labels[:, columns])
            yield from zip(some.ids, some.jpegs, strict=True)

    def decode(row: tuple[str, bytes]) -> np.ndarray:
        try:
            return images.decode(row[1])
        except ImageError as error:
            raise DataError(f"{holdout}: image {row[0]}: {error}") from None

    with bar("evaluate", total, "images") as progress:
        batch: list[np.ndarray] = []
        for image in ahead(decode, rows()):
            batch.append(image)
            if len(batch) == BATCH:
                probabilities.append(model.predict(np.stack(batch)))
                progress.update(len(batch))
                batch.clear()
        if batch:
            probabilities.append(model.predict(np.stack(batch)))
            progress.update(len(batch))
    answered = np.concatenate(probabilities)
    return Answers(ids, answered, model.decide(answered), np.concatenate(labels))


def judge(model: Model, answers: Answers, params: EvaluateParams) -> dict:
    """Return the figures of an evaluation. What is undefined (no positive image, say) is None."""
    random = np.random.default_rng(params.seed)
    correct = answers.decisions == answers.truth
    per_attribute = {}
    for index, name in enumerate(model.attributes):
        truth, decided = answers.truth[:, index], answers.decisions[:, index]
        accuracy = float(correct[:, index].mean())
        # Resampling a column of right and wrong answers is drawing from a binomial distribution
        resampled = random.binomial(len(truth), accuracy, params.bootstrap) / len(truth)
        low, high = np.quantile(resampled, (0.025, 0.975))
        both = bool(truth.any() and not truth.all())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of undefined figures, which are None below
            per_attribute[name] = _rounded(
                accuracy=accuracy,
                accuracy_low=low,
                accuracy_high=high,
                majority_accuracy=max(truth.mean(), 1 - truth.mean()),
                balanced_accuracy=scores.balanced_accuracy_score(truth, decided),
                f1=scores.f1_score(truth, decided, zero_division=0.0) if truth.any() else None,
                average_precision=(
                    scores.average_precision_score(truth, answers.probabilities[:, index]) if both else None
                ),
                roc_auc=scores.roc_auc_score(truth, answers.probabilities[:, index]) if both else None,
                positives=truth.mean(),
            )
    each_image = correct.mean(axis=1)
    count = len(each_image)
    means = [each_image[random.integers(count, size=count)].mean() for _ in range(params.bootstrap)]
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "profile": model.profile,
        "samples": len(answers.ids),
        "model_sha256": model.sha256,
        **_rounded(
            mean_accuracy=correct.mean(),
            mean_accuracy_low=low,
            mean_accuracy_high=high,
            majority_accuracy=np.mean([row["majority_accuracy"] for row in per_attribute.values()]),
            mean_balanced_accuracy=np.mean([row["balanced_accuracy"] for row in per_attribute.values()]),
        ),
        "per_attribute": per_attribute,
    }


def _plot_accuracies(rows: dict[str, dict], path: Path) -> None:
    lines = ["attribute,accuracy,majority"]
    for name in sorted(rows, key=lambda name: rows[name]["accuracy"]):
        lines.append(f"{name},{rows[name]['accuracy']},{rows[name]['majority_accuracy']}")
    write_text(path, "\n".join(lines) + "\n")


def _plot_worst_errors(model: Model, answers: Answers, holdout: Path, count: int, path: Path) -> None:
    """Draw the images about which the model was most sure and wrong, each with its worst error."""
    wrong = answers.decisions != answers.truth
    margin = np.abs(answers.probabilities - model.thresholds) * wrong
    worst = margin.max(axis=1)
    chosen = [int(index) for index in np.argsort(-worst, kind="stable")[:count] if worst[index] > 0]
    if not chosen:
        chosen = [0]
    jpegs: dict[int, bytes] = {}
    position = 0
    for rows in ShardReader([holdout]).batches():
        wanted = [index for index in chosen if position <= index < position + len(rows)]
        jpegs |= {index: rows.jpegs[index - position] for index in wanted}
        position += len(rows)
    labels = []
    for index in chosen:
        attribute = int(margin[index].argmax())
        probability = answers.probabilities[index, attribute]
        truth = "yes" if answers.truth[index, attribute] else "no"
        labels.append([model.attributes[attribute], f"said {probability:.0%}, is {truth}"])
    names = [answers.ids[index] for index in chosen]
    path.parent.mkdir(parents=True, exist_ok=True)
    gallery.sheet([images.decode(jpegs[index]) for index in chosen], names, labels, path)


def _rounded(**figures: float | None) -> dict[str, float | None]:
    return {name: None if value is None else round(float(value), _DIGITS) for name, value in figures.items()}
