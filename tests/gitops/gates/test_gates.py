import json
import re
import time
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import binomtest, fisher_exact

from gitops.errors import ComparisonError, GateError, NotComparableError, SettingsError
from gitops.gates import anchors, gates, significance
from gitops.gates.comparison import Comparison, Rare, parse
from gitops.gates.gates import GateResult, judge, tolerance
from gitops.model.evaluation import Evaluation
from gitops.paths import EVALUATION, EXPORT
from gitops.release import settings
from gitops.release.settings import Settings
from gitops.release.snapshot import Snapshot
from tests.support.figures import COMPARISON, model_files
from tests.support.lab import ROOT
from tests.support.snapshots import release

SETTINGS = (ROOT / settings.path_of("dev")).read_text()
DEV = Settings.from_file(SETTINGS.encode(), "dev")


def trained(name: str, accuracy: float = 0.9, **options: Any) -> Snapshot:
    return release(model_files(name, accuracy, **options))


def outcome(commit: Snapshot, incumbent: Snapshot | None = None) -> dict[str, bool]:
    return {row.gate: row.ok for row in judge(commit, incumbent, DEV)}


def regression(rows: list[GateResult]) -> GateResult:
    return next(row for row in rows if row.gate == "no worse than the incumbent")


def compared(change: dict[str, Any] | None = None) -> Comparison:
    """A comparison in which nothing is worse, but for what `change` says: by the path of a value."""
    found = json.loads(json.dumps(COMPARISON))
    for path, value in (change or {}).items():
        *sections, key = path.split(".")
        section = found
        for name in sections:
            section = section[name]
        section[key] = value
    return parse(json.dumps(found).encode(), "comparison")


def beside(change: dict[str, Any] | None = None, **limits: str) -> dict[str, GateResult]:
    """The rows of a new model beside an incumbent, by their gates."""
    incumbent, commit = trained("a"), trained("b")
    asked: list[tuple[Snapshot, Snapshot]] = []

    def compare(one: Snapshot, other: Snapshot, /, *, refresh: bool = False) -> Comparison:
        asked.append((one, other))
        return compared(change)

    content = SETTINGS
    for key, value in limits.items():
        content = re.sub(rf"^{key}=.*$", f"{key}={value}", content, flags=re.MULTILINE)
    rows = judge(commit, incumbent, Settings.from_file(content.encode(), "dev"), compare)
    found = {row.gate: row for row in rows}
    # A latency that would refuse the model is measured again.
    assert asked == [(commit, incumbent)] * (1 if found["latency"].ok else 2)
    return found


def test_a_good_first_model_passes() -> None:
    commit = trained("a")
    assert outcome(commit) == {
        "profile": True,
        "mean accuracy": True,
        "no attribute without information": True,
        "ONNX equals PyTorch": True,
        "quantisation loss": True,
        "ONNX file unchanged since evaluation": True,
    }


def test_limits_are_inclusive() -> None:
    commit = trained("a", 0.85, difference=1e-3)
    assert all(outcome(commit).values())


@pytest.mark.parametrize(
    ("accuracy", "samples", "ok"), [(0.89, 2000, True), (0.87, 2000, False), (0.89, 10**6, False)]
)
def test_the_incumbent_counts_beyond_the_luck_of_sampling(accuracy: float, samples: int, ok: bool) -> None:
    incumbent = trained("a", 0.9, samples=samples)
    commit = trained("b", accuracy, samples=samples)
    assert outcome(commit, incumbent)["no worse than the incumbent"] is ok


def test_an_incumbent_without_figures_is_no_obstacle() -> None:
    incumbent = release({})
    assert "no worse than the incumbent" not in outcome(trained("a"), incumbent)


def test_another_hold_out_cannot_be_compared() -> None:
    def lock(digest: str) -> dict[str, bytes]:
        out = f"    - path: data/holdout.parquet\n      md5: {digest}\n"
        return {"dvc.lock": f"stages:\n  tune: {{}}\n  prepare:\n    cmd: x\n    outs:\n{out}".encode()}

    incumbent = release(model_files("a", 0.95) | lock("a" * 32))
    same = release(model_files("b", 0.9) | lock("a" * 32))
    other = release(model_files("b", 0.9) | lock("b" * 32))
    assert outcome(same, incumbent)["no worse than the incumbent"] is False
    row = regression(judge(other, incumbent, DEV))
    assert (row.value, row.limit) == (
        "0.9000 on other images",
        "a comparison on the same images (models are not compared here)",
    )
    assert not row.ok
    assert "dvc remote add --default" in row.remedy
    assert other.holdout == "b" * 32


