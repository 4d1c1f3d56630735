"""The report on a pull request, as Markdown for a comment: what a reviewer needs first, the rest folded."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gitops import chart, gate, markdown
from gitops.check import check
from gitops.difference import PARTS, Difference, compare
from gitops.errors import GateError, GitopsError, ReleaseError, SettingsError
from gitops.figures import Figures, Interval, of_commit
from gitops.ledger import Ledger
from gitops.markdown import Fold, code, plain
from gitops.release import ENVIRONMENTS
from gitops.rules import Violation

LONGEST = 65_000
"""What a comment on a pull request may be long, with some room."""

_MOST_VIOLATIONS = 20
_MOST_ROWS = 100
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+")
_LABELS = {
    "mean_accuracy": "mean accuracy",
    "mean_balanced_accuracy": "mean balanced accuracy",
    "mean_f1": "mean F1",
    "mean_roc_auc": "mean area under ROC",
    "majority_accuracy": "the commoner answer alone",
}


@dataclass(frozen=True)
class Incumbent:
    """What runs in one environment, and how the new model does against it."""

    environment: str
    commit: str | None
    figures: Figures = field(default_factory=Figures)
    rows: tuple[gate.Row, ...] = ()
    trouble: str = ""
    """Why there are no gates to show."""


@dataclass(frozen=True)
class Material:
    """All that a report tells."""

    base: str
    head: str
    broken: tuple[Violation, ...]
    before: Figures
    after: Figures
    difference: Difference
    incumbents: tuple[Incumbent, ...] = ()
    """Empty where the model is the one that main has."""
    small: tuple[Figures, Figures] | None = None
    """The figures of a run on small data: of the base, and of the head."""
    seconds: Mapping[str, float] = field(default_factory=dict)


def gather(
    ledger: Ledger,
    head: str,
    *,
    base: str = "main",
    name: str = "",
    small: tuple[Figures, Figures] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Material:
    """Collect what there is to tell of merging the commit `head`, called `name`, into main."""
    repository = ledger.repository
    start = repository.merge_base(ledger.tip, head) or ledger.tip
    changed = set(repository.changed(start, head))
    return Material(
        base=base,
        head=name or head[:12],
        broken=tuple(check(ledger, head)),
        before=of_commit(repository, ledger.tip),
        after=of_commit(repository, head),
        difference=compare(repository, start, head),
        incumbents=tuple(_incumbents(ledger, head)) if "dvc.lock" in changed else (),
        small=small,
        seconds=seconds or {},
    )


def _incumbents(ledger: Ledger, head: str) -> Iterator[Incumbent]:
    repository = ledger.repository
    for environment in ENVIRONMENTS:
        commit = None
        try:
            commit = ledger.declared(environment).commit
            rows = tuple(ledger.judge(environment, head, commit))
        except (ReleaseError, GateError, SettingsError) as error:
            yield Incumbent(environment, commit, trouble=str(error))
            continue
        there = commit if commit and repository.has(commit) else None
        yield Incumbent(environment, commit, of_commit(repository, there), rows)


def load_seconds(path: Path) -> dict[str, float]:
    """Read how long the parts of a run took: a JSON object of names to seconds.

    :raises GitopsError: where it is none.
    """
    try:
        return TypeAdapter(dict[str, float]).validate_json(path.read_bytes())
    except OSError as error:
        raise GitopsError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise GitopsError(f"{path}: not a JSON object of names to seconds") from error


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
    yield "\n".join(_violations(material.broken))
    if material.small:
        yield "On small data, which says whether it works and not how good it is:"
        yield _metrics(*material.small, material.base, material.head)
    elif material.before or material.after:
        yield _metrics(material.before, material.after, material.base, material.head)
    if material.incumbents:
        yield _against(material)


def _verdict(material: Material) -> str:
    target, source = plain(material.base), code(material.head)
    if material.broken:
        count = len(material.broken)
        return f"{source} must not be merged into {target}: it breaks {count} rule{'s' if count > 1 else ''}."
    changes = plain(material.difference.summary)
    one, other = (figures.means.get("mean_accuracy") for figures in (material.before, material.after))
    moved = ""
    if one and other and one != other:
        moved = f" Mean accuracy goes from {one.value:.4f} to {other.value:.4f}."
    elif other and not one:
        moved = f" Mean accuracy is {other.value:.4f}."
    return f"Nothing stands against merging {source} into {target}. It changes: {changes}.{moved}"


def _violations(broken: Sequence[Violation]) -> Iterator[str]:
    for violation in broken[:_MOST_VIOLATIONS]:
        yield f"- {code(violation.file)}: {plain(violation.rule)}; {plain(violation.right)}"
    if len(broken) > _MOST_VIOLATIONS:
        yield f"- ... and {len(broken) - _MOST_VIOLATIONS} more"


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
    columns = ["", code(material.head), *(plain(one.environment) for one in material.incumbents)]
    rows = [
        ["release", "", *(code(one.commit[:12]) if one.commit else "none yet" for one in material.incumbents)]
    ]
    for name, label in _LABELS.items():
        figures = [one.figures.means.get(name) for one in material.incumbents]
        if mine := material.after.means.get(name):
            rows.append([label, str(mine), *(str(value or "") for value in figures)])
    rows.append(["gates", "", *(_gates(one) for one in material.incumbents)])
    return "Against what runs in each environment:\n\n" + markdown.table(columns, rows)


def _gates(incumbent: Incumbent) -> str:
    if incumbent.trouble:
        return "cannot be judged"
    failed = [row for row in incumbent.rows if not row.ok]
    if not failed:
        return f"passes all {len(incumbent.rows)}"
    return "fails: " + ", ".join(plain(row.gate) for row in failed)


def _folds(material: Material) -> Iterator[Fold]:
    yield Fold("Gates", _all_gates(material.incumbents))
    before, after = material.small or (material.before, material.after)
    yield Fold("Accuracy per attribute", _accuracies(before.attributes, after.attributes))
    sections = {section.title: section for section in material.difference.sections}
    if dags := sections.pop("DAGs", None):
        yield Fold("Changes in DAGs", dags.markdown() if dags.changes else "")
    changes = [
        f"#### {plain(title)}\n\n{section.markdown(most=_MOST_ROWS)}"
        for title, section in sections.items()
        if section.changes and title not in PARTS
    ]
    yield Fold("What changes", "\n\n".join(changes))
    yield Fold("Accuracy per slice", _accuracies(before.slices, after.slices))
    yield Fold("Learning curve", _curve(after))
    pictured = dict(sorted(after.attributes.items(), key=lambda item: item[1].value)[:_MOST_ROWS])
    values = {name: interval.value for name, interval in pictured.items()}
    yield Fold("Picture of the accuracies", chart.bars("accuracy per attribute", "accuracy", values))
    yield Fold("Timing of the run", _timing(after, material.seconds))


def _all_gates(incumbents: Iterable[Incumbent]) -> str:
    parts = []
    for one in incumbents:
        rows = [[_gate(cell, row.ok) for cell in row.cells] for row in one.rows]
        body = plain(one.trouble) if one.trouble else markdown.table(gate.COLUMNS, rows)
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


def _curve(figures: Figures) -> str:
    rows = [row for row in figures.curve if None not in row]
    epochs = [row[0] for row in rows]
    losses = {"training": [row[1] or 0 for row in rows], "validation": [row[2] or 0 for row in rows]}
    charts = [
        chart.lines("loss", "epoch", "loss", epochs, losses),
        chart.lines("accuracy", "epoch", "accuracy", epochs, {"validation": [row[3] or 0 for row in rows]}),
    ]
    return "\n\n".join(filter(None, charts))


def _timing(figures: Figures, seconds: Mapping[str, float]) -> str:
    rows = [[code(name), f"{value:.1f} s"] for name, value in list(seconds.items())[:_MOST_ROWS]]
    if rows:
        rows.append(["in all", f"{sum(seconds.values()):.1f} s"])
    rows += [
        [plain(name.replace("_", " ")), code(figures.training[name])]
        for name in ("epochs", "images_per_second", "device", "precision")
        if name in figures.training
    ]
    return markdown.table(["", ""], rows) if rows else ""


def _moved(one: Interval | None, other: Interval | None) -> str:
    if one is None or other is None or one.value == other.value:
        return ""
    return f"{other.value - one.value:+.4f}{', more than chance' if one.apart(other) else ''}"


def _ratio(one: float | None, other: float | None) -> str:
    return f"{other / one - 1:+.0%}" if one and other is not None and one != other else ""
