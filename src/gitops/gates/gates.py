"""Gates: the conditions that a model must meet before it is released.

A model is compared with two releases: the incumbent, and the anchor, which is the best release that the
environment verified. Small losses that no comparison with the incumbent can show add up against the anchor.
All tests of one decision share one error rate.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

from rich.markup import escape
from rich.table import Table

from gitops.errors import ComparisonError, NotComparableError
from gitops.gates.comparison import Compare, Comparison, Difference, Rare
from gitops.model.evaluation import Evaluation
from gitops.release.settings import Settings
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import VERIFIED, Verdict, tag_name

_STANDARD_ERRORS = 2.0

# How rarely an equal model may be refused by chance, by all tests of one decision together, and the share of
# each kind of test (Bonferroni). Within a kind, tests are adjusted by Holm.
ALPHA = 0.05
_MEAN, _ATTRIBUTES, _SLICES, _DEAD = 0.015, 0.02, 0.01, 0.005
# An attribute whose answers are right this often by chance, or more often, is dead.
_ALIVE = 0.05
_NEGLIGIBLE = 1e-18  # share of a sum

_NORMAL = NormalDist()
_IN_INTERVAL = 2 * _NORMAL.inv_cdf(0.975)  # standard errors in a 95% interval

REGRESSION = "no worse than the incumbent"
ANCHORED = "no worse than the best release"
_NAMED = 3


@dataclass(frozen=True)
class GateResult:
    """One gate: the measured value, its limit, the incumbent's value, and whether it passes.

    `remedy` is the next step if a better model would not help.
    """

    gate: str
    value: str
    limit: str
    incumbent: str
    ok: bool
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.gate}: {self.value}, {self.limit} is asked for"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as the text of a table's cells, in the order of COLUMNS."""
        return self.gate, self.value, self.limit, self.incumbent, "yes" if self.ok else "no"


COLUMNS = ("gate", "value", "limit", "incumbent", "passes")