@pytest.mark.parametrize("content", [b"{", b"[]", b"stages: {a: 5}", b"stages: []", b"\xff"])
def test_a_lock_that_dvc_did_not_write(content: bytes) -> None:
    broken = release({"dvc.lock": content})
    with pytest.raises(GateError, match=r"dvc\.lock in .*: not written by DVC"):
        assert broken.holdout


def test_tolerance_is_two_standard_errors_of_the_difference_by_the_recorded_intervals() -> None:
    files = json.loads(model_files("a", 0.9, samples=900)["metrics/evaluation.json"])
    # An image is right about most of its forty attributes: its accuracy varies less than one decision does
    narrow = files | {"mean_accuracy_low": 0.897, "mean_accuracy_high": 0.903}
    figures = Evaluation.model_validate(narrow)
    assert tolerance(figures, figures) == pytest.approx(2 * 2**0.5 * 0.003 / 1.96, rel=1e-4)
    without = Evaluation.model_validate(narrow | {"mean_accuracy_low": None})
    assert tolerance(figures, without) is None


def test_accuracies_without_intervals_are_not_compared() -> None:
    files = model_files("b")
    without = json.loads(files[EVALUATION])
    del without["mean_accuracy_low"]
    incumbent = trained("a")
    commit = release(files | {EVALUATION: json.dumps(without).encode()})
    row = regression(judge(commit, incumbent, DEV))
    assert (row.ok, row.remedy) == (False, "run: source .venv/bin/activate && dvc repro evaluate")


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"max_difference": 2e-3}, "ONNX equals PyTorch"),
        ({"decisions_changed": 1}, "ONNX equals PyTorch"),
        ({"accuracy_loss": 0.0011}, "quantisation loss"),
        ({"model_sha256": "0" * 64}, "ONNX file unchanged since evaluation"),
    ],
)
def test_what_ships_must_be_what_was_trained_and_evaluated(change: dict[str, object], failed: str) -> None:
    files = model_files("a")
    commit = release(files | {EXPORT: json.dumps(json.loads(files[EXPORT]) | change).encode()})
    assert [name for name, ok in outcome(commit).items() if not ok] == [failed]


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        (EVALUATION, {"mean_accuracy": 1.2}, "mean_accuracy: Input should be less than or equal to 1"),
        (EVALUATION, {"mean_accuracy": None}, "mean_accuracy: Input should be a valid number"),
        (EVALUATION, {"model_sha256": "abc"}, "model_sha256"),
        (EVALUATION, {"samples": 0}, "samples"),
        (EVALUATION, {"profile": "tiny"}, "profile"),
        (EXPORT, {"max_difference": float("nan")}, "max_difference"),
        (EXPORT, {"variant": "int4"}, "variant"),
    ],
)
def test_figures_that_make_no_sense(path: str, change: dict[str, object], says: str) -> None:
    files = model_files("a")
    commit = release(files | {path: json.dumps(json.loads(files[path]) | change).encode()})
    with pytest.raises(GateError) as caught:
        judge(commit, None, DEV)
    assert str(caught.value).startswith(f"{path} in {commit.commit[:12]}: {says}")
    assert "\n" not in str(caught.value)


def test_a_model_that_is_no_worse_passes_beside_the_incumbent() -> None:
    rows = beside()
    assert all(row.ok for row in rows.values())
    assert rows["no worse than the incumbent"] == GateResult(
        "no worse than the incumbent",
        "0.9010 (-0.0010, -0.0040 to +0.0020, p 0.3)",
        "no loss that may exceed 0.003 at p up to 0.01",
        "0.9020",
        True,
    )
    assert rows["no attribute worse"].value == "0 of 2 significantly worse"
    assert rows["no attribute dead"].value == "none of 2"
    assert rows["no slice worse"].limit == "no loss that may exceed 0.01 at p up to 0.0025"
    assert rows["no attribute worse"].limit == "no loss that may exceed 0.03 at p up to 0.008 (Holm)"
    assert rows["latency"] == GateResult(
        "latency",
        "1.50 times at batch 1, 1.10 times at batch 64, 3 ms for an image",
        "at most 2 times, 20 ms",
        "2 ms, 90 ms",
        True,
    )
    assert rows["size"].value == "1.10 times, 1,100,000 bytes"


