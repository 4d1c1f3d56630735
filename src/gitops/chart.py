"""Charts as mermaid text, which forges draw."""

import re
from collections.abc import Mapping, Sequence

from gitops.markdown import fenced

_MOST_POINTS = 60


def lines(title: str, x: str, y: str, points: Sequence[float], series: Mapping[str, Sequence[float]]) -> str:
    """Return a chart of lines over the numbers `points`; a line per series, all as long as `points`."""
    # Every nth point, and the last: an axis has room for so many.
    step = -(-len(points) // _MOST_POINTS) or 1
    chosen = sorted({*range(0, len(points), step), len(points) - 1}) if points else []
    values = [value for row in series.values() for value in (row[index] for index in chosen)]
    if len(chosen) < 2 or not values:
        return ""
    names = ", ".join(_word(name) for name in series)
    drawn = (", ".join(_number(row[index]) for index in chosen) for row in series.values())
    return fenced(
        "\n".join(
            [
                "xychart-beta",
                f'    title "{_word(title)} ({names})"',
                f'    x-axis "{_word(x)}" {_number(points[0])} --> {_number(points[-1])}',
                f'    y-axis "{_word(y)}" {_range(values)}',
                *(f"    line [{row}]" for row in drawn),
            ]
        ),
        "mermaid",
    )


def bars(title: str, y: str, values: Mapping[str, float]) -> str:
    """Return a chart of horizontal bars, one for each name."""
    if not values:
        return ""
    height = 120 + 22 * len(values)
    return fenced(
        "\n".join(
            [
                f'%%{{init: {{"xyChart": {{"height": {height}}}}}}}%%',
                "xychart-beta horizontal",
                f'    title "{_word(title)}"',
                f"    x-axis [{', '.join(_quoted(name) for name in values)}]",
                f'    y-axis "{_word(y)}" {_range(list(values.values()))}',
                f"    bar [{', '.join(_number(value) for value in values.values())}]",
            ]
        ),
        "mermaid",
    )


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1
    return f"{_number(low - margin)} --> {_number(high + margin)}"


def _number(value: float) -> str:
    # Mermaid reads no exponents.
    text = f"{value:.5f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def _quoted(name: str) -> str:
    return f'"{_word(name)}"'


def _word(text: str) -> str:
    """Return what of a name mermaid cannot take for syntax."""
    return re.sub(r"[^A-Za-z0-9-]+", " ", text)[:40].strip() or "-"
