"""Gates: the conditions that a model must meet before it is released.

A model is compared with two releases: the incumbent, and the anchor, which is the best release that the
environment verified. Small losses that no comparison with the incumbent can show add up against the anchor.
All tests of one decision share one error rate.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

from rich.markup import escape
from rich.table import Table

from gitops.dvc import lockfile
from gitops.errors import ComparisonError, GateError, NotComparableError, ParseError
from gitops.gates.comparison import Compare, Comparison, Difference, Rare
from gitops.git.repository import Repository
from gitops.model.evaluation import Evaluation, evaluation, export
from gitops.paths import HOLDOUT, PARAMETERS
from gitops.release.settings import Settings
from gitops.release.verdicts import VERIFIED, Verdicts, tag_name
from gitops.text import parse

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


def holdout(repository: Repository, commit: str) -> str | None:
    """Return the digest of the hold-out set that a commit's `dvc.lock` records, or None where it does not."""
    return lockfile.digest(repository, commit, HOLDOUT)


def anchor(
    repository: Repository, verdicts: Verdicts, environment: str, commit: str, settings: Settings
) -> str | None:
    """Return the best release that an environment verified, or None where it verified none.

    That is the earliest of those whose measured mean accuracy is at most MAX_MEAN_LOSS below the highest: a
    release that looks a little better by chance does not become the measure of all that follow. Only releases
    that learnt from the same source of data as `commit` count.
    """
    verified = [
        (verdict.measured_accuracy, verdict.release)
        for verdict in verdicts.verifications(environment)
        if verdict.measured_accuracy is not None
    ]
    sources = _sources(repository, [commit, *(release for _, release in verified)])
    candidates = [
        release for release in verified if release[1] in sources and sources[release[1]] == sources[commit]
    ]
    if not candidates:
        return None
    return earliest_of_the_best(candidates, settings.max_mean_loss)


def earliest_of_the_best(candidates: Sequence[tuple[float, _Release]], margin: float) -> _Release:
    """Return the first release whose accuracy is at most `margin` below the highest."""
    highest = max(accuracy for accuracy, _ in candidates)
    return next(release for accuracy, release in candidates if accuracy >= highest - margin)


def judge(
    repository: Repository,
    commit: str,
    incumbent: str | None,
    settings: Settings,
    compare: Compare | None = None,
    best: str | None = None,
) -> list[GateResult]:
    """Compare a commit's model with the gates of an environment.

    With `compare` two models answer the same images on one machine. Where nothing here can compare them, the
    accuracies in both commits are compared if they are about the same images, and the row states that.
    Where a comparison fails, or is not possible, the gate fails.

    `incumbent` is the commit that runs in the environment, and `best` the best release that it verified, if
    any. One without figures is no obstacle, and the other one still counts.

    Raises:
        GateError: if the commit lacks the figures.

    """
    measured = evaluation(repository, commit)
    parity = export(repository, commit)
    before: Evaluation | None = None
    if incumbent is not None:
        try:
            before = evaluation(repository, incumbent)
        except GateError:
            before = None
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
        rows += _beside(repository, commit, incumbent if before else None, best, settings, compare)
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
    repository: Repository,
    commit: str,
    incumbent: str | None,
    best: str | None,
    settings: Settings,
    compare: Compare | None,
) -> list[GateResult]:
    incumbents = {REGRESSION: incumbent} if incumbent else {}
    known = (None, _model(repository, commit), _model(repository, incumbent) if incumbent else None)
    if best and _model(repository, best) not in known:
        incumbents[ANCHORED] = best
    if not incumbents:
        return []
    if compare is None:
        return _as_recorded(repository, commit, incumbents, settings, "models are not compared here")
    sides: list[Side] = []
    for gate, release in incumbents.items():
        try:
            sides += _sides(repository, commit, gate, release, compare)
            if sides[0].gate == gate and not _in_time(sides[0].comparison, settings):
                # Answers do not change between runs; their duration also depends on the load of the machine.
                again = compare(repository, commit, release, refresh=True)
                sides[0] = Side(gate, sides[0].name, again)
        except NotComparableError as error:
            return _as_recorded(repository, commit, incumbents, settings, str(error))
        except ComparisonError as error:
            limit, remedy = "a comparison on the same images", "see to that and check again"
            if gate == ANCHORED:
                tag = tag_name(VERIFIED, settings.visage_environment, release)
                remedy += f"; if it must not be the measure: git push origin --delete refs/tags/{tag}"
            return [GateResult(gate, f"not known: {error}", limit, "", False, remedy)]
    return compared(sides, settings)


def _sides(
    repository: Repository, commit: str, gate: str, incumbent: str, compare: Compare
) -> Iterable[Side]:
    """Compare with a release on the images of `commit`, and on those that the release was judged by.

    The second comparison is left out where the images are the same, or where the releases learnt from other
    sources of data. Without it, a change that makes the hold-out set smaller or easier could hide a loss.
    """
    name = {REGRESSION: "the incumbent", ANCHORED: "the best release"}[gate]
    yield Side(gate, name, compare(repository, commit, incumbent))
    images = holdout(repository, incumbent)
    same_source = _source(repository, incumbent) == _source(repository, commit)
    if images is not None and images != holdout(repository, commit) and same_source:
        yield Side(
            gate, f"{name} on its own hold-out set", compare(repository, commit, incumbent, images=incumbent)
        )


def _model(repository: Repository, commit: str) -> str | None:
    try:
        return evaluation(repository, commit).model_sha256
    except GateError:
        return None


def _source(repository: Repository, commit: str) -> object:
    return _sources(repository, [commit]).get(commit)


def _sources(repository: Repository, commits: Sequence[str]) -> dict[str, object]:
    """Return the source of data of each commit that is here; None where its parameters name none.

    However many commits there are, git is asked three times, and equal parameters are parsed once.
    """
    here = repository.object_ids([f"{commit}^{{commit}}" for commit in commits])
    files = repository.object_ids([f"{commit}:{PARAMETERS}" for commit in commits])
    one_of = {file: commit for file, commit in zip(files, commits, strict=True) if file}
    contents = repository.read_all([(commit, PARAMETERS) for commit in one_of.values()])
    sources = dict(zip(one_of, map(_source_of, contents), strict=True))
    return {
        commit: sources.get(file) if file else None
        for commit, known, file in zip(commits, here, files, strict=True)
        if known is not None
    }


def _source_of(params: bytes | None) -> object:
    try:
        value = parse.yaml_value(params or b"", parse.PARAMS)
    except ParseError:
        return None
    return parse.mapping(parse.mapping(value).get("data")).get("source")


def _as_recorded(
    repository: Repository, commit: str, incumbents: dict[str, str], settings: Settings, why: str
) -> list[GateResult]:
    """Compare the accuracies that commits record, without knowing which images each model got right."""
    rows: list[GateResult] = []
    model = evaluation(repository, commit)
    for gate, name in incumbents.items():
        incumbent = evaluation(repository, name)
        value, shown = f"{model.mean_accuracy:.4f}", f"{incumbent.mean_accuracy:.4f}"
        luck = tolerance(model, incumbent)
        if holdout(repository, commit) != holdout(repository, name):
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
            rows.append(GateResult(gate, value, limit, shown, model.mean_accuracy >= floor))
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