SLOWER = {"p50_ms": 4.8, "incumbent_p50_ms": 2.0, "ratio": 2.4, "ratio_low": 2.0, "ratio_high": 2.8}
SURELY = {
    "accuracy": 0.9,
    "incumbent": 0.905,
    "difference": -0.005,
    "low": -0.008,
    "high": -0.002,
    "p_worse": 0.0,
}
"""A significant loss: its one-sided interval of 99% ends at -0.0086, that of 99.75% at -0.0093."""


@pytest.mark.parametrize(
    ("change", "failed", "value"),
    [
        ({"mean_accuracy.p_worse": 0.01}, "no worse than the incumbent", "p 0.01"),
        # One of two attributes: by Holm, its p-value counts twice
        (
            {"per_attribute.Smiling.p_worse": 0.004, "per_attribute.Smiling.low": -0.06},
            "no attribute worse",
            "Smiling -0.0020 (p 0.008)",
        ),
        ({"slices.dark.p_worse": 0.0025}, "no slice worse", "dark -0.0060 (p 0.0025)"),
        ({"latency.batch_64.ratio": 2.01}, "latency", "2.01 times at batch 64"),
        (
            {"latency.batch_1": SLOWER | {"ratio_low": 2.01}},
            "latency",
            "2.40 (2.01 to 2.80) times at batch 1, 1.10 times at batch 64, 4.8 ms for an image",
        ),
        ({"latency.batch_1.p50_ms": 20.1}, "latency", "20.1 ms for an image"),
        ({"size.ratio": 5.01}, "size", "5.01 times"),
        ({"size.bytes": 20_000_001}, "size", "20,000,001 bytes"),
    ],
)
def test_what_is_worse_than_the_incumbent_fails(change: dict[str, Any], failed: str, value: str) -> None:
    rows = beside(change)
    assert [name for name, row in rows.items() if not row.ok] == [failed]
    assert value in rows[failed].value


@pytest.mark.parametrize(
    ("change", "limits"),
    [
        # Just over the line of chance
        ({"mean_accuracy.p_worse": 0.0101}, {}),
        # Surely worse, but no more than is allowed
        (
            {"slices.dark": SURELY | {"p_worse_holm": 0.0, "by": "brightness", "count": 600}},
            {"MAX_SLICE_LOSS": "0.0095"},
        ),
        ({"mean_accuracy": SURELY}, {"MAX_MEAN_LOSS": "0.0087"}),
        ({"per_attribute.Smiling.p_worse": 0.0}, {"MAX_ATTRIBUTE_LOSS": "0.008"}),
        # Slower, but the interval does not exclude the limit
        ({"latency.batch_1": SLOWER | {"ratio_low": 1.99}}, {}),
        (
            {"latency.batch_1.ratio": 2.9, "size.ratio": 8.0},
            {"MAX_LATENCY_RATIO": "3", "MAX_SIZE_RATIO": "8"},
        ),
    ],
)
def test_what_the_limits_allow_passes(change: dict[str, Any], limits: dict[str, str]) -> None:
    assert all(row.ok for row in beside(change, **limits).values())


@pytest.mark.parametrize(("second", "passes"), [(1.9, True), (2.1, False)])
def test_a_latency_from_another_time_refuses_no_model(second: float, passes: bool) -> None:
    incumbent, commit = trained("a"), trained("b")
    said: list[bool] = []

    def compare(*_: object, refresh: bool = False) -> Comparison:
        said.append(refresh)
        return compared({"latency.batch_1.ratio": second if refresh else 2.5})

    rows = {row.gate: row for row in judge(commit, incumbent, DEV, compare)}
    assert said == [False, True]
    assert (rows["latency"].ok, f"{second:.2f} times at batch 1" in rows["latency"].value) == (passes, True)


