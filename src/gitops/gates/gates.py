"""Gates: the conditions that a model must meet before it is released.

A model is compared with the incumbent and with anchors: the best release that the environment verified, and
the one that its owners named. Small losses that no comparison with the incumbent can show add up against an
anchor. All tests of one decision share one error rate.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rich.markup import escape
from rich.table import Table

from gitops.errors import ComparisonError, GateError, NotComparableError, SettingsError
from gitops.gates import groups, recorded
from gitops.gates.comparison import Answers, Compare, Comparison, Difference, Latency
from gitops.gates.result import GateResult
from gitops.gates.significance import POWER, holm, informative, lowest, p_sign, together, visible
from gitops.model.decisions import Decisions
from gitops.model.evaluation import Evaluation
from gitops.paths import DECISIONS
from gitops.release.settings import Settings, path_of
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import VERIFIED, Verdict, tag_name

_STANDARD_ERRORS = 2.0

# How rarely an equal model may be refused by chance, by all tests of one decision together, and the share of
# each kind of test (Bonferroni). Within a kind, tests are adjusted by Holm.
ALPHA = 0.05
# `gitops.gates.groups` has the rest.
MEAN_ALPHA, _TOGETHER, ATTRIBUTE_ALPHA, _SLICES, _DEAD = 0.01, 0.017, 0.008, 0.0025, 0.0025
_ENOUGH_RARE = 50
_IN_INTERVAL = 2 * 1.96

REGRESSION = "no worse than the incumbent"
ANCHORED = "no worse than the best release"
NAMED = "no worse than the named release"
SUMMED = "losses do not add up"
_NAMES = {REGRESSION: "the incumbent", ANCHORED: "the best release", NAMED: "the named release"}
_FEW = 3


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


def named(release: Snapshot | None, settings: Settings) -> Snapshot | None:
    """Return the release that ANCHOR_RELEASE names; None where it names none.

    Args:
        release: The commit of that name; None where there is none.
        settings: The settings of the environment.

    Raises:
        SettingsError: if it names no commit that is here.

    """
    if settings.anchor_release and release is None:
        problem = f"ANCHOR_RELEASE: {settings.anchor_release[:12]} is no commit of this repository"
        raise SettingsError(
            path_of(settings.visage_environment), problem, "name a release, or leave it empty"
        )
    return release


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
    named: Snapshot | None = None,
    decisions: Callable[[str], Decisions | None] = lambda _: None,
) -> list[GateResult]:
    """Compare a model with the gates of an environment.

    With `compare` two models answer the same images on one machine. Where nothing here can compare them, the
    decisions that both commits record are compared, and the row states that. Releases made by earlier code
    record none; of these, the accuracies are compared if they are about the same images. Where a comparison
    fails, or is not possible, the gate fails.

    Args:
        model: The release that is judged.
        incumbent: The release that runs in the environment, and
        best: the best one that it verified, if any. One without figures is no obstacle, and the other one
            still counts.
        named: The release that ANCHOR_RELEASE names, if any. It must have figures.
        settings: The settings of the environment.
        compare: Compares two models; None where nothing here can.
        decisions: Returns the decisions that a commit records, or None.

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
    rows.append(_floors(measured, settings))
    if before and before.model_sha256 == measured.model_sha256:
        rows.append(GateResult(REGRESSION, "the same model", "no other model is compared", shown, True))
    else:
        others = {REGRESSION: incumbent, ANCHORED: best, NAMED: named}
        rows += _beside(model, _distinct(model, others), settings, compare, decisions)
    if not any(row.gate == groups.GAP or row.value.startswith("not known") for row in rows):
        rows += _alone(model, settings, decisions)
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
            "quantisation loss",
            f"{parity.variant}: {max(parity.accuracy_loss, 0) * 100:.3f} pt",
            f"at most {parity.max_accuracy_loss * 100:.3f} pt",
            "",
            parity.accuracy_loss <= parity.max_accuracy_loss,
        )
    )
    rows.append(
        GateResult(
            "ONNX file unchanged since evaluation",
            parity.model_sha256[:12],
            measured.model_sha256[:12],
            "",
            parity.model_sha256 == measured.model_sha256,
        )
    )
    return rows


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


