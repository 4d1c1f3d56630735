"""The change that an upgrade of packages makes, as Markdown for its pull request."""

from collections.abc import Iterator

from gitops.report.render import metrics_table, ratio
from gitops.text import markdown, numbers
from gitops.text.markdown import plain
from gitops.training import reverification
from gitops.training.packages import Measured
from gitops.training.verification import TOLERANCE


def render(before: Measured, after: Measured) -> str:
    """Return the decisions, the speed and the size before and after an upgrade."""
    if before.installed is None:
        return "The versions of main could not be measured: read the log of the job `lock`."
    if after.installed is None:
        return "The pipeline fails with these versions: read the log of the job `lock`."
    columns = ["one model on both", "main", "this branch", ""]
    return "\n\n".join(
        [
            f"Measured on small data. {TOLERANCE:.1%} of changed decisions are permitted in an environment.",
            markdown.table(columns, [*_rows(before, after)]),
            "Models that were trained with either, on the same data:",
            metrics_table(before.metrics, after.metrics, "main", "this branch"),
            "Both ran one after the other on one machine: a small difference of times is noise.",
        ]
    )


def _rows(before: Measured, after: Measured) -> Iterator[list[str]]:
    check = reverification.decisions(before.decisions, after.decisions, TOLERANCE)
    if check:
        yield ["changed decisions", "", plain(check.value, longest=300), check.result]
    times = (before.milliseconds, after.milliseconds)
    shown = ["" if one is None else numbers.milliseconds(one) for one in times]
    yield ["one image, median", *shown, ratio(*times)]
    if before.installed and after.installed:
        sides = (before.installed, after.installed)
        yield ["pipeline", *(f"{one.seconds:.0f} s" for one in sides), ratio(*(one.seconds for one in sides))]
        yield ["packages", *(str(one.packages) for one in sides), ""]
        yield [
            "their size",
            *(numbers.size(one.bytes) for one in sides),
            ratio(*(float(one.bytes) for one in sides)),
        ]