def markdown(rows: Sequence[GateResult]) -> str:
    """Return a verdict as a Markdown table that ends with a newline; a gate that fails is in bold."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for row in rows:
        cells = tuple(cell.replace("|", "\\|") for cell in row.cells)
        lines.append(cells if row.ok else tuple(f"**{cell}**" if cell else "" for cell in cells))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def table(rows: Sequence[GateResult], title: str = "") -> Table:
    """Return a verdict as a table for a terminal."""
    shown = Table(title=title or None, title_justify="left", show_lines=False)
    for column in COLUMNS:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*map(escape, row.cells), style=None if row.ok else "red")
    return shown


_Release = TypeVar("_Release")


def tolerance(model: Evaluation, incumbent: Evaluation) -> float | None:
    """Return two standard errors of the difference of two mean accuracies, by their 95% intervals.

    None where an evaluation has no interval.
    """
    widths: list[float] = []
    for item in (model, incumbent):
        if item.mean_accuracy_low is None or item.mean_accuracy_high is None:
            return None
        widths.append(item.mean_accuracy_high - item.mean_accuracy_low)
    return _STANDARD_ERRORS * math.hypot(*widths) / _IN_INTERVAL


def anchor(
    model: Snapshot, verified: Iterable[Verdict], releases: Mapping[str, Snapshot], margin: float
) -> Snapshot | None:
    """Return the best release that an environment verified, or None where it verified none.

    That is the earliest of those whose measured mean accuracy is at most `margin` below the highest: a
    release that looks a little better by chance does not become the measure of all that follow. Only releases
    that learnt from the same source of data count.

    Args:
        model: The release that is judged.
        verified: The verdicts of the environment, oldest first.
        releases: The verified releases that are here.
        margin: MAX_MEAN_LOSS.

    """
    candidates = [
        (verdict.measured_accuracy, release)
        for verdict in verified
        if verdict.measured_accuracy is not None
        and (release := releases.get(verdict.release))
        and release.source == model.source
    ]
    return earliest_of_the_best(candidates, margin) if candidates else None


def earliest_of_the_best(candidates: Sequence[tuple[float, _Release]], margin: float) -> _Release:
    """Return the first release whose accuracy is at most `margin` below the highest."""
    highest = max(accuracy for accuracy, _ in candidates)
    return next(release for accuracy, release in candidates if accuracy >= highest - margin)


def judge(
    model: Snapshot,
    incumbent: Snapshot | None,
    settings: Settings,
    compare: Compare | None = None,
    best: Snapshot | None = None,
) -> list[GateResult]:
    """Compare a model with the gates of an environment.

    With `compare` two models answer the same images on one machine. Where nothing here can compare them, the
    accuracies in both commits are compared if they are about the same images, and the row states that.
    Where a comparison fails, or is not possible, the gate fails.

    Args:
        model: The release that is judged.
        incumbent: The release that runs in the environment, and
        best: the best one that it verified, if any. One without figures is no obstacle, and the other one
            still counts.
        settings: The settings of the environment.
        compare: Compares two models; None where nothing here can.

    Raises:
        GateError: if the commit lacks the figures.

    """
    measured, parity = model.evaluation, model.export
    if incumbent is not None and incumbent.model is None:
        incumbent = None
    before = incumbent.evaluation if incumbent else None
    shown = f"{before.mean_accuracy:.4f}" if before else ""
    threshold = settings.accuracy_threshold
    rows = [
        GateResult(
            "profile", measured.profile, "full", before.profile if before else "", measured.profile == "full"
        ),
        GateResult(
            "mean accuracy",
            f"{measured.mean_accuracy:.4f}",
            f"at least {threshold:.4f}",
            shown,
            measured.mean_accuracy >= threshold,
        ),
    ]
    if before and before.model_sha256 == measured.model_sha256:
        rows.append(GateResult(REGRESSION, "the same model", "no other model is compared", shown, True))
    else:
        rows += _beside(model, incumbent, best, settings, compare)
    rows.append(
        GateResult(
            "ONNX equals PyTorch",
            f"{parity.max_difference:.2g} apart, {parity.decisions_changed} decisions changed",
            f"at most {parity.tolerance:.2g}, 0 changed",
            "",
            parity.max_difference <= parity.tolerance and parity.decisions_changed == 0,
        )
    )
    rows.append(
        GateResult(
            "the variant that ships costs no accuracy",
            f"{parity.variant}, {max(parity.accuracy_loss, 0):.5f} lost",
            f"at most {parity.max_accuracy_loss:.5f}",
            "",
            parity.accuracy_loss <= parity.max_accuracy_loss,
        )
    )
    rows.append(
        GateResult(
            "exported model is the evaluated one",
            parity.model_sha256[:12],
            measured.model_sha256[:12],
            "",
            parity.model_sha256 == measured.model_sha256,
        )
    )
    return rows


@dataclass(frozen=True)
class Side:
    """A comparison with another release: `gate` is the row it belongs to, `name` how rows call it."""

    gate: str
    name: str
    comparison: Comparison


def _beside(
    model: Snapshot,
    incumbent: Snapshot | None,
    best: Snapshot | None,
    settings: Settings,
    compare: Compare | None,
) -> list[GateResult]:
    incumbents = {REGRESSION: incumbent} if incumbent else {}
    known = (None, model.model, incumbent.model if incumbent else None)
    if best and best.model not in known:
        incumbents[ANCHORED] = best
    if not incumbents:
        return []
    if compare is None:
        return _as_recorded(model, incumbents, settings, "models are not compared here")
    sides: list[Side] = []
    for gate, release in incumbents.items():
        try:
            sides += _sides(model, gate, release, compare)
            if sides[0].gate == gate and not _in_time(sides[0].comparison, settings):
                # Answers do not change between runs; their duration also depends on the load of the machine.
                again = compare(model, release, refresh=True)
                sides[0] = Side(gate, sides[0].name, again)
        except NotComparableError as error:
            return _as_recorded(model, incumbents, settings, str(error))
        except ComparisonError as error:
            limit, remedy = "a comparison on the same images", "see to that and check again"
            if gate == ANCHORED:
                tag = tag_name(VERIFIED, settings.visage_environment, release.commit)
                remedy += f"; if it must not be the measure: git push origin --delete refs/tags/{tag}"
            return [GateResult(gate, f"not known: {error}", limit, "", False, remedy)]
    return compared(sides, settings)


def _sides(model: Snapshot, gate: str, incumbent: Snapshot, compare: Compare) -> Iterable[Side]:
    """Compare with a release on the images of the model, and on those that the release was judged by.

    The second comparison is left out where the images are the same, or where the releases learnt from other
    sources of data. Without it, a change that makes the hold-out set smaller or easier could hide a loss.
    """
    name = {REGRESSION: "the incumbent", ANCHORED: "the best release"}[gate]
    yield Side(gate, name, compare(model, incumbent))
    if incumbent.holdout not in (None, model.holdout) and incumbent.source == model.source:
        yield Side(gate, f"{name} on its own hold-out set", compare(model, incumbent, images=incumbent))


def _as_recorded(
    model: Snapshot, incumbents: Mapping[str, Snapshot], settings: Settings, why: str
) -> list[GateResult]:
    """Compare the accuracies that commits record, without knowing which images each model got right."""
    rows: list[GateResult] = []
    measured = model.evaluation
    for gate, release in incumbents.items():
        incumbent = release.evaluation
        value, shown = f"{measured.mean_accuracy:.4f}", f"{incumbent.mean_accuracy:.4f}"
        luck = tolerance(measured, incumbent)
        if model.holdout != release.holdout:
            # Accuracies on two sets of images cannot be compared.
            value, limit = f"{value} on other images", f"a comparison on the same images ({why})"
            remedy = "configure the DVC remote that has both models: dvc remote add --default NAME URL"
            rows.append(GateResult(gate, value, limit, shown, False, remedy))
        elif luck is None:
            limit, remedy = "the 95% interval of both accuracies", "run dvc repro evaluate"
            rows.append(GateResult(gate, f"{value} without an interval", limit, shown, False, remedy))
        else:
            floor = incumbent.mean_accuracy - luck - (settings.max_mean_loss if gate == ANCHORED else 0)
            limit = f"at least {floor:.4f} (two standard errors less: {why})"
            rows.append(GateResult(gate, value, limit, shown, measured.mean_accuracy >= floor))
    return rows


def compared(sides: Sequence[Side], settings: Settings) -> list[GateResult]:
    """Return the rows of one or more comparisons of a model; speed and size come from the first."""
    size = sides[0].comparison.size
    times, most = settings.max_latency_ratio, settings.max_latency_ms
    latency = sides[0].comparison.latency
    return [
        *_means(sides, settings),
        _parts("attribute", _attributes(sides), _ATTRIBUTES, settings.max_attribute_loss, sides),
        _parts("slice", _slices(sides), _SLICES, settings.max_slice_loss),
        _dead(sides),
        GateResult(
            "latency",
            ", ".join(f"{batch.ratio:.2f} times at {_words(name)}" for name, batch in latency.items())
            + f", {_one_image(sides[0].comparison):.3g} ms for an image",
            f"at most {times:g} times, {most:g} ms",
            ", ".join(f"{batch.incumbent_p50_ms:.3g} ms" for batch in latency.values()),
            _in_time(sides[0].comparison, settings),
        ),
        GateResult(
            "size",
            f"{size.ratio:.2f} times, {size.bytes:,} bytes",
            f"at most {settings.max_size_ratio:g} times, {settings.max_model_bytes:,} bytes",
            f"{size.incumbent_bytes:,} bytes",
            size.ratio <= settings.max_size_ratio and size.bytes <= settings.max_model_bytes,
        ),
    ]


def _in_time(comparison: Comparison, settings: Settings) -> bool:
    return (
        all(latency.ratio <= settings.max_latency_ratio for latency in comparison.latency.values())
        and _one_image(comparison) <= settings.max_latency_ms
    )


def _one_image(comparison: Comparison) -> float:
    """Return the milliseconds that a call takes at the smallest number of images, which is one."""
    return min(latency.p50_ms for latency in comparison.latency.values())


def _means(sides: Sequence[Side], settings: Settings) -> list[GateResult]:
    margins = {REGRESSION: 0.0, ANCHORED: settings.max_mean_loss}
    p_values = holm([_p_lost(side.comparison.mean_accuracy, margins[side.gate]) for side in sides])
    rows: list[GateResult] = []
    for gate, margin in margins.items():
        here = [(side, p) for side, p in zip(sides, p_values, strict=True) if side.gate == gate]
        if not here:
            continue
        lost = f" of a loss over {margin:g}" if margin else ""
        adjusted = " (Holm)" if len(sides) > 1 else ""
        values = [
            f"{mean.accuracy:.4f} ({mean.difference:+.4f}, {mean.low:+.4f} to {mean.high:+.4f}, p {p:.2g})"
            + (" on its own hold-out set" if position else "")
            for position, (side, p) in enumerate(here)
            for mean in [side.comparison.mean_accuracy]
        ]
        incumbents = (f"{side.comparison.mean_accuracy.incumbent:.4f}" for side, _ in here)
        limit = f"p{lost} over {_MEAN}{adjusted}"
        ok = all(p > _MEAN for _, p in here)
        rows.append(GateResult(gate, "; ".join(values), limit, "; ".join(incumbents), ok))
    return rows


def _p_lost(mean: Difference, margin: float) -> float:
    """Return how likely chance alone shows this loss if the model truly loses `margin` or less."""
    if not margin:
        return mean.p_worse
    error = (mean.high - mean.low) / _IN_INTERVAL
    beyond = mean.difference + margin
    if not error:
        return float(beyond >= 0)
    return _NORMAL.cdf(beyond / error)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm: those up to alpha are significant together."""
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = floor
    return adjusted


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
        if p <= alpha and part.difference < -loss
    ]
    shown = worse[:_NAMED] or [f"none of {len({name for name, _, _ in parts})}"]
    if len(worse) > _NAMED:
        shown.append(f"{len(worse) - _NAMED} more")
    if lacking := list(dict.fromkeys(name for side in sides for name in side.comparison.only_incumbent)):
        shown.append(f"without {_few(lacking)}")
    limit = f"no loss{f' over {loss:g}' if loss else ''} at p up to {alpha} (Holm)"
    return GateResult(f"no {kind} worse", ", ".join(shown), limit, "", not worse)


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
    p_values = holm([_p_sign(rare.lost, rare.gained) for _, _, rare in parts])
    died = [
        f"{name} ({rare.found} of {rare.count} found, not {rare.incumbent_found}, p {p:.2g}{_against(side)})"
        for p, (name, side, rare) in zip(p_values, parts, strict=True)
        if p <= _DEAD and _lives(rare, rare.incumbent_found, rare.incumbent_false)
        if not _lives(rare, rare.found, rare.false)
    ]
    shown = died[:_NAMED] or [f"none of {len({name for name, _, _ in parts})}"]
    if len(died) > _NAMED:
        shown.append(f"{len(died) - _NAMED} more")
    limit = f"none dead that was alive, at p up to {_DEAD} (Holm)"
    return GateResult("no attribute dead", ", ".join(shown), limit, "", not died)