def _distinct(model: Snapshot, others: Mapping[str, Snapshot | None]) -> dict[str, Snapshot]:
    """Return the releases to compare with, each model once."""
    known, distinct = {model.model}, dict[str, Snapshot]()
    for gate, release in others.items():
        # Without figures there is nothing to compare; if owners named the release, a row shows that
        if release is not None and (release.model not in known if release.model else gate == NAMED):
            distinct[gate] = release
            known.add(release.model)
    return distinct


def _beside(
    model: Snapshot,
    others: Mapping[str, Snapshot],
    settings: Settings,
    compare: Compare | None,
    decisions: Callable[[str], Decisions | None],
) -> list[GateResult]:
    if not others:
        return []
    sides: list[Side] = []
    for gate, release in others.items():
        try:
            if compare is None:
                raise NotComparableError("models are not compared here")
            sides += _sides(model, gate, release, compare, settings)
        except NotComparableError as error:
            return _as_recorded(model, others, settings, str(error), decisions)
        except (ComparisonError, GateError) as error:
            limit, remedy = "a comparison on the same images", "see to that and check again"
            if gate == ANCHORED:
                tag = tag_name(VERIFIED, settings.visage_environment, release.commit)
                remedy += f"; if it must not be the measure: git push origin --delete refs/tags/{tag}"
            if gate == NAMED:
                remedy += "; if it must not be the measure, empty ANCHOR_RELEASE in settings.env"
            return [GateResult(gate, f"not known: {error}", limit, "", False, remedy)]
    return compared(sides, settings)


def _alone(
    model: Snapshot, settings: Settings, decisions: Callable[[str], Decisions | None]
) -> list[GateResult]:
    """Return the rows about the model alone, from its recorded decisions.

    Releases of earlier code recorded none, and get no rows.
    """
    own = decisions(model.commit)
    if own is None:
        return []
    claim = model.evaluation
    try:
        recorded.require(own, claim.model_sha256, claim.mean_accuracy, model.holdout, model.commit)
    except ComparisonError as error:
        return [GateResult(groups.GAP, f"not known: {error}", f"valid {DECISIONS}", "", ok=False)]
    answers = recorded.compare(own, own)
    return groups.absolute(answers, settings.max_tpr_gap, settings.max_contradictions)


def _sides(
    model: Snapshot, gate: str, other: Snapshot, compare: Compare, settings: Settings
) -> Iterator[Side]:
    """Compare with a release on the images of the model, and on those that the release was judged by.

    The second comparison is left out where the images are the same, or where the releases learnt from other
    sources of data. Without it, a change that makes the hold-out set smaller or easier could hide a loss.
    """
    name, variants = _NAMES[gate], _variants(model, other)
    comparison = compare(model, other)
    if not _in_time(comparison, settings):
        # Answers do not change between runs; their duration also depends on the load of the machine.
        comparison = compare(model, other, refresh=True)
    yield Side(gate, name, comparison, variants=variants, images=model.holdout)
    if other.holdout not in (None, model.holdout) and other.source == model.source:
        own = compare(model, other, images=other)
        yield Side(gate, f"{name} on its own hold-out set", own, own_images=True)


def _variants(model: Snapshot, other: Snapshot) -> str:
    try:
        new, old = model.export.variant, other.export.variant
    except GateError:
        return ""
    return f"{new} after {old}" if new != old else ""


def _as_recorded(
    model: Snapshot,
    others: Mapping[str, Snapshot],
    settings: Settings,
    why: str,
    decisions: Callable[[str], Decisions | None],
) -> list[GateResult]:
    """Compare the records of commits: decisions about each image, or of earlier releases accuracies."""
    rows: list[GateResult] = []
    sides: list[Side] = []
    for gate, release in others.items():
        try:
            before = decisions(release.commit)
            if before is None:
                rows.append(_accuracies(model, gate, release, settings, why))
                continue
            # Whoever leaves out the decisions must not be judged by less
            own = decisions(model.commit)
            if own is None:
                raise ComparisonError(
                    f"{model.commit[:12]} has no {DECISIONS}; run .venv/bin/dvc repro evaluate"
                )
            for commit, found in ((model, own), (release, before)):
                claim = commit.evaluation
                recorded.require(
                    found, claim.model_sha256, claim.mean_accuracy, commit.holdout, commit.commit
                )
            name = f"{_NAMES[gate]} by recorded decisions"
            sides.append(Side(gate, name, recorded.compare(own, before), images=release.holdout))
        except (ComparisonError, GateError) as error:
            remedy = "configure the DVC remote that has both models: dvc remote add --default NAME URL"
            limit = f"a comparison on the same images ({why})"
            rows.append(GateResult(gate, f"not known: {error}", limit, "", False, remedy))
    if sides:
        shown = answered(sides, settings)
        rows += [replace(row, limit=f"{row.limit} (recorded decisions: {why})") for row in shown[:1]]
        rows += shown[1:]
    return rows


