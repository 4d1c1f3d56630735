"""Gates: the conditions that a model must meet before it is released.

A model is compared with the incumbent and with anchors: the best release that the environment verified, and
the one that its owners named. Small losses that no comparison with the incumbent can show add up against an
anchor. All tests of one decision share one error rate.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace

from rich.markup import escape
from rich.table import Table

from gitops.errors import ComparisonError, GateError, NotComparableError
from gitops.gates import groups, recorded
from gitops.gates.comparison import Compare
from gitops.gates.recorded import Records
from gitops.gates.result import GateResult
from gitops.gates.rows import ANCHORED, NAMED, NAMES, REGRESSION, Side, answered, compared, in_time
from gitops.model.decisions import Decisions
from gitops.model.evaluation import Evaluation
from gitops.paths import DECISIONS
from gitops.release.forgotten import NOBODY, Forgotten
from gitops.release.settings import Settings
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import VERIFIED, tag_name

_STANDARD_ERRORS = 2.0

_ENOUGH_RARE = 50
_IN_INTERVAL = 2 * 1.96
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


def judge(
    model: Snapshot,
    incumbent: Snapshot | None,
    settings: Settings,
    compare: Compare | None = None,
    best: Snapshot | None = None,
    named: Snapshot | None = None,
    decisions: Callable[[str], Decisions | None] = lambda _: None,
    forgotten: Forgotten = NOBODY,
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
        forgotten: The photographs that were deleted on request: later hold-out sets lack them.

    Raises:
        GateError: if the commit lacks the figures, or its decisions are not valid.

    """
    measured, parity = model.evaluation, model.export
    records = Records(decisions, forgotten)
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
        rows += _beside(model, _distinct(model, others, records), settings, compare, records)
    if not any(row.value.startswith("not known") for row in rows):
        rows += _alone(model, settings, records, known={row.gate for row in rows})
    tolerance = min(parity.tolerance, model.export_limit("tolerance"))
    rows.append(
        GateResult(
            "ONNX equals PyTorch",
            f"{parity.max_difference:.2g} apart, {parity.decisions_changed} decisions changed",
            f"at most {tolerance:.2g}, 0 changed",
            "",
            parity.max_difference <= tolerance and parity.decisions_changed == 0,
        )
    )
    most = min(parity.max_accuracy_loss, model.export_limit("max_accuracy_loss"))
    rows.append(
        GateResult(
            "quantisation loss",
            f"{parity.variant}: {max(parity.accuracy_loss, 0) * 100:.3f} pt",
            f"at most {most * 100:.3f} pt",
            "",
            parity.accuracy_loss <= most,
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


def _distinct(
    model: Snapshot, others: Mapping[str, Snapshot | None], records: Records
) -> dict[str, Snapshot]:
    """Return the releases to compare with.

    Of releases with one model, those count whose hold-out sets have images that the first one lacks.
    """
    distinct = dict[str, Snapshot]()
    for gate, release in others.items():
        if release is None or (release.model and release.model == model.model):
            continue
        alike = [one for one in distinct.values() if one.model == release.model]
        # Without figures there is nothing to compare; if owners named the release, a row shows that
        if (release.model or gate == NAMED) and not any(
            _has_images_of(one, release, records) for one in alike
        ):
            distinct[gate] = release
    return distinct


def _has_images_of(one: Snapshot, other: Snapshot, records: Records) -> bool:
    """Whether a hold-out set has all images of another one, as far as that is known."""
    try:
        return one.holdout == other.holdout or records.lacking(one, other) == 0
    except (ComparisonError, GateError):
        return True


def _beside(
    model: Snapshot,
    others: Mapping[str, Snapshot],
    settings: Settings,
    compare: Compare | None,
    records: Records,
) -> list[GateResult]:
    if not others:
        return []
    sides: list[Side] = []
    for gate, release in others.items():
        try:
            if compare is None:
                raise NotComparableError("models are not compared here")
            sides += _sides(model, gate, release, compare, settings, records)
        except NotComparableError as error:
            return _as_recorded(model, others, settings, str(error), records)
        except (ComparisonError, GateError) as error:
            limit, remedy = "a comparison on the same images", "see to that and check again"
            if gate == ANCHORED:
                tag = tag_name(VERIFIED, settings.visage_environment, release.commit)
                remedy += f"; if it must not be the measure: git push origin --delete refs/tags/{tag}"
            if gate == NAMED:
                remedy += "; if it must not be the measure, empty ANCHOR_RELEASE in settings.env"
            return [GateResult(gate, f"not known: {error}", limit, "", False, remedy)]
    return compared(sides, settings)


def _alone(model: Snapshot, settings: Settings, records: Records, known: Container[str]) -> list[GateResult]:
    """Return the rows about the model alone, from its recorded decisions, where no comparison has them.

    The decisions must be valid in any case: later releases are compared by them.
    """
    try:
        own = records.of(model)
    except ComparisonError as error:
        return [GateResult(groups.GAP, f"not known: {error}", f"valid {DECISIONS}", "", ok=False)]
    if own is None or groups.GAP in known:
        return []
    return groups.absolute(recorded.compare(own, own), settings.max_tpr_gap, settings.max_contradictions)


def _sides(
    model: Snapshot, gate: str, other: Snapshot, compare: Compare, settings: Settings, records: Records
) -> Iterator[Side]:
    """Compare with a release on the images of the model, and on those that the release was judged by.

    The second comparison is left out where the images are the same, or where the releases learnt from other
    sources of data. Without it, a change that makes the hold-out set smaller or easier could hide a loss.
    """
    name, variants = NAMES[gate], _variants(model, other)
    comparison = compare(model, other)
    if not in_time(comparison, settings):
        # Answers do not change between runs; their duration also depends on the load of the machine.
        comparison = compare(model, other, refresh=True)
    yield Side(gate, name, comparison, variants=variants, images=model.holdout)
    if other.holdout in (None, model.holdout) or other.source != model.source:
        return
    try:
        comparison = compare(model, other, images=other)
        yield Side(gate, f"{name} on its own hold-out set", comparison, own_images=True)
    except (ComparisonError, GateError):
        before = records.of(other) if other.holdout in records.forgotten.objects else None
        if before is None:
            raise
        own = records.of(model)
        if own is None:
            raise ComparisonError(_without(model)) from None
        answers = recorded.compare(own, before)
        yield Side(gate, f"{name} by recorded decisions", answers, own_images=True)


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
    records: Records,
) -> list[GateResult]:
    """Compare the records of commits: decisions about each image, or of earlier releases accuracies."""
    rows: list[GateResult] = []
    sides: list[Side] = []
    for gate, release in others.items():
        try:
            before = records.of(release)
            if before is None:
                rows.append(_accuracies(model, gate, release, settings, why))
                continue
            # Whoever leaves out the decisions must not be judged by less
            own = records.of(model)
            if own is None:
                raise ComparisonError(_without(model))
            name = f"{NAMES[gate]} by recorded decisions"
            sides.append(Side(gate, name, recorded.compare(own, before), images=release.holdout))
        except (ComparisonError, GateError) as error:
            remedy = "configure the DVC remote that has both models: dvc remote add --default NAME URL"
            limit = f"a comparison on the same images ({why})"
            rows.append(GateResult(gate, f"not known: {error}", limit, "", False, remedy))
    if sides:
        shown = answered(sides, settings)
        if left_out := max(records.forgotten_in(release) for release in others.values()):
            why += f"; {left_out} forgotten images are left out"
        rows += [replace(row, limit=f"{row.limit} (recorded decisions: {why})") for row in shown[:1]]
        rows += shown[1:]
    return rows


def _without(model: Snapshot) -> str:
    return f"{model.commit[:12]} has no {DECISIONS}; run: source .venv/bin/activate && dvc repro evaluate"


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
        limit, remedy = (
            "the 95% interval of both accuracies",
            "run: source .venv/bin/activate && dvc repro evaluate",
        )
        return GateResult(gate, f"{value} without an interval", limit, shown, False, remedy)
    floor = incumbent.mean_accuracy - luck - (settings.max_mean_loss if gate != REGRESSION else 0)
    limit = f"at least {floor:.4f} (two standard errors less: {why})"
    return GateResult(gate, value, limit, shown, measured.mean_accuracy >= floor)


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