def test_the_worst_attributes_are_named_first_and_not_all() -> None:
    one = COMPARISON["per_attribute"]["Smiling"]
    lost = {"difference": -0.1, "low": -0.12, "high": -0.08}
    many = {f"A{n}": one | lost | {"p_worse": n / 1e5} for n in range(9, 0, -1)}
    row = beside({"per_attribute": many, "only_incumbent": ["B", "C", "D", "E"]})["no attribute worse"]
    assert row.value == (
        "A1 -0.1000 (p 9e-05), A2 -0.1000 (p 0.00016), A3 -0.1000 (p 0.00021), 6 more, "
        "without B, C, D and 1 more"
    )


def test_the_same_model_has_nothing_to_be_compared_with() -> None:
    incumbent = trained("a")
    commit = trained("a")

    def compare(*_: object) -> Comparison:
        raise AssertionError

    row = regression(judge(commit, incumbent, DEV, compare))
    assert (row.value, row.ok) == ("the same model", True)


def test_where_nothing_can_compare_the_recorded_accuracies_decide_and_the_row_says_why() -> None:
    incumbent, commit, worse = trained("a"), trained("b", 0.89), trained("c", 0.87)

    def compare(*_: object) -> Comparison:
        raise NotComparableError("no DVC remote")

    row = regression(judge(commit, incumbent, DEV, compare))
    assert row.limit.startswith("at least 0.88")
    assert row.limit.endswith(" (two standard errors less: no DVC remote)")
    assert row.ok
    assert not regression(judge(worse, incumbent, DEV, compare)).ok


def test_a_comparison_that_fails_fails_the_gate() -> None:
    incumbent, commit = trained("a"), trained("b")

    def compare(*_: object) -> Comparison:
        raise ComparisonError("the DVC remote is down")

    rows = judge(commit, incumbent, DEV, compare)
    assert [str(row) for row in rows if not row.ok] == [
        "no worse than the incumbent: not known: the DVC remote is down, a comparison on the same images is "
        "asked for"
    ]


def lock(digest: str) -> dict[str, bytes]:
    out = f"    - path: data/holdout.parquet\n      md5: {digest}\n"
    return {"dvc.lock": f"stages:\n  prepare:\n    cmd: x\n    outs:\n{out}".encode()}


def source(name: str) -> dict[str, bytes]:
    return {"params.yaml": f"data:\n  source: {name}\n".encode()}


Asked = list[tuple[Snapshot, Snapshot | None]]


def comparing(asked: Asked, change: dict[str, Any] | None = None, of: Snapshot | None = None) -> Any:
    """A comparison that notes whom it was asked about; `change` is what is found, of `of` or of all."""

    def compare(
        _: Snapshot, other: Snapshot, /, *, images: Snapshot | None = None, refresh: bool = False
    ) -> Comparison:
        asked.append((other, images))
        return compared(change if of in (None, other) else None)

    return compare


def test_the_best_release_is_a_second_comparison_on_the_same_images() -> None:
    best, incumbent, commit = trained("a"), trained("b"), trained("c")
    asked: Asked = []
    # 0.004 lost for sure, where the incumbent has lost most of that already
    lost = {
        "mean_accuracy.difference": -0.006,
        "mean_accuracy.low": -0.007,
        "mean_accuracy.high": -0.005,
        "mean_accuracy.p_worse": 0.0001,
    }
    compare = comparing(asked, lost, best)
    rows = {row.gate: row for row in judge(commit, incumbent, DEV, compare, best)}
    assert asked == [(incumbent, None), (best, None)]
    assert [name for name, row in rows.items() if not row.ok] == [
        "no worse than the best release",
        "losses do not add up",
    ]
    limit = "no loss that may exceed 0.003 at p up to 0.01 (Holm)"
    assert rows["no worse than the best release"].limit == limit
    # A loss that is surely within the margin is none
    within = {
        "mean_accuracy.difference": -0.001,
        "mean_accuracy.low": -0.0015,
        "mean_accuracy.high": -0.0005,
        "mean_accuracy.p_worse": 0.0001,
    }
    assert all(row.ok for row in judge(commit, incumbent, DEV, comparing([], within, best), best))


