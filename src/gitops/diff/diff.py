"""The differences between two commits: DAGs, parameters, data, dependencies, model, settings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gitops.diff import dags, files
from gitops.diff.dags import DagChange
from gitops.dvc.lockfile import PIPELINE
from gitops.errors import EnvironmentsError, SettingsError
from gitops.model.metrics import Interval, Metrics
from gitops.paths import DEPENDENCIES, LOCK, MANIFESTS, MODEL, PARAMETERS
from gitops.release import runtimes, settings
from gitops.release.file import path_of
from gitops.release.snapshot import FILES, Snapshot
from gitops.release.state import ReleaseState
from gitops.text import markdown

DATA = "data/"
_NAME = 44
_MANIFESTS = f"{MANIFESTS}/"
PARTS = ("Accuracy per attribute", "Accuracy per slice")
SETTINGS = "Settings"
_LABELS = {
    "mean_accuracy": "mean accuracy",
    "majority_accuracy": "majority-class baseline",
    "mean_balanced_accuracy": "mean balanced accuracy",
    "mean_f1": "mean F1",
    "mean_roc_auc": "mean area under ROC",
}

_NOTHING = Snapshot("", dict.fromkeys(FILES))
"""No release: a commit without files."""


_NAMED = 3
"""The changes of a kind that a summary names."""


@dataclass(frozen=True)
class Change:
    """One change: the old value, the new value (empty if it did not or does not exist), and a note."""

    what: str
    before: str = ""
    after: str = ""
    note: str = ""

    @property
    def short(self) -> "Change":
        """The change for a person: of two JSON texts, the value that differs, which no width cuts off."""
        if not self.before.startswith(("{", "[")) or not self.after.startswith(("{", "[")):
            return self
        old, new = (files.flat(text.strip("[]").encode()) for text in (self.before, self.after))
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if not names or "(cannot be read)" in names:
            return Change(self.what, note="another JSON text")
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return Change(self.what, note=f"JSON: {names[0]}{more}")

    def __str__(self) -> str:
        if not (self.before or self.after):
            return f"{self.what}: {self.note}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.what}: {self.before or 'none'} -> {self.after or 'none'}{note}"


@dataclass(frozen=True)
class Section:
    """The changes of one kind."""

    title: str
    changes: tuple[Change, ...] = ()

    @property
    def names(self) -> str:
        """The first names of the changes, and how many more there are."""
        names = [markdown.one_line(change.what, longest=40) for change in self.changes[:_NAMED]]
        more = len(self.changes) - _NAMED
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")

    def markdown(self, *, most: int = 200) -> str:
        """Return a table of at most `most` changes, or a line if there are no changes."""
        if not self.changes:
            return "unchanged"
        pairs = any(change.before or change.after for change in self.changes)
        notes = any(change.note for change in self.changes)
        columns = ["", *(["before", "after"] if pairs else []), *(["note"] if notes else [])]
        rows = [
            [
                markdown.code(change.what),
                *([markdown.code(change.before), markdown.code(change.after)] if pairs else []),
                *([markdown.plain(change.note)] if notes else []),
            ]
            for change in (change.short for change in self.changes[:most])
        ]
        more = f"\n\n... and {len(self.changes) - most} more" if len(self.changes) > most else ""
        return markdown.table(columns, rows) + more


@dataclass(frozen=True)
class Difference:
    """The differences between two commits, with one section for each kind; None stands for no release."""

    before: str | None
    after: str | None
    sections: tuple[Section, ...] = field(default=())

    def __bool__(self) -> bool:
        return any(section.changes for section in self.sections)

    @property
    def summary(self) -> str:
        """The changes, in a few words; the accuracies of attributes and slices belong to the model."""
        changed = [section for section in self.sections if section.changes and section.title not in PARTS]
        return "; ".join(f"{section.title} ({section.names})" for section in changed) or "nothing"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "before": self.before,
            "after": self.after,
            "sections": {
                section.title: [change.__dict__ for change in section.changes] for section in self.sections
            },
        }

    def text(self, *, most: int = 20, longest: int = 6000) -> str:
        """Return lines for a commit message: at most `most` of a kind, `longest` characters in all.

        If there was no release before, everything is new, and only the number of each kind is shown.
        """
        lines: list[str] = []
        unchanged = [section.title for section in self.sections if not section.changes]
        for section in self.sections:
            if not section.changes:
                continue
            if self.before is None:
                lines.append(f"{section.title}: {len(section.changes)}")
                continue
            lines.append(f"{section.title}:")
            lines += [f"  {markdown.one_line(change.short)}" for change in section.changes[:most]]
            if len(section.changes) > most:
                lines.append(f"  ... and {len(section.changes) - most} more")
        if unchanged:
            lines.append(f"{'None' if self.before is None else 'Unchanged'}: {', '.join(unchanged)}")
        kept: list[str] = []
        used = 0
        for line in lines:
            used += len(line) + 1
            if used > longest:
                kept.append("... the rest: .venv/bin/gitops diff")
                break
            kept.append(line)
        return "\n".join(kept)

    def markdown(self) -> str:
        """Return headings and tables of the changes."""
        head = f"**{_short(self.before)} → {_short(self.after)}**"
        if not self:
            return f"{head}: no change of a release or of an environment's settings.\n"
        parts = [
            f"### {section.title}\n\n{section.markdown()}" for section in self.sections if section.changes
        ]
        unchanged = [section.title.lower() for section in self.sections if not section.changes]
        tail = [f"Unchanged: {', '.join(unchanged)}."] if unchanged else []
        return "\n\n".join([head, *parts, *tail]) + "\n"

    def show(self, console: Console) -> None:
        """Print it for people."""
        console.print(Text(f"{_short(self.before)} -> {_short(self.after)}", style="bold"))
        if not self:
            console.print("No change of a release or of an environment's settings.")
            return
        unlimited = console.options.update(width=10_000)
        for section in self.sections:
            if not section.changes:
                continue
            console.print()
            console.print(Text(section.title, style="bold"))
            pairs = any(change.before or change.after for change in section.changes)
            table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
            changes = [change.short for change in section.changes]
            # A name of ordinary length stays on its line, so that it can be searched for and copied.
            table.add_column(overflow="fold", no_wrap=max(len(change.what) for change in changes) <= _NAME)
            for _ in range(3 if pairs else 1):
                table.add_column(overflow="fold")
            for change in changes:
                shown = [_brief(change.before, "red"), _brief(change.after, "green")] if pairs else []
                table.add_row(_brief(change.what), *shown, _brief(change.note))
            if pairs and Measurement.get(console, unlimited, table).maximum > console.width:
                _stack(console, changes)
            else:
                console.print(table)
        unchanged = [section.title.lower() for section in self.sections if not section.changes]
        if unchanged:
            console.print(f"\nUnchanged: {', '.join(unchanged)}", style="dim", soft_wrap=True)


@dataclass(frozen=True)
class Changed:
    """The files that differ between two commits.

    Attributes:
        paths: Their paths.
        dags: The changes of the DAGs that they define, or the reason why these are not known.
        pointers: The pointers to data (`.dvc`) in both commits, by path.

    """

    paths: Sequence[str] = ()
    dags: Sequence[DagChange] | str = ()
    pointers: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict[str, tuple[bytes, bytes]])


def compare(
    before: Snapshot | None, after: Snapshot | None, changed: Changed, *, environments: bool = True
) -> Difference:
    """Compare two commits; None stands for no release.

    Without `environments` the folder of that name is left out: it is no part of a release.
    """
    old, new = before or _NOTHING, after or _NOTHING
    parts: dict[str, Iterable[Change]] = {
        "DAGs": _dags(before, after, changed),
        "Parameters": _mappings(*(files.flat(side.contents[PARAMETERS] or b"") for side in (old, new))),
        "Data": _data(old, new, changed),
        "Dependencies": _mappings(*(files.pins(side.contents[DEPENDENCIES] or b"") for side in (old, new))),
        "Model": _model(old, new),
        "Accuracy per attribute": _intervals(old.metrics.attributes, new.metrics.attributes),
        "Accuracy per slice": _intervals(old.metrics.slices, new.metrics.slices),
        "Speed": _speed(old.metrics, new.metrics),
        **({SETTINGS: _settings(old, new)} if environments else {}),
        "Code": _code(changed.paths),
        "Manifests": (Change(path, note="changed") for path in changed.paths if path.startswith(_MANIFESTS)),
    }
    sections = tuple(Section(title, tuple(changes)) for title, changes in parts.items())
    return Difference(before and before.commit, after and after.commit, sections)


def between_settings(main: Snapshot, first: str, second: str) -> Section:
    """Compare how two environments run, by the settings that main declares for them."""
    changes = _mappings(*(_variables(main, environment) for environment in (first, second)))
    return Section(f"Settings of {first} and {second}", tuple(changes))


def between_runtimes(state: ReleaseState, first: str, second: str) -> Section:
    """Compare the runtimes that the release files of two environments name."""
    names = [state.present(name).runtime for name in (first, second)]
    versions = [state.verdicts.airflow(name) or "" for name in names]
    rows = (("runtime", [runtimes.short(name) for name in names]), ("Airflow", versions))
    return Section("Runtime", tuple(Change(what, *sides) for what, sides in rows if sides[0] != sides[1]))


def _dags(before: Snapshot | None, after: Snapshot | None, changed: Changed) -> Iterator[Change]:
    if isinstance(changed.dags, str):
        yield Change(f"{dags.FOLDER}/", note=changed.dags)
    else:
        for change in changed.dags:
            if change.kind != "changed":
                yield Change(change.dag, note=change.kind)
            yield from (Change(change.dag, note=detail) for detail in change.details)
        if changed.dags:
            return
    note = "changed" if before and after else "added" if after else "removed"
    edited = (path for path in changed.paths if path.startswith(f"{dags.FOLDER}/"))
    yield from (Change(path, note=note) for path in edited)


def _data(old: Snapshot, new: Snapshot, changed: Changed) -> Iterator[Change]:
    before, after = _outs(old), _outs(new)
    for path in sorted(before.keys() | after.keys()):
        if path.startswith(DATA) and before.get(path) != after.get(path):
            yield Change(path, before.get(path, ""), after.get(path, ""))
    for path, pointers in changed.pointers.items():
        yield Change(path.removesuffix(".dvc"), *map(files.tracked, pointers))
    counts = [side.metrics.counts for side in (old, new)]
    for name in dict.fromkeys([*counts[0], *counts[1]]):
        if counts[0].get(name) != counts[1].get(name):
            yield Change(name, *(str(some.get(name, "")) for some in counts))


def _outs(side: Snapshot) -> dict[str, str]:
    return files.outs(side.contents[LOCK] or b"", side.contents[PIPELINE] or b"")


def _model(old: Snapshot, new: Snapshot) -> Iterator[Change]:
    locked = [_outs(side).get(MODEL, "") for side in (old, new)]
    before, after = old.metrics, new.metrics
    if before.sha256 != after.sha256:
        yield Change("model", (before.sha256 or "")[:12], (after.sha256 or "")[:12], "sha256")
    elif locked[0] != locked[1]:
        note = "in dvc.lock; metrics/evaluation.json is about the same model"
        yield Change(MODEL, locked[0], locked[1], note)
    for name, was, now in (
        ("profile", before.profile, after.profile),
        ("variant", before.variant, after.variant),
        ("size", files.size(before.model_bytes), files.size(after.model_bytes)),
    ):
        if was != now:
            yield Change(name, was or "", now or "")
    yield from _intervals(
        *({_LABELS[name]: value for name, value in metrics.means.items()} for metrics in (before, after))
    )
    yield from (Change(path, note=f"cannot be read: {problem}") for path, problem in after.damaged.items())


def _intervals(old: Mapping[str, Interval], new: Mapping[str, Interval]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        note = ""
        if before and after:
            note = f"{after.value - before.value:+.4f}"
            if before.apart(after):
                note += ", significant (95 %)"
        yield Change(name, str(before or ""), str(after or ""), note)


def _speed(old: Metrics, new: Metrics) -> Iterator[Change]:
    for name in dict.fromkeys([*old.speed, *new.speed]):
        before, after = old.speed.get(name), new.speed.get(name)
        if before != after:
            note = f"{after / before - 1:+.0%}" if before and after is not None else ""
            was, now = ("" if value is None else f"{value:g} ms" for value in (before, after))
            yield Change(name, was, now, note)


def _settings(old: Snapshot, new: Snapshot) -> Iterator[Change]:
    for environment in dict.fromkeys([*_names(new), *_names(old)]):
        variables = (_variables(side, environment) for side in (old, new))
        yield from _prefixed(f"{environment}: ", _mappings(*variables))
        path = path_of(environment)
        declared = (files.flat(side.contents.get(path) or b"") for side in (old, new))
        yield from _prefixed(f"{path}: ", _mappings(*declared))


def _prefixed(prefix: str, changes: Iterable[Change]) -> Iterator[Change]:
    return (Change(prefix + change.what, change.before, change.after) for change in changes)


def _code(changed: Sequence[str]) -> Iterator[Change]:
    folders: dict[str, list[str]] = {}
    for path in changed:
        if not path.startswith("src/") and path != "dvc.yaml":
            continue
        folders.setdefault("/".join(path.split("/")[:2]), []).append(path)
    for folder, paths in folders.items():
        names = ", ".join(path.removeprefix(f"{folder}/") for path in paths[:8])
        more = f" and {len(paths) - 8} more" if len(paths) > 8 else ""
        yield Change(folder, note=f"changed: {names}{more}" if paths != [folder] else "changed")


def _stack(console: Console, changes: Iterable[Change]) -> None:
    """Print each change on two lines, for a terminal that is too narrow for a table."""
    for change in changes:
        named = [_brief(change.what), *([_brief(change.note)] if change.note else [])]
        values = _brief(change.before or "none", "red"), _brief(change.after or "none", "green")
        console.print(Text("  ").append(Text("  ").join(named)), soft_wrap=True)
        console.print(Text("    ").append(Text(" -> ").join(values)), soft_wrap=True)


def _brief(text: str, style: str = "") -> Text:
    return Text(markdown.one_line(text, longest=60 if style else 200), style=style)


def _mappings(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Change(key, *(_shown(values.get(key)) for values in (old, new)))


def _shown(value: str | None) -> str:
    return "" if value is None else value or "(empty)"


def _variables(side: Snapshot, environment: str) -> dict[str, str]:
    path = settings.path_of(environment)
    try:
        lines = settings.parse_lines(side.contents.get(path) or b"", path)
    except SettingsError as error:
        return {"(not valid)": str(error)}
    return {key: value for key, (_, value) in lines.items()}


def _names(side: Snapshot) -> tuple[str, ...]:
    """Return the environments of a commit; those that cannot be read change nothing that a diff shows."""
    try:
        return side.environments.names if side.commit else ()
    except EnvironmentsError:
        return ()


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "no release"
