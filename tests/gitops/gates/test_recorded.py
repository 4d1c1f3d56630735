"""Decisions that commits record: written by a release, read here, and compared without models."""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.evaluation import compare as of_models
from face_attributes.evaluation import slices
from face_attributes.evaluation.predictions import Predictions
from gitops.errors import ComparisonError, GateError
from gitops.gates import recorded
from gitops.gates.comparison import Answers
from gitops.gates.gates import judge
from gitops.gates.rows import DEAD, REGRESSION, Side, answered
from gitops.gates.significance import p_sign
from gitops.model import decisions
from gitops.model.decisions import Decisions
from gitops.paths import DECISIONS, EVALUATION
from gitops.release.settings import load
from gitops.release.snapshot import Snapshot
from tests.gitops.gates.test_gates import DEV, lock
from tests.support.figures import model_files
from tests.support.lab import ROOT, Lab
from tests.support.snapshots import release

NAMES = ("Male", "Young", "Smiling")


def bits(values: np.ndarray) -> str:
    return base64.b64encode(np.packbits(values, bitorder="little").tobytes()).decode()


def population(seed: int, count: int) -> np.ndarray:
    """Return true attributes, (N, A)."""
    return np.random.default_rng(seed).random((count, len(NAMES))) < (0.4, 0.7, 0.05)


def answers(truth: np.ndarray, seed: int, wrong: float) -> np.ndarray:
    return truth ^ (np.random.default_rng([seed, 1]).random(truth.shape) < wrong)


def content(
    truth: np.ndarray,
    decided: np.ndarray,
    *,
    model: str = "a" * 64,
    md5: str = "a" * 32,
    names: Sequence[str] = NAMES,
    brightness: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
) -> bytes:
    """Return the file that a release writes about its hold-out set, whose images have these numbers."""
    if numbers is None:
        numbers = np.arange(len(truth))
    labels = dict(zip(names, truth.T, strict=True))
    if brightness is None:
        brightness = np.arange(len(truth), dtype=float)
    parts = slices.split(labels, brightness)
    return json.dumps(
        {
            "format": 1,
            "model_sha256": model,
            "holdout_md5": md5,
            "samples": len(truth),
            "images": base64.b64encode(numbers.astype(">u8").tobytes()).decode(),
            "attributes": {
                name: {"truth": bits(true), "decisions": bits(answer)}
                for name, true, answer in zip(names, truth.T, decided.T, strict=True)
            },
            "slices": {part.name: {"by": part.by, "images": bits(part.images)} for part in parts},
        }
    ).encode()


def read(
    truth: np.ndarray,
    decided: np.ndarray,
    names: Sequence[str] = NAMES,
    brightness: np.ndarray | None = None,
) -> Decisions:
    return Decisions.model_validate_json(content(truth, decided, names=names, brightness=brightness))


def test_recorded_decisions_give_what_a_comparison_of_the_models_gives() -> None:
    truth = population(1, 1500)
    new, old = answers(truth, 2, 0.12), answers(truth, 3, 0.1)
    labels = dict(zip(NAMES, truth.T, strict=True))
    images = np.arange(len(truth), dtype=float)
    expected = of_models.judge(
        NAMES,
        *(
            Predictions([""] * len(truth), np.zeros(truth.shape), one, truth, labels, images)
            for one in (new, old)
        ),
        resamplings=2000,
    )
    found = recorded.compare(read(truth, new), read(truth, old)).model_dump()
    assert found["samples"] == 1500
    rows = [(found["mean_accuracy"], expected["mean_accuracy"])]
    rows += [(found["per_attribute"][name], expected["per_attribute"][name]) for name in NAMES]
    parts = [(found["slices"][name], row) for name, row in expected["slices"].items()]
    for one, other in rows + parts:
        for key in ("difference", "p_worse"):
            assert one[key] == pytest.approx(other[key], abs=1e-6)
        # A slice has fewer images, so that its resampled interval varies more
        for key in ("low", "high"):
            assert one[key] == pytest.approx(other[key], abs=0.003 if (one, other) in rows else 0.005)
    for one, other in rows:
        for key in ("accuracy", "incumbent"):
            assert one[key] == pytest.approx(other[key], abs=1e-6)
    assert [found["per_attribute"][name]["rare"] for name in NAMES] == [
        expected["per_attribute"][name]["rare"] for name in NAMES
    ]
    assert set(found["slices"]) == set(expected["slices"])
    for name, row in expected["slices"].items():
        assert found["slices"][name]["count"] == row["count"]


