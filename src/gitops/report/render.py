"""The report on a pull request, as Markdown for a comment: what a reviewer needs first, the rest folded."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gitops.diff.diff import PARTS, SETTINGS, Difference
from gitops.errors import GitopsError
from gitops.findings import Finding
from gitops.gates import gates
from gitops.model.drift_comparison import Drifted
from gitops.model.metrics import Figures, Interval
from gitops.report import mermaid
from gitops.report.collect import Incumbent, Material, Move
from gitops.text import markdown
from gitops.text.markdown import Fold, code, plain

LONGEST = 65_000
"""What a comment on a pull request may be long, with some room."""

_MOST_FINDINGS = 20
_MOST_ROWS = 100
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+")
_LABELS = {
    "mean_accuracy": "mean accuracy",
    "mean_balanced_accuracy": "mean balanced accuracy",
    "mean_f1": "mean F1",
    "mean_roc_auc": "mean area under ROC",
    "majority_accuracy": "the commoner answer alone",
}


def render(material: Material, *, longest: int = LONGEST, artifact: str | None = None) -> str:
    """Write the report in at most `longest` characters; `artifact` is the address of all of it.

    :raises GitopsError: for an address that is no link.
    """
    whole = ""
    if artifact is not None:
        if not _LINK.fullmatch(artifact):
            raise GitopsError(f"{artifact}: not the address of a web page")
        whole = f"[The whole report]({artifact})"
    first = "\n\n".join(part for part in _first_screen(material) if part)
    return markdown.fit(first, list(_folds(material)), longest=longest, whole=whole)


def _first_screen(material: Material) -> Iterator[str]:
    yield f"**{_verdict(material)}**"
    yield "\n".join(_findings(material.broken))
    if material.note:
        yield f"Note: {plain(material.note, longest=600)}."
    if material.trial:
        yield "On the same small data, which say whether it works and not how good it is:"
        yield _metrics(material.trial.base, material.trial.head, material.base, material.head)
        if not material.trial.base:
            yield f"{code(material.base)} could not be tried, so there is nothing to compare with."
    elif not material.moves and material.before != material.after:
        yield _metrics(material.before, material.after, material.base, material.head)
    if material.incumbents:
        yield _against(material)
    if material.worth:
        yield plain(str(material.worth), longest=400)


def _verdict(material: Material) -> str:
    target, source = plain(material.base), code(material.head)
    if material.broken:
        count = len(material.broken)
        stands = "1 thing stands" if count == 1 else f"{count} things stand"
        return f"{source} must not be merged into {target}: {stands} against it."
    return f"Nothing stands against merging {source} into {target}. {_told(material)}"


def _told(material: Material) -> str:
    """Say in a sentence or two what merging it does."""
    if material.moves:
        parts = (
            f"{plain(' and '.join(names))} {'gets' if len(names) == 1 else 'get'} another release: "
            f"{plain(difference.summary)}."
            for names, difference in _alike(material.moves)
        )
        return " ".join(parts)
    one, other = (figures.means.get("mean_accuracy") for figures in (material.before, material.after))
    moved = ""
    if one and other and one != other:
        moved = f" Mean accuracy goes from {one.value:.4f} to {other.value:.4f}."
    elif other and not one:
        moved = f" Mean accuracy is {other.value:.4f}."
    if not material.difference:
        return "It changes nothing that makes a release or says how an environment runs."
    return f"It changes: {plain(material.difference.summary)}.{moved}"


def _findings(broken: Sequence[Finding]) -> Iterator[str]:
    for finding in broken[:_MOST_FINDINGS]:
        yield f"- {code(finding.subject)}: {plain(finding.problem)}; {plain(finding.remedy)}"
    if len(broken) > _MOST_FINDINGS:
        yield f"- ... and {len(broken) - _MOST_FINDINGS} more"


def _metrics(before: Figures, after: Figures, base: str, head: str) -> str:
    rows = []
    for name, label in _LABELS.items():
        one, other = before.means.get(name), after.means.get(name)
        if one or other:
            rows.append([label, str(one or ""), str(other or ""), _moved(one, other)])
    for name in dict.fromkeys([*before.speed, *after.speed][:20]):
        one, other = before.speed.get(name), after.speed.get(name)
        rows.append(
            [plain(name), *("" if v is None else f"{v:g} ms" for v in (one, other)), _ratio(one, other)]
        )
    one, other = before.model_bytes, after.model_bytes
    if one or other:
        sizes = [f"{size / 1000:,.0f} kB" if size else "" for size in (one, other)]
        rows.append(["size of the model", *sizes, _ratio(one, other)])
    one, other = ((figures.sha256 or "")[:12] for figures in (before, after))
    if one or other:
        same = "the same" if one == other else "another model"
        rows.append(["model", code(one), code(other), same])
    return markdown.table(["", code(base), code(head), ""], rows)


def _against(material: Material) -> str:
    """Compare with what runs in each environment."""
    columns = ["", code(material.head), *map(_title, material.incumbents)]
    proposed = {(move.difference.after or "")[:12] for move in material.moves}
    runs = (code(one.commit[:12]) if one.commit else "none yet" for one in material.incumbents)
    rows = [["release", code(min(proposed)) if len(proposed) == 1 else "", *runs]]
    for name, label in _LABELS.items():
        figures = [one.figures.means.get(name) for one in material.incumbents]
        if mine := material.proposed.means.get(name):
            rows.append([label, str(mine), *(str(value or "") for value in figures)])
    rows.append(["gates", "", *(_gates(one) for one in material.incumbents)])
    return "Against what runs in each environment:\n\n" + markdown.table(columns, rows)


def _title(incumbent: Incumbent) -> str:
    name, wave = incumbent.environment, incumbent.wave
    return plain(name) if name == wave else f"{plain(name)} (wave {plain(wave)})"


def _gates(incumbent: Incumbent) -> str:
    if incumbent.trouble:
        return "cannot be judged"
    if not incumbent.rows:
        return "not asked of a rollback"
    failed = [row for row in incumbent.rows if not row.ok]
    if not failed:
        return f"passes all {len(incumbent.rows)}"
    return "fails: " + ", ".join(plain(row.gate) for row in failed)


def _folds(material: Material) -> Iterator[Fold]:
    yield Fold("Gates", _all_gates(material.incumbents))
    before, after = material.before, material.after
    if material.trial:
        before, after = material.trial.base, material.trial.head
    if material.moves:
        before, after = material.incumbents[0].figures, material.proposed
    # Where nothing of a model changes, its figures are no news.
    news = before != after
    if news:
        yield Fold("Accuracy per attribute", _accuracies(before.attributes, after.attributes))
    if material.worth:
        yield Fold("Accuracy per attribute on what drifted", _on_drifted(material.worth))
    for names, difference in _alike(material.moves):
        yield from _changes(f" in {' and '.join(names)}", difference)
    if not material.moves:
        # The environment that follows main runs whatever is merged.
        yield from _changes(f" in {material.follower}", material.difference)
    settings = [section for section in material.difference.sections if section.title == SETTINGS]
    for section in settings:
        yield Fold("How environments run", section.markdown(most=_MOST_ROWS) if section.changes else "")
    if news:
        yield Fold("Accuracy per slice", _accuracies(before.slices, after.slices))
        yield Fold("Learning curve", _curve(after))
        yield Fold("Picture of the accuracies", _picture(before, after))
    yield Fold("Timing and cost of the run", _timing(material, after if news else Figures()))


def _alike(moves: Sequence[Move]) -> list[tuple[list[str], Difference]]:
    """Put the environments together that get the same release in the place of the same one."""
    found: dict[tuple[str | None, str | None], tuple[list[str], Difference]] = {}
    for move in moves:
        key = (move.difference.before, move.difference.after)
        found.setdefault(key, ([], move.difference))[0].append(move.environment)
    return list(found.values())


def _changes(where: str, difference: Difference) -> Iterator[Fold]:
    sections = {section.title: section for section in difference.sections}
    if dags := sections.pop("DAGs", None):
        yield Fold(f"Changes of DAGs{where}", dags.markdown() if dags.changes else "")
    changes = [
        f"#### {plain(title)}\n\n{section.markdown(most=_MOST_ROWS)}"
        for title, section in sections.items()
        if section.changes and title not in (*PARTS, SETTINGS)
    ]
    yield Fold(f"What changes{where}", "\n\n".join(changes))


def _all_gates(incumbents: Iterable[Incumbent]) -> str:
    parts = []
    for one in incumbents:
        rows = [[_gate(cell, row.ok) for cell in row.cells] for row in one.rows]
        if not (rows or one.trouble):
            continue
        body = plain(one.trouble) if one.trouble else markdown.table(gates.COLUMNS, rows)
        parts.append(f"#### {plain(one.environment)}\n\n{body}")
    return "\n\n".join(parts)


def _gate(cell: str, ok: bool) -> str:
    # Names of attributes and slices come from the release, so they are shown as what they are.
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


def _on_drifted(worth: Drifted) -> str:
    """Begin with what gained most."""
    changes = sorted(worth.per_attribute.items(), key=lambda item: -item[1].difference)
    rows = [
        [code(name), f"{change.incumbent:.4f}", f"{change.accuracy:.4f}", str(change)]
        for name, change in changes[:_MOST_ROWS]
    ]
    return markdown.table(["", "incumbent", "this model", ""], rows) if rows else ""


def _curve(figures: Figures) -> str:
    rows = [row for row in figures.curve if None not in row]
    epochs = [row[0] for row in rows]
    losses = {"training": [row[1] or 0 for row in rows], "validation": [row[2] or 0 for row in rows]}
    charts = [
        mermaid.lines("loss", "epoch", "loss", epochs, losses),
        mermaid.lines("accuracy", "epoch", "accuracy", epochs, {"validation": [row[3] or 0 for row in rows]}),
    ]
    return "\n\n".join(filter(None, charts))


def _picture(before: Figures, after: Figures) -> str:
    worst_first = sorted(after.attributes.items(), key=lambda item: item[1].value)[:_MOST_ROWS]
    values = {name: interval.value for name, interval in worst_first}
    earlier = {name: interval.value for name, interval in before.attributes.items()}
    return mermaid.bars("accuracy per attribute", "accuracy", values, earlier if earlier != values else None)


def _timing(material: Material, figures: Figures) -> str:
    trial = dict(material.trial.seconds) if material.trial else {}
    rows = [
        [f"job {code(name)}", _took(value)] for name, value in list(material.seconds.items())[:_MOST_ROWS]
    ]
    rows += [[plain(name), _took(value)] for name, value in list(trial.items())[:_MOST_ROWS]]
    rows += [
        [plain(name.replace("_", " ")), code(str(value))]
        for name in ("epochs", "images_per_second", "device", "precision")
        if (value := getattr(figures.training, name)) is not None
    ]
    told = [markdown.table(["", ""], rows) if rows else "", _cost(material)]
    return "\n\n".join(filter(None, told))


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _cost(material: Material) -> str:
    if not material.seconds:
        return ""
    minutes = sum(math.ceil(value / 60) for value in material.seconds.values())
    price = f", {minutes * material.price:.2f} US dollars" if material.price is not None else ""
    counted = "as GitHub counts them: each job for itself, in whole minutes, and without this one"
    return f"{minutes} minutes{price}, {counted}."


def _moved(one: Interval | None, other: Interval | None) -> str:
    if one is None or other is None or one.value == other.value:
        return ""
    return f"{other.value - one.value:+.4f}{', more than chance' if one.apart(other) else ''}"


def _ratio(one: float | None, other: float | None) -> str:
    if not one or other is None:
        return ""
    text = f"{other / one - 1:+.0%}"
    return "" if text in ("+0%", "-0%") else text
