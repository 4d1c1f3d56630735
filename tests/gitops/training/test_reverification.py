"""When a verified release is verified again, and the report of the changes since then."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops.errors import RuleError
from gitops.model.decisions import Answer, Decisions
from gitops.promotion.promotions import promote
from gitops.release import runtimes
from gitops.release.runtimes import Runtime
from gitops.release.verdicts import Verdict
from gitops.training import reverification
from tests.support.bundles import Make
from tests.support.lab import Lab

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE = Runtime.present()
OTHER = HERE.model_copy(update={"packages": "0" * 12, "onnxruntime": "1.0"})
PROCESSOR = HERE.model_copy(update={"processor": "x86_64 avx2"})


def verdict(runtime: Runtime | None, *, at: datetime = NOW, environment: str = "staging") -> Verdict:
    return Lab.verdict(environment, "a" * 40, at=at, runtime=runtime)


@pytest.mark.parametrize(
    ("runtime", "exact", "due"),
    [
        (HERE, True, False),
        (None, True, False),  # a verdict of before there were runtimes
        (OTHER, True, True),
        (OTHER, False, True),
        (PROCESSOR, True, True),
        (PROCESSOR, False, False),  # tasks run on several machines
    ],
)
def test_a_release_is_verified_again_on_another_runtime(
    runtime: Runtime | None, exact: bool, due: bool
) -> None:
    assert reverification.due([verdict(runtime)], HERE, NOW, exact=exact)[0] == due
    assert not reverification.due([verdict(OTHER), verdict(HERE)], HERE, NOW, exact=exact)[0]


def test_a_release_is_verified_again_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reverification.due([verdict(HERE)], HERE, NOW + timedelta(days=999)) == (False, None)
    monkeypatch.setenv("REVERIFY_HOURS", "24")
    soon = NOW + timedelta(hours=23)
    assert reverification.due([verdict(HERE)], HERE, soon) == (False, timedelta(hours=1))
    assert reverification.due([verdict(HERE)], HERE, NOW + timedelta(hours=24))[0]
    assert not reverification.due([verdict(HERE), verdict(HERE, at=soon)], HERE, NOW + timedelta(hours=24))[0]


def column(bits: list[bool]) -> str:
    content = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        content[index >> 3] |= bit << (index & 7)
    return base64.b64encode(content).decode()


def answers(smiling: list[bool], young: list[bool]) -> Decisions:
    count = len(smiling)
    truth = column([False] * count)
    return Decisions(
        model_sha256="a" * 64,
        holdout_md5="b" * 32,
        samples=count,
        images=base64.b64encode(bytes(8 * count)).decode(),
        attributes={
            "Smiling": Answer(truth=truth, decisions=column(smiling)),
            "Young": Answer(truth=truth, decisions=column(young)),
        },
        slices={},
    )


def test_a_runtime_that_changes_decisions_is_reported_by_attribute() -> None:
    before = answers([False] * 1000, [True] * 1000)
    few = reverification.decisions(before, answers([True] * 3 + [False] * 997, [True] * 1000), 0.002)
    assert few is not None
    assert (few.result, str(few)) == ("passed", "changed decisions: 3 of 2000: Smiling 3 (0.2% at most)")
    many = reverification.decisions(
        before, answers([True] * 9 + [False] * 991, [False] + [True] * 999), 0.002
    )
    assert many is not None
    assert (many.result, many.value) == ("failed", "10 of 2000: Smiling 9, Young 1")
    other = before.model_copy(update={"holdout_md5": "c" * 32})
    assert reverification.decisions(before, other, 0.002).result == "unknown"
    assert reverification.decisions(None, before, 0.002) is None


def test_the_latency_is_shown_beside_that_of_before() -> None:
    before = verdict(OTHER).model_copy(update={"latency_ms": 1.5})
    check = reverification.latency(2.0, before)
    assert str(check) == "latency of one image: 2.00 ms (20 ms at most, 1.50 ms before on ONNX Runtime 1.0)"
    assert reverification.latency(21.0, None).result == "failed"
    assert reverification.latency(None, None) is None


def test_the_processor_counts_by_its_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nflags\t\t: fpu avx2 sse avx512f\nflags : avx\n")
    monkeypatch.setattr(runtimes, "_PROCESSOR", file)
    assert Runtime.present().processor.split()[1:] == ["avx2", "avx512f"]
    assert Runtime.present().digest != HERE.digest


def test_a_further_verification_has_a_tag_of_its_runtime(lab: Lab) -> None:
    commit = lab.train("a", verified=False)
    lab.verify("staging", commit, at=NOW, runtime=OTHER)
    lab.verify("staging", commit, at=NOW + timedelta(days=1), runtime=HERE, again=True)
    lab.verify("staging", commit, at=NOW + timedelta(days=2), runtime=HERE, again=True)
    names = sorted(tag.name for tag in lab.origin.tags("verified/staging"))
    assert names == [f"verified/staging/{commit[:12]}", f"verified/staging/{commit[:12]}-{HERE.digest}"]
    verdicts = lab.state().verdicts
    assert [one.at.day for one in verdicts.every("staging", commit)] == [1, 3]
    assert verdicts.verified("staging", commit).at == NOW, "the soak counts from the first one"
    assert verdicts.verified_on("staging", commit, OTHER).at == NOW
    assert verdicts.runtime("staging") == HERE
    assert verdicts.ignored == ()


def test_a_promotion_needs_a_verdict_of_the_runtime_that_the_environment_has(lab: Lab) -> None:
    first = lab.train("a", verified=False)
    lab.verify("dev", first, runtime=HERE)
    lab.merge(lab.promote("staging").branch)
    lab.verify("staging", first, runtime=OTHER)
    second = lab.train("b", verified=False)
    lab.verify("dev", second, runtime=HERE)
    with pytest.raises(RuleError, match=f"dev verified {second[:12]} on ONNX .*, and staging has ONNX"):
        promote(lab.clone, lab.state(), "staging", lab.remote)
    lab.verify("dev", second, runtime=OTHER, again=True, at=datetime.now(UTC) + timedelta(seconds=5))
    assert lab.promote("staging").after.commit == second


def test_the_bundle_asks_for_another_verdict_when_the_runtime_is_another(lab: Lab, make: Make) -> None:
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    lab.verify("staging", commit, runtime=OTHER)
    bundle = make()
    assert bundle.serving.unverified
    lab.verify("staging", commit, runtime=HERE, again=True, at=datetime.now(UTC) + timedelta(seconds=5))
    bundle.refresh()
    assert not bundle.serving.unverified


def test_a_release_of_another_runtime_is_nothing_to_go_back_to(lab: Lab, make: Make) -> None:
    first, second = lab.train("a"), lab.train("b")
    for commit in (first, second):
        lab.declare("staging", f"commit: {commit}\n")
    lab.verify("staging", first, runtime=OTHER)
    bundle = make()
    lab.verify("staging", second, "rejected")
    bundle.refresh()
    assert bundle.serving.commit == second
