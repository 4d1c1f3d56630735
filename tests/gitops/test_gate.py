import json
from io import StringIO

import pytest
from rich.console import Console

from gitops import gate, settings
from gitops.errors import GateError
from gitops.gate import Evaluation, Row, judge, tolerance

from .conftest import Lab, model_files


def dev(lab: Lab) -> settings.Settings:
    return settings.parse(lab.origin.read("main", settings.path_of("dev")) or b"", "dev")


def outcome(lab: Lab, commit: str, incumbent: str | None = None) -> dict[str, bool]:
    return {row.gate: row.ok for row in judge(lab.origin, commit, incumbent, dev(lab))}


def test_a_good_first_model_passes(lab: Lab) -> None:
    commit = lab.train("a")
    assert outcome(lab, commit) == {
        "profile": True,
        "mean accuracy": True,
        "ONNX equals PyTorch": True,
        "the variant that ships costs no accuracy": True,
        "exported model is the evaluated one": True,
    }


def test_limits_are_inclusive(lab: Lab) -> None:
    commit = lab.train("a", 0.85, difference=1e-3)
    assert all(outcome(lab, commit).values())


@pytest.mark.parametrize(
    ("accuracy", "samples", "ok"), [(0.89, 2000, True), (0.87, 2000, False), (0.89, 10**6, False)]
)
def test_the_incumbent_counts_beyond_the_luck_of_sampling(
    lab: Lab, accuracy: float, samples: int, ok: bool
) -> None:
    incumbent = lab.train("a", 0.9, samples=samples)
    commit = lab.train("b", accuracy, samples=samples)
    assert outcome(lab, commit, incumbent)["no worse than the incumbent"] is ok


def test_an_incumbent_without_figures_is_no_obstacle(lab: Lab) -> None:
    incumbent = lab.tip
    assert "no worse than the incumbent" not in outcome(lab, lab.train("a"), incumbent)


def test_another_hold_out_cannot_be_compared(lab: Lab) -> None:
    def lock(digest: str) -> dict[str, bytes]:
        out = f"    - path: data/holdout.parquet\n      md5: {digest}\n"
        return {"dvc.lock": f"stages:\n  tune: {{}}\n  prepare:\n    cmd: x\n    outs:\n{out}".encode()}

    incumbent = lab.land(model_files("a", 0.95) | lock("a" * 32))
    same = lab.land(model_files("b", 0.9) | lock("a" * 32))
    other = lab.land(model_files("b", 0.9) | lock("b" * 32))
    assert outcome(lab, same, incumbent)["no worse than the incumbent"] is False
    assert "no worse than the incumbent" not in outcome(lab, other, incumbent)
    assert gate.holdout(lab.origin, other) == "b" * 32


@pytest.mark.parametrize("content", [b"{", b"[]", b"stages: {a: 5}", b"stages: []", b"\xff"])
def test_a_lock_that_dvc_did_not_write(lab: Lab, content: bytes) -> None:
    broken = lab.land({"dvc.lock": content})
    with pytest.raises(GateError, match=r"dvc\.lock in .*: not what DVC writes"):
        gate.holdout(lab.origin, broken)


def test_tolerance_is_two_standard_errors_of_the_difference() -> None:
    figures = Evaluation.model_validate(
        json.loads(model_files("a", 0.9, samples=900)["metrics/evaluation.json"])
    )
    assert tolerance(figures, figures) == pytest.approx(2 * (2 * 0.09 / 900) ** 0.5)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"max_difference": 2e-3}, "ONNX equals PyTorch"),
        ({"decisions_changed": 1}, "ONNX equals PyTorch"),
        ({"accuracy_loss": 0.0011}, "the variant that ships costs no accuracy"),
        ({"model_sha256": "0" * 64}, "exported model is the evaluated one"),
    ],
)
def test_what_ships_must_be_what_was_trained_and_evaluated(
    lab: Lab, change: dict[str, object], failed: str
) -> None:
    files = model_files("a")
    commit = lab.land(files | {gate.EXPORT: json.dumps(json.loads(files[gate.EXPORT]) | change).encode()})
    assert [name for name, ok in outcome(lab, commit).items() if not ok] == [failed]


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        (gate.EVALUATION, {"mean_accuracy": 1.2}, "mean_accuracy: Input should be less than or equal to 1"),
        (gate.EVALUATION, {"mean_accuracy": None}, "mean_accuracy: Input should be a valid number"),
        (gate.EVALUATION, {"model_sha256": "abc"}, "model_sha256"),
        (gate.EVALUATION, {"samples": 0}, "samples"),
        (gate.EVALUATION, {"profile": "tiny"}, "profile"),
        (gate.EXPORT, {"max_difference": float("nan")}, "max_difference"),
        (gate.EXPORT, {"variant": "int4"}, "variant"),
    ],
)
def test_figures_that_make_no_sense(lab: Lab, path: str, change: dict[str, object], says: str) -> None:
    files = model_files("a")
    commit = lab.land(files | {path: json.dumps(json.loads(files[path]) | change).encode()})
    with pytest.raises(GateError) as caught:
        judge(lab.origin, commit, None, dev(lab))
    assert str(caught.value).startswith(f"{path} in {commit[:12]}: {says}")
    assert "\n" not in str(caught.value)


ROWS = [
    Row("mean accuracy", "0.9000", "at least 0.8500", "0.8900", True),
    Row("a|b", "[x]", "0", "", False),
]


def test_a_verdict_as_markdown() -> None:
    assert gate.markdown(ROWS).splitlines() == [
        "| gate | value | limit | incumbent | passes |",
        "| --- | --- | --- | --- | --- |",
        "| mean accuracy | 0.9000 | at least 0.8500 | 0.8900 | yes |",
        "| **a\\|b** | **[x]** | **0** |  | **no** |",
    ]


def test_a_verdict_on_a_terminal() -> None:
    out = StringIO()
    Console(file=out, width=100).print(gate.table(ROWS, "dev"))
    lines = out.getvalue().splitlines()
    assert lines[0].strip() == "dev"
    assert [line.split()[-2] for line in lines if "mean accuracy" in line or "[x]" in line] == ["yes", "no"]