def test_a_hold_out_set_that_grew_keeps_its_old_part() -> None:
    truth = population(1, 1200)
    new, old = answers(truth, 2, 0.12), answers(truth, 3, 0.1)
    # The same images in another order, with 200 images more
    order = np.random.default_rng(5).permutation(1200)
    grown = json.loads(content(truth[order], new[order]))
    grown["images"] = base64.b64encode(order.astype(">u8").tobytes()).decode()
    before = read(truth[:1000], old[:1000])
    found = recorded.compare(Decisions.model_validate_json(json.dumps(grown)), before)
    direct = recorded.compare(read(truth[:1000], new[:1000]), before)
    assert (found.samples, found.mean_accuracy, found.per_attribute) == (
        1000,
        direct.mean_accuracy,
        direct.per_attribute,
    )
    with pytest.raises(
        ComparisonError, match="200 of the 1200 images that aaaaaaaaaaaa was judged by are not"
    ):
        recorded.compare(read(truth[:1000], new[:1000]), read(truth, old))


def test_a_candidate_chooses_neither_the_true_answers_nor_the_slices() -> None:
    truth = population(1, 1500)
    new, old = answers(truth, 2, 0.3), read(truth, answers(truth, 3, 0.1))
    honest = recorded.compare(read(truth, new), old)
    # It records its own answers as the true ones, and no slices
    forged = json.loads(content(new, new)) | {"slices": {}}
    found = recorded.compare(Decisions.model_validate_json(json.dumps(forged)), old)
    assert found == honest
    assert found.mean_accuracy.difference < -0.15
    assert found.slices


def test_an_equal_model_is_refused_in_at_most_a_twentieth() -> None:
    truth = population(1, 400)
    refused = 0
    for seed in range(100):
        new, old = (read(truth, answers(truth, 2 * seed + side, 0.1)) for side in (10, 11))
        refused += recorded.compare(new, old).mean_accuracy.p_worse <= 0.05
    # 5 expected; more than 13 in 1 of 1,000 trials
    assert refused <= stats.binom.isf(0.001, 100, 0.05)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"samples": 10}, "images: not 8 bytes for each of 10 images"),
        ({"images": "!"}, "images: String should match pattern"),
        ({"images": "A"}, "content: Value error, Invalid base64"),
        ({"attributes": {}}, "attributes: Dictionary should have at least 1 item"),
        ({"attributes": {"Male": {"truth": "AAAA", "decisions": "AAAA"}}}, "Male: not a bit for each"),
        ({"format": 2}, "format 2, where this version reads 1"),
    ],
)
def test_decisions_that_no_release_writes(lab: Lab, change: dict[str, Any], says: str) -> None:
    truth = population(1, 100)
    damaged = json.loads(content(truth, truth)) | change
    commit = lab.commit({DECISIONS: json.dumps(damaged).encode()})
    with pytest.raises(GateError, match=f"{DECISIONS} in {commit[:12]}: .*{says}"):
        decisions.of_commit(lab.origin, commit)


def recording(name: str, seed: int, wrong: float, **options: str) -> tuple[Snapshot, Decisions]:
    """Return a release without a DVC remote, and the decisions that it records."""
    truth = population(1, 2000)
    decided = answers(truth, seed, wrong)
    files = model_files(name, 1 - float((decided ^ truth).mean()), attributes=NAMES)
    digest = json.loads(files[EVALUATION])["model_sha256"]
    known = content(truth, decided, **{"model": digest, **options})
    return release(files | lock("a" * 32)), Decisions.model_validate_json(known)


def test_without_a_remote_the_recorded_decisions_are_compared() -> None:
    incumbent, before = recording("a", 3, 0.1)
    worse, own = recording("b", 4, 0.14)
    equal, alike = recording("c", 5, 0.1)
    for commit, found, passes in ((worse, own, False), (equal, alike, True)):
        known = {incumbent.commit: before, commit.commit: found}
        rows = {row.gate: row for row in judge(commit, incumbent, DEV, decisions=known.get)}
        assert rows[REGRESSION].ok is passes
        assert rows[REGRESSION].limit.endswith("(recorded decisions: models are not compared here)")
        assert "no attribute dead" in rows
        assert "latency" not in rows


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "0" * 64}, "are those of another model"),
        ({"md5": "b" * 32}, "are about another hold-out set"),
    ],
)
def test_decisions_that_do_not_belong_to_the_evaluation_are_refused(
    options: dict[str, str], says: str
) -> None:
    incumbent, before = recording("a", 3, 0.1)
    commit, found = recording("b", 4, 0.1, **options)
    known = {incumbent.commit: before, commit.commit: found}
    (row,) = [row for row in judge(commit, incumbent, DEV, decisions=known.get) if not row.ok]
    assert (row.gate, says in row.value) == (REGRESSION, True)


def test_decisions_that_give_another_accuracy_are_refused() -> None:
    incumbent, before = recording("a", 3, 0.1)
    commit, _ = recording("b", 4, 0.1)
    _, better = recording("b", 6, 0.05)
    known = {incumbent.commit: before, commit.commit: better}
    (row,) = [row for row in judge(commit, incumbent, DEV, decisions=known.get) if not row.ok]
    found = re.search(r"give the accuracy (0\.9[45]).*, and the evaluation (0\.[89])", row.value)
    assert found


