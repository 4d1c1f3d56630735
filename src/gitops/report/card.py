"""The part of the report about the model card: the fields that differ."""

from gitops.model.card import Card
from gitops.text import markdown
from gitops.text.markdown import plain

_MOST = 60
_LONGEST = 300


def difference(before: Card | None, after: Card | None) -> str:
    """Return the fields of two cards that differ as a table, "" without a card or a difference."""
    if after is None:
        return ""
    old, new = before.rows() if before else {}, after.rows()
    names = [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
    rows = [
        [plain(": ".join(name)), *(plain(side.get(name, ""), longest=_LONGEST) for side in (old, new))]
        for name in names[:_MOST]
    ]
    if not rows:
        return ""
    more = f"\n\n... and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return markdown.table(["field", "before", "after"], rows) + more
