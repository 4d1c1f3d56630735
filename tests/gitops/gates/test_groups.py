"""The gates about groups, rare attributes and contradictions, on answers with planted faults."""

import base64
import json
import re

import numpy as np
import pytest

from face_attributes.common import contradictions as of_models
from face_attributes.evaluation import groups as measured
from face_attributes.evaluation import slices
from gitops.gates import contradictions, groups, recorded
from gitops.gates.comparison import Answers, Group
from gitops.gates.gates import GateResult, judge
from gitops.gates.rows import REGRESSION, Side, answered
from gitops.gates.significance import wilson
from gitops.model.decisions import Decisions
from gitops.paths import EVALUATION
from gitops.release.settings import Settings
from gitops.release.snapshot import Snapshot
from tests.gitops.gates.test_gates import DEV, SETTINGS, lock
from tests.gitops.gates.test_recorded import bits
from tests.support.figures import model_files
from tests.support.snapshots import release

NAMES = ("Male", "Young", "Pale_Skin", "Smiling", "Big_Nose", "Wearing_Necklace", "Bald", "Bangs")
SHARES = (0.42, 0.77, 0.05, 0.48, 0.24, 0.06, 0.1, 0.15)
IMAGES = 4000


def faces(seed: int = 1) -> np.ndarray:
    """Return true attributes, (N, A); nobody is bald with bangs."""
    truth = np.random.default_rng(seed).random((IMAGES, len(NAMES))) < SHARES
    truth[:, NAMES.index("Bangs")] &= ~truth[:, NAMES.index("Bald")]
    return truth


TRUTH = faces()
MALE = TRUTH[:, NAMES.index("Male")]


def answers(seed: int, missed: float = 0.2, false: float = 0.06) -> np.ndarray:
    """Return the answers of a model that misses some of the yes, and answers some of the no with yes.

    Models err on much the same images.
    """
    hard, own = (np.random.default_rng(one).random(TRUTH.shape) for one in (7, [seed, 1]))
    return TRUTH ^ (0.7 * hard + 0.3 * own < np.where(TRUTH, missed, false))


def decisions(decided: np.ndarray, model: str = "a" * 64) -> Decisions:
    labels = dict(zip(NAMES, TRUTH.T, strict=True))
    parts = slices.split(labels, np.random.default_rng(3).random(IMAGES))
    content = {
        "format": 1,
        "model_sha256": model,
        "holdout_md5": "a" * 32,
        "samples": IMAGES,
        "images": base64.b64encode(np.arange(IMAGES, dtype=">u8").tobytes()).decode(),
        "attributes": {
            name: {"truth": bits(true), "decisions": bits(one)}
            for name, true, one in zip(NAMES, TRUTH.T, decided.T, strict=True)
        },
        "slices": {part.name: {"by": part.by, "images": bits(part.images)} for part in parts},
    }
    return Decisions.model_validate_json(json.dumps(content))


def rows(new: np.ndarray, old: np.ndarray, **limits: float) -> dict[str, GateResult]:
    comparison = recorded.compare(decisions(new), decisions(old, "b" * 64))
    return {row.gate: row for row in answered([Side(REGRESSION, "the incumbent", comparison)], asked(limits))}


def asked(limits: dict[str, float]) -> Settings:
    content = SETTINGS
    for key, value in limits.items():
        content = re.sub(rf"^{key.upper()}=.*$", f"{key.upper()}={value}", content, flags=re.MULTILINE)
    return Settings.from_file(content.encode(), "dev")


def failed(new: np.ndarray, old: np.ndarray, **limits: float) -> list[str]:
    return [gate for gate, row in rows(new, old, **limits).items() if not row.ok]


def halved(decided: np.ndarray, attribute: str, who: np.ndarray) -> np.ndarray:
    """Halve the recall in one group, and leave the accuracy as it is: as many false alarms become right."""
    changed, column = decided.copy(), NAMES.index(attribute)
    hits = np.flatnonzero(who & TRUTH[:, column] & decided[:, column])[::2]
    alarms = np.flatnonzero(who & ~TRUTH[:, column] & decided[:, column])
    assert 20 < len(hits) <= len(alarms)
    changed[hits, column] = False
    changed[alarms[: len(hits)], column] = False
    return changed


@pytest.mark.parametrize("attribute", ["Big_Nose", "Smiling"])
def test_the_halved_recall_of_one_group_is_refused_though_the_accuracy_stays(attribute: str) -> None:
    old = answers(1, missed=0.35, false=0.42)
    new = halved(old, attribute, ~MALE)
    assert (new == TRUTH).mean() == (old == TRUTH).mean()
    # So poor a model contradicts itself; that is another gate
    assert failed(new, old, max_contradictions=1) == [groups.WORSE]
    row = rows(new, old)[groups.WORSE]
    assert re.match(rf"{attribute} of not Male: yes found -0\.\d+, others \+0\.0000 \(-0\.\d+, p ", row.value)


def test_equal_models_pass() -> None:
    refused = sum(bool(failed(answers(2 * seed), answers(2 * seed + 1))) for seed in range(1, 16))
    # At a rate of 5 %, more than 4 of 15 in 1 of 1,700 trials
    assert refused <= 4


