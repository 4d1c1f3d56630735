"""The report on a pull request, as Markdown for a comment: the summary first, the rest folded."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from gitops.diff.diff import PARTS, SETTINGS, Difference
from gitops.errors import GitopsError
from gitops.findings import Finding
from gitops.gates import gates
from gitops.model import cost
from gitops.model.drift_comparison import DriftComparison
from gitops.model.metrics import Interval, Metrics
from gitops.report import card, data, fairness, mermaid
from gitops.report.collect import Incumbent, Move, ReportInputs
from gitops.text import markdown
from gitops.text.markdown import Fold, code, plain
from gitops.training.trial import Trial

LONGEST = 65_000
"""The longest comment on a pull request, with some room."""

_MOST_FINDINGS = 20
_MOST_ROWS = 100
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+")
_LABELS = {
    "mean_accuracy": "mean accuracy",
    "mean_balanced_accuracy": "mean balanced accuracy",
    "mean_f1": "mean F1",
    "mean_roc_auc": "mean area under ROC",
    "majority_accuracy": "majority-class baseline",
}


def render(inputs: ReportInputs, *, longest: int = LONGEST, artifact: str | None = None) -> str:
    """Write the report in at most `longest` characters; `artifact` is the address of all of it.

    Raises:
        GitopsError: for an address that is no link.

    """
    whole = ""
    if artifact is not None:
        if not _LINK.fullmatch(artifact):
            raise GitopsError(f"{artifact}: not the address of a web page")
        whole = f"[The whole report]({artifact})"
    first = "\n\n".join(part for part in _first_screen(inputs) if part)
    return markdown.fit(first, list(_folds(inputs)), longest=longest, whole=whole)


def _first_screen(inputs: ReportInputs) -> Iterator[str]:
    yield f"**{_verdict(inputs)}**"
    yield "\n".join(_findings(inputs.broken))
    if inputs.note:
        yield f"Note: {plain(inputs.note, longest=600)}."
    if inputs.trial:
        yield "On the same small data set, which shows whether the change works, not how good the model is:"
        yield metrics_table(inputs.trial.base, inputs.trial.head, inputs.base, inputs.head, speed=False)
        yield _experiments(inputs.trial)
        if inputs.trial.base:
            yield "Only differences that are marked significant are more than noise."
        if not inputs.trial.base:
            yield f"{code(inputs.base)} could not be tried, so there is nothing to compare with."
    elif not inputs.moves and inputs.before != inputs.after:
        yield metrics_table(inputs.before, inputs.after, inputs.base, inputs.head)
    if inputs.incumbents:
        yield _against(inputs)
    if inputs.drift:
        yield plain(str(inputs.drift), longest=400)


def _verdict(inputs: ReportInputs) -> str:
    target, source = plain(inputs.base), code(inputs.head)
    if inputs.broken:
        count = len(inputs.broken)
        problems = "1 problem" if count == 1 else f"{count} problems"
        return f"Do not merge {source} into {target}: {problems}. {_summary(inputs)}"
    return f"OK to merge {source} into {target}. {_summary(inputs)}"


def _summary(inputs: ReportInputs) -> str:
    """Return the effect of the merge in one or two sentences."""
    if inputs.moves:
        parts = (
            f"{plain(' and '.join(names))} {'gets' if len(names) == 1 else 'get'} "
            + (f"another release: {plain(difference.summary)}." if difference.before else "a first release.")
            for names, difference in _alike(inputs.moves)
        )
        return " ".join(parts)
    old, new = (metrics.means.get("mean_accuracy") for metrics in (inputs.before, inputs.after))
    moved = ""
    if old and new and old != new:
        moved = f" Mean accuracy goes from {old.value:.4f} to {new.value:.4f}."
    elif new and not old:
        moved = f" Mean accuracy is {new.value:.4f}."
    if not inputs.difference:
        return "It changes no release and no settings of an environment."
    return f"It changes: {plain(inputs.difference.summary)}.{moved}"


def _findings(broken: Sequence[Finding]) -> Iterator[str]:
    for finding in broken[:_MOST_FINDINGS]:
        # The page is an address of the forge itself; anything else is no link.
        page = f" ([log of the job]({finding.page}))" if _LINK.fullmatch(finding.page) else ""
        line = f"- {code(finding.subject)}: {plain(finding.problem, longest=600)}; {plain(finding.remedy)}"
        yield line + page
    if len(broken) > _MOST_FINDINGS:
        yield f"- ... and {len(broken) - _MOST_FINDINGS} more"


def metrics_table(before: Metrics, after: Metrics, base: str, head: str, *, speed: bool = True) -> str:
    """Return the means, the speed and the size of two models, and their differences."""
    rows: list[list[str]] = []
    for name, label in _LABELS.items():
        old, new = before.means.get(name), after.means.get(name)
        if old or new:
            rows.append([label, str(old or ""), str(new or ""), _moved(old, new)])
    rows += _speeds(before, after) if speed else []
    old, new = before.model_bytes, after.model_bytes
    if old or new:
        sizes = [f"{size / 1000:,.0f} kB" if size else "" for size in (old, new)]
        rows.append(["size of the model", *sizes, ratio(old, new)])
    old, new = ((metrics.sha256 or "")[:12] for metrics in (before, after))
    if old or new:
        same = "the same" if old == new else "another model" if old else "the first model"
        rows.append(["model", code(old), code(new), same])
    return markdown.table(["", code(base), code(head), ""], rows)


def _experiments(trial: Trial) -> str:
    """Return the table of the runs of `experiments.yaml`, each compared with the branch as it is."""
    if not trial.experiments:
        return ""
    names = [*dict.fromkeys(name for one, _ in trial.experiments for name in one.values)]
    present = trial.head.means.get("mean_accuracy")
    rows: list[list[str]] = []
    for one, metrics in trial.experiments:
        accuracy, balanced = (metrics.means.get(name) for name in ("mean_accuracy", "mean_balanced_accuracy"))
        # A column of short texts is narrow, and a forge breaks them at their space
        took = _took(one.seconds).replace(" ", "\N{NO-BREAK SPACE}")
        result = [str(accuracy or ""), _moved(present, accuracy), str(balanced or ""), took]
        failed = [f"failed: {plain(one.problem or 'without metrics', longest=200)}", "", "", ""]
        values = [code(one.values.get(name, "")) for name in names]
        rows.append([*values, *(result if accuracy and not one.problem else failed)])
    columns = [*map(code, names), "mean accuracy", "against this branch", "balanced accuracy", "time"]
    return f"The experiments of this branch, on the same small data:\n\n{markdown.table(columns, rows)}"


def _speeds(before: Metrics, after: Metrics) -> list[list[str]]:
    rows: list[list[str]] = []
    for name in dict.fromkeys([*before.speed, *after.speed][:20]):
        old, new = before.speed.get(name), after.speed.get(name)
        rows.append([plain(name), *("" if v is None else f"{v:g} ms" for v in (old, new)), ratio(old, new)])
    return rows


def _trial_speeds(before: Metrics, after: Metrics, base: str, head: str) -> str:
    rows = _speeds(before, after)
    why = "Two runs, one after the other on a machine that others may use too: a difference may be noise."
    return f"{why}\n\n{markdown.table(['', code(base), code(head), ''], rows)}" if rows else ""


def _against(inputs: ReportInputs) -> str:
    """Return a table that compares with the release of each environment."""
    columns = ["", code(inputs.head), *map(_title, inputs.incumbents)]
    proposed = {(move.difference.after or "")[:12] for move in inputs.moves}
    runs = (
        code(incumbent.commit[:12]) if incumbent.commit else "none yet" for incumbent in inputs.incumbents
    )
    rows = [["release", code(min(proposed)) if len(proposed) == 1 else "", *runs]]
    # Where the first table compares with main, the other means are there.
    above = not inputs.moves and not inputs.trial
    for name, label in [("mean_accuracy", _LABELS["mean_accuracy"])] if above else _LABELS.items():
        metrics = [incumbent.metrics.means.get(name) for incumbent in inputs.incumbents]
        # A first model has no metrics to compare with, and its own are above.
        if (mine := inputs.proposed.means.get(name)) and (any(metrics) or inputs.moves):
            rows.append([label, str(mine), *(str(value or "") for value in metrics)])
    rows.append(["gates", "", *(_gates(incumbent) for incumbent in inputs.incumbents)])
    return "Compared with the release of each environment:\n\n" + markdown.table(columns, rows)


def _title(incumbent: Incumbent) -> str:
    name, wave = incumbent.environment, incumbent.wave
    return plain(name) if name == wave else f"{plain(name)} (wave {plain(wave)})"


def _gates(incumbent: Incumbent) -> str:
    if incumbent.trouble:
        return "cannot be judged"
    if not incumbent.rows:
        return "not checked for a rollback"
    failed = [row for row in incumbent.rows if not row.ok]
    if not failed:
        return f"passes all {len(incumbent.rows)}"
    return "fails: " + ", ".join(plain(row.gate) for row in failed)


def _folds(inputs: ReportInputs) -> Iterator[Fold]:
    yield Fold("Gates", _all_gates(inputs.incumbents))
    before, after = inputs.before, inputs.after
    if inputs.trial:
        before, after = inputs.trial.base, inputs.trial.head
    if inputs.moves:
        before, after = inputs.incumbents[0].metrics, inputs.proposed
    # If the model does not change, its metrics are not shown.
    news = before != after
    if news:
        yield Fold("Accuracy per attribute", _accuracies(before.attributes, after.attributes))
    yield Fold("Rows and shares of the data", data.markdown(before.data, after.data))
    yield Fold("Appended labelled batches", data.batches(inputs.appended, inputs.before.data))
    if inputs.drift:
        yield Fold("Accuracy per attribute on the drifted batches", _on_drifted(inputs.drift))
    for names, difference in _alike(inputs.moves):
        # In a first release everything is new.
        if difference.before:
            yield from _changes(f" in {' and '.join(names)}", difference)
    if not inputs.moves:
        # The environment that follows main runs whatever is merged.
        yield from _changes(f" in {inputs.follower}", inputs.difference)
    settings = [section for section in inputs.difference.sections if section.title == SETTINGS]
    for section in settings:
        yield Fold("How environments run", section.markdown(most=_MOST_ROWS) if section.changes else "")
    if news:
        yield Fold("Whom it serves worst", fairness.markdown(before.groups, after.groups))
        yield Fold("Model card", card.difference(before.card, after.card))
        yield Fold("Accuracy per slice", _accuracies(before.slices, after.slices))
        yield Fold("Learning curve", _curve(after))
        yield Fold("Picture of the accuracies", _picture(before, after))
    if inputs.trial:
        trial = inputs.trial
        yield Fold("Speed in the run", _trial_speeds(trial.base, trial.head, inputs.base, inputs.head))
    yield Fold("Timing and cost of the run", _timing(inputs, after if news else Metrics()))


def _alike(moves: Sequence[Move]) -> list[tuple[list[str], Difference]]:
    """Put the environments together that get the same release in the place of the same one."""
    groups: dict[tuple[str | None, str | None], tuple[list[str], Difference]] = {}
    for move in moves:
        key = (move.difference.before, move.difference.after)
        groups.setdefault(key, ([], move.difference))[0].append(move.environment)
    return list(groups.values())


def _changes(where: str, difference: Difference) -> Iterator[Fold]:
    sections = {section.title: section for section in difference.sections}
    if dags := sections.pop("DAGs", None):
        yield Fold(f"Changes of DAGs{where}", dags.markdown() if dags.changes else "")
    changes = [
        f"#### {plain(title)}\n\n{section.markdown(most=_MOST_ROWS)}"
        for title, section in sections.items()
        if section.changes and title not in (*PARTS, SETTINGS)
    ]
    yield Fold(f"Changes{where}", "\n\n".join(changes))


def _all_gates(incumbents: Iterable[Incumbent]) -> str:
    parts: list[str] = []
    for incumbent in incumbents:
        rows = [[_gate(cell, row.ok) for cell in row.cells] for row in incumbent.rows]
        if not (rows or incumbent.trouble):
            continue
        body = plain(incumbent.trouble) if incumbent.trouble else markdown.table(gates.COLUMNS, rows)
        parts.append(f"#### {plain(incumbent.environment)}\n\n{body}")
    return "\n\n".join(parts)


def _gate(cell: str, ok: bool) -> str:
    # Names of attributes and slices come from the release, so they are shown without interpretation.
    shown = plain(cell, longest=400)
    return shown if ok or not shown else f"**{shown}**"


def _accuracies(before: Mapping[str, Interval], after: Mapping[str, Interval]) -> str:
    names = list(dict.fromkeys([*before, *after]))
    rows = [
        [
            code(name),
            str(before.get(name, "")),
            str(after.get(name, "")),
            _moved(before.get(name), after.get(name)),
        ]
        for name in names[:_MOST_ROWS]
    ]
    if not rows:
        return ""
    more = f"\n\n... and {len(names) - _MOST_ROWS} more" if len(names) > _MOST_ROWS else ""
    return markdown.table(["", "before", "after", ""], rows) + more


def _on_drifted(drift: DriftComparison) -> str:
    """Return the table of attributes, largest gain first."""
    changes = sorted(drift.per_attribute.items(), key=lambda item: -item[1].difference)
    rows = [
        [code(name), f"{change.incumbent:.4f}", f"{change.accuracy:.4f}", str(change)]
        for name, change in changes[:_MOST_ROWS]
    ]
    return markdown.table(["", "incumbent", "this model", ""], rows) if rows else ""


def _curve(metrics: Metrics) -> str:
    rows = [row for row in metrics.curve if None not in row]
    epochs = [row[0] for row in rows]
    losses = {"training": [row[1] or 0 for row in rows], "validation": [row[2] or 0 for row in rows]}
    charts = [
        mermaid.lines("loss", "epoch", "loss", epochs, losses),
        mermaid.lines("accuracy", "epoch", "accuracy", epochs, {"validation": [row[3] or 0 for row in rows]}),
    ]
    return "\n\n".join(filter(None, charts))


def _picture(before: Metrics, after: Metrics) -> str:
    worst_first = sorted(after.attributes.items(), key=lambda item: item[1].value)[:_MOST_ROWS]
    values = {name: interval.value for name, interval in worst_first}
    earlier = {name: interval.value for name, interval in before.attributes.items()}
    return mermaid.bars("accuracy per attribute", "accuracy", values, earlier if earlier != values else None)


def _timing(inputs: ReportInputs, metrics: Metrics) -> str:
    trial = dict(inputs.trial.seconds) if inputs.trial else {}
    seconds = {name: job.seconds for name, job in inputs.jobs.items() if job.seconds}
    rows = [[f"job {code(name)}", _took(value)] for name, value in list(seconds.items())[:_MOST_ROWS]]
    rows += [[plain(name), _took(value)] for name, value in list(trial.items())[:_MOST_ROWS]]
    rows += [
        [plain(name.replace("_", " ")), code(str(value))]
        for name in ("epochs", "images_per_second", "device", "precision")
        if (value := getattr(metrics.training, name)) is not None
    ]
    moved = [markdown.table(["", ""], rows) if rows else "", _cost(seconds.values(), inputs.price)]
    if inputs.cost:
        stages = {**inputs.cost.stages, "sum": inputs.cost.total}
        costs = [[code(name), *cost.cells(stage)] for name, stage in stages.items()]
        moved.append(f"The run that trained the model:\n\n{markdown.table(['', *cost.COLUMNS], costs)}")
    return "\n\n".join(filter(None, moved))


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _cost(seconds: Collection[float], price_per_minute: float | None) -> str:
    if not seconds:
        return ""
    minutes = sum(math.ceil(value / 60) for value in seconds)
    price = f", {minutes * price_per_minute:.2f} US dollars" if price_per_minute is not None else ""
    counted = "as GitHub counts them: each job for itself, in whole minutes, and without this one"
    return f"{minutes} minutes{price}, {counted}."


def _moved(old: Interval | None, new: Interval | None) -> str:
    if old is None or new is None or old.value == new.value:
        return ""
    return f"{new.value - old.value:+.4f}{', significant (95 %)' if old.apart(new) else ''}"


def ratio(old: float | None, new: float | None) -> str:
    """Return how much larger a number has become, in percent; "" if it is not known or rounds to nothing."""
    if not old or new is None:
        return ""
    text = f"{new / old - 1:+.0%}"
    return "" if text in ("+0%", "-0%") else text