def _accuracies(model: Snapshot, gate: str, release: Snapshot, settings: Settings, why: str) -> GateResult:
    """Compare the accuracies that commits record, without knowing which images each model got right."""
    measured, incumbent = model.evaluation, release.evaluation
    value, shown = f"{measured.mean_accuracy:.4f}", f"{incumbent.mean_accuracy:.4f}"
    luck = tolerance(measured, incumbent)
    if model.holdout != release.holdout:
        # Accuracies on two sets of images cannot be compared.
        value, limit = f"{value} on other images", f"a comparison on the same images ({why})"
        remedy = "configure the DVC remote that has both models: dvc remote add --default NAME URL"
        return GateResult(gate, value, limit, shown, False, remedy)
    if luck is None:
        limit, remedy = "the 95% interval of both accuracies", "run .venv/bin/dvc repro evaluate"
        return GateResult(gate, f"{value} without an interval", limit, shown, False, remedy)
    floor = incumbent.mean_accuracy - luck - (settings.max_mean_loss if gate != REGRESSION else 0)
    limit = f"at least {floor:.4f} (two standard errors less: {why})"
    return GateResult(gate, value, limit, shown, measured.mean_accuracy >= floor)


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
        all(_in_time(one, settings) for one in comparisons),
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


def _in_time(comparison: Comparison, settings: Settings) -> bool:
    """Return whether no call is surely too slow: the lower end of each interval is within the limit."""
    return (
        all(latency.at_least <= settings.max_latency_ratio for latency in comparison.latency.values())
        and _one_image(comparison) <= settings.max_latency_ms
    )


def _one_image(comparison: Comparison) -> float:
    """Return the milliseconds that a call takes at the smallest number of images, which is one."""
    return min(latency.p50_ms for latency in comparison.latency.values())


def _floors(measured: Evaluation, settings: Settings) -> GateResult:
    """Return the row that shows whether the model answers some attribute no better than without looking.

    Of fewer images with the rarer answer than _ENOUGH_RARE, chance alone may find none.
    """
    below, judged = list[str](), 0
    for name, row in measured.per_attribute.items():
        share = row.positives
        if share is None or min(share, 1 - share) * measured.samples < _ENOUGH_RARE:
            continue
        judged += 1
        checks = (
            ("average precision", row.average_precision, share),
            ("balanced accuracy", row.balanced_accuracy, settings.min_balanced_accuracy),
            ("recall", row.recall, settings.min_recall),
        )
        below += [
            f"{name}: {what} {value:.4f}, not over {floor:.4f}"
            for what, value, floor in checks
            if value is not None and value <= floor
        ]
    shown = below[:_FEW] or [f"none of {judged}"]
    if len(below) > _FEW:
        shown.append(f"{len(below) - _FEW} more")
    limit = (
        "average precision over the share of yes, balanced accuracy over "
        f"{settings.min_balanced_accuracy:g}, recall over {settings.min_recall:g}"
    )
    return GateResult("no attribute without information", ", ".join(shown), limit, "", not below)


def _means(sides: Sequence[Side], loss: float) -> Iterator[GateResult]:
    tests = len(sides)
    p_values = holm([side.comparison.mean_accuracy.p_worse for side in sides])
    for gate in _NAMES:
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
        (_NAMES[side.gate], together(side.comparison.mean_accuracy, incumbent.comparison.mean_accuracy))
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
        if p <= _DEAD and informative(rare, rare.incumbent_found, rare.incumbent_false)
        if not informative(rare, rare.found, rare.false)
    ]
    shown = died[:_FEW] or [f"none of {len({name for name, _, _ in parts})}"]
    if len(died) > _FEW:
        shown.append(f"{len(died) - _FEW} more")
    limit = f"none dead that was alive, at p up to {_DEAD} (Holm)"
    return GateResult("no attribute dead", ", ".join(shown), limit, "", not died)


def _against(side: Side) -> str:
    return "" if side.name == "the incumbent" else f", against {side.name}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _words(name: str) -> str:
    return name.replace("_", " ")
