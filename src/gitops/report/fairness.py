"""The part of the report about groups of people: whom a model serves worst."""

from gitops.model.groups import Gap, Groups
from gitops.report import mermaid
from gitops.text import markdown as text
from gitops.text.markdown import code

_MOST = 12


def markdown(before: Groups | None, after: Groups | None) -> str:
    """Return the table of the largest gaps with a chart, "" where the rates of groups are not recorded."""
    if after is None:
        return ""
    earlier = {(gap.attribute, gap.group): gap for gap in before.gaps} if before else {}
    worst = after.served_worst[:_MOST]
    rows = [[code(gap.attribute), code(gap.group), *_rates(gap, earlier)] for gap in worst]
    columns = ("attribute", "group", "found", "in all others", "gap (95 %)", "gap before")
    parts = [
        "The share of the images with an attribute that the model finds, in the group with the lowest share.",
        text.table(columns, rows)
        if rows
        else f"No gap is larger than chance, from {after.minimum} images with the attribute on.",
        mermaid.bars(
            "found in the group, and in all others",
            "true positive rate",
            {f"{gap.attribute}, {gap.group}": gap.tpr for gap in worst},
            {f"{gap.attribute}, {gap.group}": gap.others for gap in worst},
            names=("the group", "all others"),
        ),
    ]
    if found := after.contradictions:
        was = f", {before.contradictions.rate:.2%} before" if before and before.contradictions else ""
        interval = f"{found.rate_low:.2%} to {found.rate_high:.2%}"
        parts.append(
            f"Answers contradict each other (bald with bangs) on {found.rate:.2%} of the images ({interval})"
            f"{was}; the labels do on {found.labels:.2%}."
        )
    return "\n\n".join(part for part in parts if part)


def _rates(gap: Gap, earlier: dict[tuple[str, str], Gap]) -> list[str]:
    was = earlier.get((gap.attribute, gap.group))
    interval = f"{gap.gap:.4f} ({gap.low:.4f} to {gap.high:.4f})"
    return [f"{gap.tpr:.4f}", f"{gap.others:.4f}", interval, f"{was.gap:.4f}" if was else ""]