def test_who_leaves_the_decisions_out_is_not_judged_by_less() -> None:
    incumbent, before = recording("a", 3, 0.1)
    commit, _ = recording("b", 4, 0.1)
    (row,) = [
        row for row in judge(commit, incumbent, DEV, decisions={incumbent.commit: before}.get) if not row.ok
    ]
    assert f"has no {DECISIONS}; run: source .venv/bin/activate && dvc repro evaluate" in row.value


@pytest.mark.parametrize("comparisons", [1, 2, 6])
@pytest.mark.parametrize("models", [True, False], ids=["of models", "recorded"])
@pytest.mark.parametrize("gate", ["no attribute worse", "no slice worse"])
def test_a_large_loss_is_refused_beside_any_number_of_comparisons(
    gate: str, models: bool, comparisons: int
) -> None:
    """All comparisons share one error rate, so each needs a smaller p-value beside others."""
    truth = np.random.default_rng(1).random((3500, len(CELEBA_ATTRIBUTES))) < 0.3
    chance = np.random.default_rng(2)
    old = truth ^ (chance.random(truth.shape) < 0.03)
    brightness = chance.random(len(truth))
    labels = dict(zip(CELEBA_ATTRIBUTES, truth.T, strict=True))
    flipped = np.zeros_like(truth)
    if gate == "no slice worse":
        flipped[brightness <= np.quantile(brightness, 1 / 3)] = True
        flipped &= chance.random(truth.shape) < 0.05
    else:
        flipped[:, CELEBA_ATTRIBUTES.index("Smiling")] = chance.random(len(truth)) < 0.15
    new = old ^ flipped
    found = (
        compared_models(list(CELEBA_ATTRIBUTES), truth, new, old, labels, brightness)
        if models
        else recorded.compare(
            read(truth, new, CELEBA_ATTRIBUTES, brightness), read(truth, old, CELEBA_ATTRIBUTES, brightness)
        )
    )
    sides = [Side(REGRESSION, "the incumbent", found)] * comparisons
    (row,) = [row for row in answered(sides, load("dev")) if row.gate == gate]
    assert not row.ok, row.value


def compared_models(
    names: list[str],
    truth: np.ndarray,
    new: np.ndarray,
    old: np.ndarray,
    labels: dict[str, np.ndarray],
    brightness: np.ndarray,
) -> Answers:
    """Return the comparison that the models make which decided `new` and `old`."""
    sides = (
        Predictions([""] * len(truth), np.zeros(truth.shape), one, truth, labels, brightness)
        for one in (new, old)
    )
    judged = of_models.judge(names, *sides, resamplings=200)
    keys = ("samples", "mean_accuracy", "per_attribute", "slices", "groups", "contradictions")
    return Answers.model_validate(
        {
            **{key: judged[key] for key in keys},
            "model_sha256": "a" * 64,
            "incumbent_sha256": "b" * 64,
            "only_model": [],
            "only_incumbent": [],
        }
    )


def test_the_page_names_the_fewest_images_that_show_a_dead_attribute() -> None:
    page = " ".join((ROOT / "docs/gates.md").read_text("utf-8").split())
    stated = re.search(r"recognized (\d+) such images; with two comparisons (\d+), with six (\d+)", page)
    assert stated
    attributes = len(CELEBA_ATTRIBUTES)
    fewest = [
        next(lost for lost in range(1, 100) if p_sign(lost, 0) * attributes * comparisons <= DEAD)
        for comparisons in (1, 2, 6)
    ]
    assert fewest == [int(number) for number in stated.groups()]


@given(count=st.integers(1, 40), gone=st.sets(st.integers(0, 45)), seed=st.integers(0, 1000))
def test_decisions_without_some_images_are_those_about_the_others(
    count: int, gone: set[int], seed: int
) -> None:
    truth = population(seed, count)
    decided = answers(truth, seed, 0.2)
    kept = np.array([number for number in range(count) if number not in gone], dtype=int)
    whole = Decisions.model_validate_json(content(truth, decided))
    found = whole.without({number.to_bytes(8, "big") for number in gone})
    if len(kept) in (0, count):
        assert found is whole
        return
    assert found.digests == [whole.digests[index] for index in kept]
    for column, name in enumerate(NAMES):
        one = found.attributes[name]
        assert found.bits(one.truth) == truth[kept, column].tolist()
        assert found.bits(one.decisions) == decided[kept, column].tolist()
    for name, part in whole.slices.items():
        assert found.bits(found.slices[name].images) == [whole.bits(part.images)[index] for index in kept]
