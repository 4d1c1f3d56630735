"""The power of the drift check as an SVG: a panel for each knob, a line for each way to check."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 200, 150  # of a panel's plot, in pixels
LEFT, TOP, GAP, BELOW = 46, 64, 34, 76
# Dashes and marks distinguish the lines without colours
STYLES = (("#0b6e4f", "", "circle"), ("#1d4ed8", "6 3", "square"), ("#b45309", "2 3", "circle"))


def draw(power: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the SVG of `power[knob][level][way]`, each 0 to 1."""
    ways = list(next(iter(next(iter(power.values())).values())))
    width = LEFT + len(power) * (WIDTH + GAP)
    height = TOP + HEIGHT + BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#111827">',
        "<title>Share of weeks with an alarm, by how far each knob of the renderer is turned</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-weight="600">Share of weeks with an alarm</text>',
        *_legend(ways),
    ]
    for index, (knob, levels) in enumerate(power.items()):
        parts += _panel(knob, levels, ways, LEFT + index * (WIDTH + GAP), labelled=index == 0)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(ways: Sequence[str]) -> list[str]:
    parts, x = [], LEFT
    for way, (colour, dashes, mark) in zip(ways, STYLES, strict=True):
        parts += [_line([(x, 38), (x + 30, 38)], colour, dashes), _mark(x + 15, 38, colour, mark)]
        parts.append(f'<text x="{x + 36}" y="42">{escape(way)}</text>')
        x += 60 + 7 * len(way)
    return parts


def _panel(
    knob: str, levels: Mapping[str, Mapping[str, float]], ways: Sequence[str], x: int, *, labelled: bool
) -> list[str]:
    parts = []
    for share in (0, 0.5, 1):
        y = _y(share)
        parts.append(_line([(x, y), (x + WIDTH, y)], "#d1d5db", ""))
        if labelled:
            parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    step = WIDTH / len(levels)
    places = [x + step * (index + 0.5) for index in range(len(levels))]
    for place, level in zip(places, levels, strict=True):
        parts.append(f'<text x="{place:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{level}</text>')
    for way, (colour, dashes, mark) in zip(ways, STYLES, strict=True):
        points = [(place, _y(rates[way])) for place, rates in zip(places, levels.values(), strict=True)]
        parts.append(_line(points, colour, dashes))
        parts += [_mark(*point, colour, mark) for point in points]
    middle = x + WIDTH / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{TOP + HEIGHT + 42}" text-anchor="middle" '
        f'font-weight="600">{escape(knob)}</text>'
    )
    return parts


def _y(share: float) -> float:
    return TOP + HEIGHT * (1 - share)


def _line(points: Sequence[tuple[float, float]], colour: str, dashes: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'


def _mark(x: float, y: float, colour: str, mark: str) -> str:
    if mark == "square":
        return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