@pytest.mark.parametrize(("before", "ok"), [(0.0, True), (-0.004, False), (0.004, True)])
def test_the_losses_of_the_incumbent_and_of_the_candidate_count_together(before: float, ok: bool) -> None:
    """The same candidate passes on an incumbent that equals the best release, and not on one below it."""
    best, incumbent, commit = trained("a"), trained("b"), trained("c")
    loss, error = -0.0035, 0.0016

    def compare(_: Snapshot, other: Snapshot, /, **__: Any) -> Comparison:
        difference = loss if other is best else loss - before
        return compared(
            {
                "mean_accuracy.difference": difference,
                "mean_accuracy.low": difference - 1.96 * error,
                "mean_accuracy.high": difference + 1.96 * error,
                "mean_accuracy.p_worse": 0.015 if other is best else 0.2,
            }
        )

    rows = {row.gate: row for row in judge(commit, incumbent, DEV, compare, best)}
    assert [name for name, row in rows.items() if not row.ok] == ([] if ok else ["losses do not add up"])
    summed = (loss + min(before, 0)) / 2
    assert f"incumbent and candidate {summed:+.4f}" in rows["losses do not add up"].value
    assert rows["losses do not add up"].value.endswith("from the best release")
    alone = {row.gate for row in judge(commit, incumbent, DEV, compare)}
    assert "losses do not add up" not in alone, "there is no anchor"


def test_an_attribute_that_the_best_release_had_is_named_with_it() -> None:
    best, incumbent, commit = trained("a"), trained("b"), trained("c")
    change = {
        "per_attribute.Male.p_worse": 0.0001,
        "per_attribute.Male.difference": -0.03,
        "per_attribute.Male.low": -0.04,
    }
    rows = judge(commit, incumbent, DEV, comparing([], change, best), best)
    (failed,) = [row for row in rows if not row.ok]
    assert failed.value == "Male -0.0300 (p 0.0004, against the best release)"


def test_the_best_release_is_compared_where_what_runs_has_no_figures() -> None:
    without, best, commit = release({}), trained("a"), trained("b")
    asked: Asked = []
    lost = {
        "mean_accuracy.difference": -0.02,
        "mean_accuracy.low": -0.021,
        "mean_accuracy.high": -0.019,
        "mean_accuracy.p_worse": 0.0001,
    }
    for incumbent in (None, without):
        rows = judge(commit, incumbent, DEV, comparing(asked, lost, best), best)
        assert [row.gate for row in rows if not row.ok] == ["no worse than the best release"]
    assert asked == [(best, None)] * 2


def test_a_comparison_that_fails_is_told_of_the_release_that_it_is_with() -> None:
    best, incumbent, commit = trained("a"), trained("b"), trained("c")

    def compare(_: Snapshot, other: Snapshot, /, **__: Any) -> Comparison:
        if other == best:
            raise ComparisonError("the model of the release is gone")
        return compared()

    rows = judge(commit, incumbent, DEV, compare, best)
    (failed,) = [row for row in rows if not row.ok]
    assert (failed.gate, failed.value) == (
        "no worse than the best release",
        "not known: the model of the release is gone",
    )
    assert failed.remedy.endswith(f"git push origin --delete refs/tags/verified/dev/{best.commit[:12]}")


def test_owners_may_name_a_release_that_no_model_may_be_worse_than() -> None:
    named, incumbent, commit = trained("a"), trained("b"), trained("c")
    asked: Asked = []
    slow = {"latency.batch_1.ratio": 2.5, "size.ratio": 9.0}
    rows = {
        row.gate: row for row in judge(commit, incumbent, DEV, comparing(asked, slow, named), named=named)
    }
    # The latency that would refuse the model is measured again
    assert asked == [(incumbent, None), (named, None), (named, None)]
    assert [name for name, row in rows.items() if not row.ok] == ["latency", "size"]
    assert rows["size"].value.endswith("; 9.00 times, 1,100,000 bytes compared with the named release")
    assert rows["no worse than the named release"].ok


