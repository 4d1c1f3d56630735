"""Charts as mermaid text, which forges draw."""

import json
import math
import re
from collections.abc import Mapping, Sequence

from gitops.text.markdown import fenced

_MOST_POINTS = 60
_MOST_TICKS = 20
# Seen on white and on black alike, which the first colours of mermaid are not. A chart has no legend, so its
# title names them.
_COLOURS = {"blue": "#2f81f7", "orange": "#d2760a"}


def lines(title: str, x: str, y: str, points: Sequence[float], series: Mapping[str, Sequence[float]]) -> str:
    """Return a chart of one or two lines over the numbers `points`, each as long as `points`."""
    # Every nth point, and the last: an axis has room for so many.
    step = -(-len(points) // _MOST_POINTS) or 1
    chosen = sorted({*range(0, len(points), step), len(points) - 1}) if points else []
    values = [value for row in series.values() for value in (row[index] for index in chosen)]
    if len(chosen) < 2 or not values:
        return ""
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1
    return _chart(
        {},
        "xychart-beta",
        f'title "{_titled(title, list(series))}"',
        f'x-axis "{_word(x)}" {_ticks([points[index] for index in chosen])}',
        f'y-axis "{_word(y)}" {_number(low - margin)} --> {_number(high + margin)}',
        *(f"line [{', '.join(_number(row[index]) for index in chosen)}]" for row in series.values()),
    )


def bars(
    title: str,
    y: str,
    values: Mapping[str, float],
    before: Mapping[str, float] | None = None,
    names: tuple[str, str] = ("after", "before"),
) -> str:
    """Return a chart of horizontal bars of shares, 0 to 1, one for each name.

    `before` is drawn as a line across them, where it has something for each. `names` are those of both.
    """
    if not values:
        return ""
    compared = before is not None and values.keys() <= before.keys()
    drawn = [list(values.values())]
    if before is not None and compared:
        drawn.append([before[name] for name in values])
    # Shares end at 1, and where an axis starts should be easy to see.
    low = math.floor((min(map(min, drawn)) - 0.02) * 20) / 20
    shown = _titled(title, names if compared else names[:1])
    return _chart(
        {"height": 120 + 22 * len(values), "width": 760},
        "xychart-beta horizontal",
        f'title "{shown if compared else _word(title)}"',
        f"x-axis [{', '.join(_quoted(name) for name in values)}]",
        f'y-axis "{_word(y)}" {_number(low)} --> {_number(max(1.0, *map(max, drawn)))}',
        *(
            f"{kind} [{', '.join(map(_number, row))}]"
            for kind, row in zip(("bar", "line"), drawn, strict=False)
        ),
    )


def _chart(options: Mapping[str, object], kind: str, *rows: str) -> str:
    palette = {"plotColorPalette": ", ".join(_COLOURS.values())}
    settings = {"xyChart": options, "themeVariables": {"xyChart": palette}}
    if not options:
        del settings["xyChart"]
    body = "\n".join([f"%%{{init: {json.dumps(settings)}}}%%", kind, *(f"    {row}" for row in rows)])
    return fenced(body, "mermaid")


def _titled(title: str, names: Sequence[str]) -> str:
    if len(names) < 2:
        return f"{_word(title)} ({_word(names[0])})"
    pairs = zip(names, _COLOURS, strict=False)
    return f"{_word(title)} ({', '.join(f'{_word(name)}: {colour}' for name, colour in pairs)})"


def _ticks(points: Sequence[float]) -> str:
    # On a scale of few numbers mermaid puts ticks between them, at the epoch 1.5.
    if len(points) <= _MOST_TICKS:
        return f"[{', '.join(_quoted(_number(point)) for point in points)}]"
    return f"{_number(points[0])} --> {_number(points[-1])}"


def _number(value: float) -> str:
    # Mermaid reads no exponents.
    text = f"{value:.5f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def _quoted(name: str) -> str:
    return f'"{_word(name)}"'


def _word(text: str) -> str:
    """Return the part of a name that mermaid cannot take for syntax."""
    return re.sub(r"[^A-Za-z0-9.-]+", " ", text)[:40].strip() or "-"