def test_a_model_that_answers_yes_more_rarely_to_everybody_leaves_no_group_behind() -> None:
    cautious = answers(1) & (np.random.default_rng(5).random(TRUTH.shape) < 0.95)
    assert groups.WORSE not in failed(cautious, answers(1))


def test_a_planted_gap_is_refused_and_the_limit_counts() -> None:
    column = NAMES.index("Big_Nose")
    decided = answers(1)
    decided[~MALE, column] &= np.random.default_rng(2).random((~MALE).sum()) < 0.1
    assert failed(decided, decided) == []
    (gate,) = failed(decided, decided, max_tpr_gap=0.5)
    row = rows(decided, decided, max_tpr_gap=0.5)[gate]
    assert gate == groups.GAP
    assert row.value.startswith("Big_Nose of not Male (0.0")
    assert "others 0.8" in row.value
    assert failed(answers(1), answers(1), max_tpr_gap=0.2) == []


def test_a_rare_attribute_is_held_against_its_balanced_accuracy() -> None:
    column = NAMES.index("Wearing_Necklace")
    old = answers(1, missed=0.3, false=0.2)
    new = halved(old, "Wearing_Necklace", np.ones(IMAGES, bool))
    assert (new[:, column] == TRUTH[:, column]).mean() == (old[:, column] == TRUTH[:, column]).mean()
    assert groups.RARE_WORSE in failed(new, old)
    assert rows(new, old)[groups.RARE_WORSE].value.startswith("Wearing_Necklace (-0.")
    assert groups.RARE_WORSE not in failed(new, old, max_balanced_loss=0.5)


def test_constant_answers_are_refused() -> None:
    old = answers(1)
    for name in ("Wearing_Necklace", "Big_Nose", "Bald"):
        new = old.copy()
        new[:, NAMES.index(name)] = False
        assert failed(new, old)
    assert groups.RARE_WORSE in failed(new, old)


def test_contradictory_answers_are_refused() -> None:
    new = answers(1)
    new[:, NAMES.index("Bangs")] |= new[:, NAMES.index("Bald")]
    row = rows(new, new)[groups.CONTRADICTIONS]
    assert not row.ok
    assert re.match(r"9\.\d\d% of 4,000 images", row.value)
    assert rows(new, new, max_contradictions=0.2)[groups.CONTRADICTIONS].ok
    assert rows(answers(1), answers(1))[groups.CONTRADICTIONS].ok


def test_both_sides_know_the_same_contradictions() -> None:
    assert contradictions.PAIRS == of_models.PAIRS
    found, pairs = of_models.images(NAMES, TRUTH | MALE[:, None])
    packed = {
        name: int.from_bytes(np.packbits(column).tobytes())
        for name, column in zip(NAMES, (TRUTH | MALE[:, None]).T, strict=True)
    }
    assert contradictions.count(packed) == found.sum() == pairs["Bald and Bangs"] > 0


def test_models_and_recorded_decisions_are_counted_alike() -> None:
    new, old = answers(1), answers(2)
    found = recorded.compare(decisions(new), decisions(old))
    labels = dict(zip(NAMES, TRUTH.T, strict=True))
    parts = slices.split(labels, np.random.default_rng(3).random(IMAGES))
    everybody = slices.Slice(measured.EVERYBODY, "all", np.ones(IMAGES, bool))
    counted = measured.counts(NAMES, new, old, TRUTH, [everybody, *parts])
    assert {name: Group.model_validate(row) for name, row in counted.items()} == found.groups
    assert "Male" not in found.groups["Male and Young"].per_attribute


def first(decided: np.ndarray) -> tuple[Snapshot, Decisions]:
    files = model_files("a", float((decided == TRUTH).mean()), samples=IMAGES, attributes=NAMES)
    digest = json.loads(files[EVALUATION])["model_sha256"]
    return release(files | lock("a" * 32)), decisions(decided, digest)


def test_the_first_model_is_judged_by_its_own_decisions() -> None:
    new = answers(1)
    new[:, NAMES.index("Bangs")] |= new[:, NAMES.index("Bald")]
    for decided, ok in ((answers(1), True), (new, False)):
        commit, own = first(decided)
        found = {row.gate: row for row in judge(commit, None, DEV, decisions=lambda _, own=own: own)}
        assert found[groups.GAP].ok
        assert found[groups.CONTRADICTIONS].ok is ok


def test_decisions_of_another_model_judge_nothing() -> None:
    commit, _ = first(answers(1))
    other = decisions(answers(1), "f" * 64)
    (row,) = [row for row in judge(commit, None, DEV, decisions=lambda _: other) if not row.ok]
    assert row.value.startswith("not known: the decisions of ")


def test_a_comparison_of_earlier_code_has_no_rows_about_groups() -> None:
    found = recorded.compare(decisions(answers(1)), decisions(answers(2)))
    earlier = Answers.model_validate(found.model_dump(exclude={"groups", "contradictions"}))
    gates = {row.gate for row in answered([Side(REGRESSION, "the incumbent", earlier)], DEV)}
    assert not gates & {groups.WORSE, groups.RARE_WORSE, groups.GAP, groups.CONTRADICTIONS}


@pytest.mark.parametrize(("hits", "count"), [(0, 30), (7, 30), (30, 30), (421, 4000)])
def test_both_sides_have_the_same_intervals(hits: int, count: int) -> None:
    assert wilson(hits, count, 1.959963984540054) == pytest.approx(measured.wilson(hits, count))