def test_a_named_release_must_be_here_and_have_a_model() -> None:
    limits = DEV.model_copy(update={"anchor_release": "a" * 40})
    with pytest.raises(SettingsError, match="ANCHOR_RELEASE: aaaaaaaaaaaa is no commit") as caught:
        anchors.named(None, limits)
    assert "environments/dev/settings.env" in str(caught.value)
    without = release({})
    assert anchors.named(without, limits) is without

    def compare(_: Snapshot, other: Snapshot, /, **__: Any) -> Comparison:
        assert other.evaluation.samples
        return compared()

    rows = judge(trained("b"), trained("a"), DEV, compare, named=without)
    (failed,) = [row for row in rows if not row.ok]
    assert failed.gate == "no worse than the named release"
    assert failed.value.startswith("not known: metrics/evaluation.json")
    assert failed.remedy.endswith("empty ANCHOR_RELEASE in settings.env")


def test_another_variant_is_named_beside_the_latency() -> None:
    incumbent, files = trained("a"), model_files("b")
    export = json.dumps(json.loads(files[EXPORT]) | {"variant": "float32"}).encode()
    commit = release(files | {EXPORT: export})
    rows = {row.gate: row for row in judge(commit, incumbent, DEV, comparing([]))}
    assert rows["latency"].value.endswith("3 ms for an image (float32 after int8)")
    assert rows["size"].value.endswith("bytes (float32 after int8)")


def test_gates_say_which_losses_they_see() -> None:
    row = beside()["smallest loss seen"]
    # The standard error of the mean is 0.00153: 2.33 of them and 0.84 more
    assert row.value.startswith(
        "mean 0.0048, attribute 0.0263 (Smiling), slice 0.0130 (dark) on 2,000 images"
    )
    assert row.value.endswith("; too few images to see the limit of mean and slice")
    assert row.ok
    assert row.limit.endswith(" are seen in 80% (not required)")
    limits = {"REQUIRE_POWER": "true", "MAX_SLICE_LOSS": "0.02"}
    assert not beside(None, **limits)["smallest loss seen"].ok
    assert beside(None, **limits, MAX_MEAN_LOSS="0.005")["smallest loss seen"].ok


INFORMATIVE = {"accuracy": 0.9, "positives": 0.1, "average_precision": 0.3}


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (INFORMATIVE | {"balanced_accuracy": 0.6, "recall": 0.2}, "none of 1"),
        (
            INFORMATIVE | {"balanced_accuracy": 0.5, "recall": 0.2},
            "A: balanced accuracy 0.5000, not over 0.5000",
        ),
        (INFORMATIVE | {"balanced_accuracy": 0.6, "recall": 0.0}, "A: recall 0.0000, not over 0.0000"),
        (INFORMATIVE | {"average_precision": 0.1}, "A: average precision 0.1000, not over 0.1000"),
        # 40 of 2,000 images
        (INFORMATIVE | {"positives": 0.02, "recall": 0.0}, "none of 0"),
        (INFORMATIVE | {"positives": 0.98, "recall": 0.0, "average_precision": 0.99}, "none of 0"),
        ({"accuracy": 0.9}, "none of 0"),
    ],
)
def test_a_first_model_answers_no_attribute_without_looking(row: dict[str, float], value: str) -> None:
    files = model_files("a")
    evaluation = json.dumps(json.loads(files[EVALUATION]) | {"per_attribute": {"A": row}}).encode()
    rows = {one.gate: one for one in judge(release(files | {EVALUATION: evaluation}), None, DEV)}
    found = rows["no attribute without information"]
    assert (found.value, found.ok) == (value, value.startswith("none"))


def test_one_model_is_compared_once() -> None:
    incumbent, commit = trained("a"), trained("b")
    for best in (incumbent, commit):
        asked: Asked = []
        judge(commit, incumbent, DEV, comparing(asked), best)
        assert asked == [(incumbent, None)]