def _lives(rare: Rare, right: int, false: int) -> bool:
    """Return whether the rarer answer is more frequent where it is right, by Fisher's exact test."""
    answers, images = right + false, rare.count + rare.others
    ways = _log_ways(images, answers)

    def log_chance(hits: int) -> float:
        return _log_ways(rare.count, hits) + _log_ways(rare.others, answers - hits) - ways

    first, last = max(right, answers - rare.others), min(rare.count, answers)
    likeliest = (answers + 1) * (rare.count + 1) // (images + 2)
    return _sum(log_chance, first, last, likeliest) <= _ALIVE


def _log_ways(things: int, chosen: int) -> float:
    return math.lgamma(things + 1) - math.lgamma(chosen + 1) - math.lgamma(things - chosen + 1)


def _p_sign(lost: int, gained: int) -> float:
    """Return how likely chance loses `lost` or more of `lost + gained` images, each as likely as not."""
    tosses = lost + gained
    return _sum(lambda heads: _log_ways(tosses, heads) - tosses * math.log(2), lost, tosses, tosses // 2)


def _sum(log_chance: Callable[[int], float], first: int, last: int, likeliest: int) -> float:
    """Return the sum of the chances from `first` to `last`, of which those far from `likeliest` are tiny.

    Chances that no longer change the sum are left out: of a million images some thousand count.
    """
    middle = min(max(likeliest, first), last)
    total = 0.0
    for numbers in (range(middle, last + 1), range(middle - 1, first - 1, -1)):
        for number in numbers:
            chance = math.exp(log_chance(number))
            total += chance
            if chance <= total * _NEGLIGIBLE:
                break
    return min(total, 1.0)


def _against(side: Side) -> str:
    return "" if side.name == "the incumbent" else f", against {side.name}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _words(name: str) -> str:
    return name.replace("_", " ")
