"""Rows: the gates about the answers, latency and size of a model beside those of other releases.

All tests of one decision share one error rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitops.gates import groups
from gitops.gates.comparison import Answers, Comparison, Difference, Latency
from gitops.gates.result import GateResult
from gitops.gates.significance import POWER, holm, informative, lowest, p_sign, together, visible
from gitops.release.settings import Settings

# How rarely an equal model may be refused by chance, by all tests of one decision together, and the share of
# each kind of test (Bonferroni). Within a kind, tests are adjusted by Holm.
ALPHA = 0.05
# `gitops.gates.groups` has the rest.
MEAN_ALPHA, _TOGETHER, ATTRIBUTE_ALPHA, _SLICES, DEAD = 0.01, 0.017, 0.008, 0.0025, 0.0025

REGRESSION = "no worse than the incumbent"
ANCHORED = "no worse than the best release"
NAMED = "no worse than the named release"
SUMMED = "losses do not add up"
NAMES = {REGRESSION: "the incumbent", ANCHORED: "the best release", NAMED: "the named release"}
_FEW = 3


@dataclass(frozen=True)
class Side:
    """A comparison with another release.

    Attributes:
        gate: The row that it belongs to.
        name: How rows call the other release.
        comparison: The result.
        own_images: Whether the images are those that the other release was judged by.
        variants: The variants of both models, where they differ.
        images: The digest of the images.

    """

    gate: str
    name: str
    comparison: Answers
    own_images: bool = False
    variants: str = ""
    images: str | None = None


def compared(sides: Sequence[Side], settings: Settings) -> list[GateResult]:
    """Return the rows of one or more comparisons of a model."""
    return [*answered(sides, settings), *_costs([side for side in sides if not side.own_images], settings)]


def answered(sides: Sequence[Side], settings: Settings) -> list[GateResult]:
    """Return the rows of the answers alone, without latency and size."""
    counted = [(_against(side), side.comparison) for side in sides]
    alone = next((one for _, one in counted if one.groups), None)
    return [
        *_means(sides, settings.max_mean_loss),
        *_sums(sides, settings.max_mean_loss),
        _parts("attribute", _attributes(sides), ATTRIBUTE_ALPHA, settings.max_attribute_loss, sides),
        _parts("slice", _slices(sides), _SLICES, settings.max_slice_loss),
        _power(sides, settings),
        _dead(sides),
        *groups.rare(counted, settings.max_balanced_loss),
        *groups.relative(counted, settings.max_gap_rise),
        *(groups.absolute(alone, settings.max_tpr_gap, settings.max_contradictions) if alone else ()),
    ]


def _costs(sides: Sequence[Side], settings: Settings) -> Iterator[GateResult]:
    """Yield the rows of latency and size, compared with each release."""

    def row(gate: str, values: list[str], limit: str, incumbents: list[str], ok: bool) -> GateResult:
        shown = [
            value
            + (f" compared with {side.name}" if side.gate != REGRESSION else "")
            + (f" ({side.variants})" if side.variants else "")
            for value, side in zip(values, sides, strict=True)
        ]
        return GateResult(gate, "; ".join(shown), limit, "; ".join(incumbents), ok)

    comparisons = [side.comparison for side in sides if isinstance(side.comparison, Comparison)]
    yield row(
        "latency",
        [
            ", ".join(f"{_ratio(batch)} times at {_words(name)}" for name, batch in one.latency.items())
            + f", {_one_image(one):.3g} ms for an image"
            for one in comparisons
        ],
        f"at most {settings.max_latency_ratio:g} times, {settings.max_latency_ms:g} ms",
        [
            ", ".join(f"{batch.incumbent_p50_ms:.3g} ms" for batch in one.latency.values())
            for one in comparisons
        ],
        all(in_time(one, settings) for one in comparisons),
    )
    yield row(
        "size",
        [f"{one.size.ratio:.2f} times, {one.size.bytes:,} bytes" for one in comparisons],
        f"at most {settings.max_size_ratio:g} times, {settings.max_model_bytes:,} bytes",
        [f"{one.size.incumbent_bytes:,} bytes" for one in comparisons],
        all(
            one.size.ratio <= settings.max_size_ratio and one.size.bytes <= settings.max_model_bytes
            for one in comparisons
        ),
    )


def _ratio(latency: Latency) -> str:
    if latency.ratio_low is None or latency.ratio_high is None:
        return f"{latency.ratio:.2f}"
    return f"{latency.ratio:.2f} ({latency.ratio_low:.2f} to {latency.ratio_high:.2f})"


def in_time(comparison: Comparison, settings: Settings) -> bool:
    """Return whether no call is surely too slow: the lower end of each interval is within the limit."""
    return (
        all(latency.at_least <= settings.max_latency_ratio for latency in comparison.latency.values())
        and _one_image(comparison) <= settings.max_latency_ms
    )


def _one_image(comparison: Comparison) -> float:
    """Return the milliseconds that a call takes at the smallest number of images, which is one."""
    return min(latency.p50_ms for latency in comparison.latency.values())


def _means(sides: Sequence[Side], loss: float) -> Iterator[GateResult]:
    tests = len(sides)
    p_values = holm([side.comparison.mean_accuracy.p_worse for side in sides])
    for gate in NAMES:
        here = [(side, p) for side, p in zip(sides, p_values, strict=True) if side.gate == gate]
        if not here:
            continue
        values = [
            f"{mean.accuracy:.4f} ({mean.difference:+.4f}, {mean.low:+.4f} to {mean.high:+.4f}, p {p:.2g})"
            + (" on its own hold-out set" if side.own_images else "")
            for side, p in here
            for mean in [side.comparison.mean_accuracy]
        ]
        incumbents = (f"{side.comparison.mean_accuracy.incumbent:.4f}" for side, _ in here)
        ok = not any(_lost(side.comparison.mean_accuracy, p, MEAN_ALPHA, tests, loss) for side, p in here)
        limit = _limit(MEAN_ALPHA, loss, tests)
        yield GateResult(gate, "; ".join(values), limit, "; ".join(incumbents), ok)


def _sums(sides: Sequence[Side], loss: float) -> Iterator[GateResult]:
    """Yield the row of the losses of the incumbent and the candidate together, where there is an anchor.

    Each week a candidate has another chance to look a little better than it is, and the luckiest of them
    run. An incumbent that looks worse than the anchor leaves less room for the next loss.
    """
    incumbent = next((side for side in sides if side.gate == REGRESSION and not side.own_images), None)
    anchors = [side for side in sides if side.gate != REGRESSION and not side.own_images]
    pairs = [
        (NAMES[side.gate], together(side.comparison.mean_accuracy, incumbent.comparison.mean_accuracy))
        for side in anchors
        if incumbent is not None and side.images == incumbent.images
    ]
    if not pairs:
        return
    p_values = holm([mean.p_worse for _, mean in pairs])
    shown = [
        f"incumbent and candidate {mean.difference:+.4f} ({mean.low:+.4f} to {mean.high:+.4f}, p {p:.2g}) "
        f"from {name}"
        for (name, mean), p in zip(pairs, p_values, strict=True)
    ]
    tests = len(pairs)
    worse = [_lost(mean, p, _TOGETHER, tests, loss) for (_, mean), p in zip(pairs, p_values, strict=True)]
    remedy = "train on more images or roll back to the best release" if any(worse) else ""
    yield GateResult(SUMMED, "; ".join(shown), _limit(_TOGETHER, loss, tests), "", not any(worse), remedy)


def _lost(part: Difference, p: float, alpha: float, tests: int, loss: float) -> bool:
    """Return whether a loss is significant, and may be larger than `loss`.

    Where there are few images, only the first condition decides: an equal model is refused with the
    probability `alpha`. Where there are many, the second does: a loss that is surely small is accepted.

    Args:
        part: The difference.
        p: Its p-value, adjusted for the number of tests.
        alpha: The error rate of all `tests` together.
        tests: Their number.
        loss: The permitted loss.

    """
    return p <= alpha and lowest(part, alpha / tests) < -loss


def _limit(alpha: float, loss: float, tests: int) -> str:
    beyond = f" that may exceed {loss:g}" if loss else ""
    return f"no loss{beyond} at p up to {alpha}{' (Holm)' if tests > 1 else ''}"


_Part = tuple[str, Side, Difference]


def _attributes(sides: Sequence[Side]) -> list[_Part]:
    return [(name, side, part) for side in sides for name, part in side.comparison.per_attribute.items()]


def _slices(sides: Sequence[Side]) -> list[_Part]:
    return [(name, side, part) for side in sides for name, part in side.comparison.slices.items()]


def _parts(
    kind: str, parts: Sequence[_Part], alpha: float, loss: float, sides: Sequence[Side] = ()
) -> GateResult:
    """Return the row of attributes or slices that are worse by a significant loss larger than `loss`."""
    p_values = holm([part.p_worse for _, _, part in parts])
    ranked = sorted(zip(p_values, parts, strict=True), key=lambda item: (item[0], item[1][2].difference))
    worse = [
        f"{name} {part.difference:+.4f} (p {p:.2g}{_against(side)})"
        for p, (name, side, part) in ranked
        if _lost(part, p, alpha, len(parts), loss)
    ]
    shown = worse[:_FEW] or [f"0 of {len({name for name, _, _ in parts})} significantly worse"]
    if len(worse) > _FEW:
        shown.append(f"{len(worse) - _FEW} more")
    if lacking := list(dict.fromkeys(name for side in sides for name in side.comparison.only_incumbent)):
        shown.append(f"without {_few(lacking)}")
    limit = _limit(alpha, loss, len(parts))
    return GateResult(f"no {kind} worse", ", ".join(shown), limit, "", not worse)


def _power(sides: Sequence[Side], settings: Settings) -> GateResult:
    """Return the row that shows which losses the gates can see on so many images."""
    kinds = (
        (
            "mean",
            [("", side, side.comparison.mean_accuracy) for side in sides],
            MEAN_ALPHA,
            settings.max_mean_loss,
        ),
        ("attribute", _attributes(sides), ATTRIBUTE_ALPHA, settings.max_attribute_loss),
        ("slice", _slices(sides), _SLICES, settings.max_slice_loss),
    )
    shown, blind = list[str](), list[str]()
    for kind, parts, alpha, loss in kinds:
        if not parts:
            continue
        seen, name = max((visible(part, alpha / len(parts), loss), name) for name, _, part in parts)
        shown.append(f"{kind} {seen:.4f}" + (f" ({name})" if name else ""))
        if seen > loss:
            blind.append(kind)
    images = min(side.comparison.samples for side in sides)
    value = f"{', '.join(shown)} on {images:,} images"
    if blind:
        value += f"; too few images to see the limit of {' and '.join(blind)}"
    limit = f"losses from {settings.max_mean_loss:g}, {settings.max_attribute_loss:g} and "
    limit += f"{settings.max_slice_loss:g} are seen in {POWER:.0%}"
    if not settings.require_power:
        limit += " (not required)"
    remedy = "append labelled images, or raise the limit in settings.env"
    ok = not (blind and settings.require_power)
    return GateResult("smallest loss seen", value, limit, "", ok, "" if ok else remedy)


def _dead(sides: Sequence[Side]) -> GateResult:
    """Return the row that shows whether any attribute has died: its answers no longer carry information.

    Only the rarer answer counts, as a constant gives the other one. An attribute is dead if the model gives
    the rarer answer where it is right no more often than by chance (Fisher's exact test). It died if the
    other release was alive, and if more of the images with that answer are lost than chance explains (the
    sign test of the images that one of both models finds).
    """
    parts = [
        (name, side, part.rare) for side in sides for name, part in side.comparison.per_attribute.items()
    ]
    p_values = holm([p_sign(rare.lost, rare.gained) for _, _, rare in parts])
    died = [
        f"{name} ({rare.found} of {rare.count} found, not {rare.incumbent_found}, p {p:.2g}{_against(side)})"
        for p, (name, side, rare) in zip(p_values, parts, strict=True)
        if p <= DEAD and informative(rare, rare.incumbent_found, rare.incumbent_false)
        if not informative(rare, rare.found, rare.false)
    ]
    shown = died[:_FEW] or [f"none of {len({name for name, _, _ in parts})}"]
    if len(died) > _FEW:
        shown.append(f"{len(died) - _FEW} more")
    limit = f"none dead that was alive, at p up to {DEAD} (Holm)"
    return GateResult("no attribute dead", ", ".join(shown), limit, "", not died)


def _against(side: Side) -> str:
    return "" if side.name == "the incumbent" else f", against {side.name}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _words(name: str) -> str:
    return name.replace("_", " ")