def test_a_hold_out_that_changed_makes_nothing_easier() -> None:
    incumbent = release(model_files("a") | lock("a" * 32) | source("synthetic"))
    commit = release(model_files("b", 0.95) | lock("b" * 32) | source("synthetic"))
    asked: Asked = []
    compare = comparing(asked)
    rows = judge(commit, incumbent, DEV, compare)
    assert asked == [(incumbent, None), (incumbent, incumbent)]
    assert all(row.ok for row in rows)

    def worse_on_the_old_images(
        *_: object, images: Snapshot | None = None, refresh: bool = False
    ) -> Comparison:
        return compared({"mean_accuracy.p_worse": 0.0001} if images else None)

    row = regression(judge(commit, incumbent, DEV, worse_on_the_old_images))
    assert not row.ok
    assert row.value.endswith("p 0.0002) on its own hold-out set")
    # Of another source, what a release was judged by shows something else
    other = release(model_files("c") | lock("c" * 32) | source("celeba"))
    asked.clear()
    judge(other, incumbent, DEV, compare)
    assert asked == [(incumbent, None)]


def test_tests_of_many_images_take_no_time() -> None:
    before = time.process_time()
    assert significance.p_sign(10_000, 10_000) == pytest.approx(0.5028, abs=1e-4)
    assert significance.p_sign(5_000_000, 0) < 1e-300
    rare = Rare.model_validate(
        {
            "count": 4_000_000,
            "others": 6_000_000,
            "found": 2_000_000,
            "false": 3_000_000,
            "incumbent_found": 2_010_000,
            "incumbent_false": 3_000_000,
            "lost": 10_000,
            "gained": 0,
        }
    )
    assert not significance.informative(rare, rare.found, rare.false)
    assert significance.informative(rare, rare.incumbent_found, rare.incumbent_false)
    assert time.process_time() - before < 1


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 9), (13, 2), (40, 61), (900, 800)])
def test_the_sign_test_is_exact(lost: int, gained: int) -> None:
    exact = binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
    assert significance.p_sign(lost, gained) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("found", "false"), [(0, 0), (9, 20), (12, 20), (30, 10), (30, 0)])
def test_an_attribute_lives_by_fishers_exact_test(found: int, false: int) -> None:
    count, others = 30, 170
    none = {"incumbent_found": found, "incumbent_false": false, "lost": 0, "gained": 0}
    rare = Rare(count=count, others=others, found=found, false=false, **none)
    table = [[found, false], [count - found, others - false]]
    assert significance.informative(rare, found, false) is bool(fisher_exact(table, "greater").pvalue <= 0.05)


DYING = {"found": 0, "false": 0, "incumbent_found": 30, "incumbent_false": 40, "lost": 30, "gained": 0}


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({}, False),
        # Two images tell nothing
        ({"incumbent_found": 2, "lost": 2, "incumbent_false": 0}, True),
        # What was dead cannot die
        ({"incumbent_false": 600}, True),
        # It gives the rarer answer at random, as often as the incumbent did with reason
        ({"found": 5, "false": 70, "lost": 28, "gained": 3}, False),
        # It finds fewer, and is alive
        ({"found": 10, "false": 5, "lost": 20}, True),
    ],
)
def test_an_attribute_that_was_alive_may_not_die(change: dict[str, int], ok: bool) -> None:
    rare = {"count": 100, "others": 1900} | DYING | change
    rows = beside({"per_attribute.Male.rare": rare})
    assert [name for name, row in rows.items() if not row.ok] == ([] if ok else ["no attribute dead"])
    if not ok:
        assert rows["no attribute dead"].value.startswith(f"Male ({rare['found']} of 100 found, not 30, p ")


ROWS = [
    GateResult("mean accuracy", "0.9000", "at least 0.8500", "0.8900", True),
    GateResult("a|b", "[x]", "0", "", False),
]


def test_a_verdict_as_markdown() -> None:
    assert gates.markdown(ROWS).splitlines() == [
        "| gate | value | limit | incumbent | passes |",
        "| --- | --- | --- | --- | --- |",
        "| mean accuracy | 0.9000 | at least 0.8500 | 0.8900 | yes |",
        "| **a\\|b** | **[x]** | **0** |  | **no** |",
    ]


def test_a_verdict_on_a_terminal() -> None:
    out = StringIO()
    Console(file=out, width=100).print(gates.table(ROWS, "dev"))
    lines = out.getvalue().splitlines()
    assert lines[0].strip() == "dev"
    assert [line.split()[-2] for line in lines if "mean accuracy" in line or "[x]" in line] == ["yes", "no"]
