"""The mouth: opening, smile, and size and colour of the lips."""

from collections.abc import Sequence

import numpy as np

from drawn_faces.canvas import Canvas, Color, mix, moved, spline, tone
from drawn_faces.person import Person

_LIPSTICKS = ((190, 16, 38), (206, 28, 68), (158, 14, 48), (222, 54, 96), (120, 12, 44), (214, 40, 30))
_TEETH, _INSIDE, _GLOSS = (246, 243, 236), (58, 14, 18), (255, 236, 232)


def draw_mouth(canvas: Canvas, person: Person) -> None:
    place, rng = person.pose.place, person.streams.of("mouth")
    wider, lower, shade, pout = rng.normal(0, (0.8, 0.5, 0.04, 0.2))
    stick = _LIPSTICKS[int(rng.integers(len(_LIPSTICKS)))]
    parted = rng.random()
    smiling, big = person.has("Smiling"), person.has("Big_Lips")
    color = _lip_color(person, stick, shade)

    half = (20.5 if smiling else 15.0) + wider + (1.0 if big else 0)
    y = 34.5 + lower
    # How far the corners lie below the middle of the mouth, and how far its middle hangs below that.
    corner, sag = (-6.0, 2.4) if smiling else (0.7, 0.0)
    above, below = (7.2, 9.6) if big else (2.4 + pout, 3.4 + pout)
    if not person.has("Young"):
        above *= 0.9
    gap = (
        (5.0 + 3.0 * parted if smiling else 4.4 + 2.8 * parted) if person.has("Mouth_Slightly_Open") else 0.0
    )

    # Four lines from corner to corner, from the top of the upper lip to the bottom of the lower one.
    end = (-half, y + corner)
    top = _symmetric(
        [
            end,
            (-half * 0.5, y - above * 0.75 + corner * 0.35 - gap * 0.3),
            (-3.2, y - above - gap * 0.35),
            (0, y - above * 0.72 - gap * 0.35),
        ]
    )
    teeth = _symmetric(
        [end, (-half * 0.5, y + corner * 0.36 + sag * 0.4 - gap * 0.25), (0, y + sag - gap * 0.35)]
    )
    floor = _symmetric(
        [end, (-half * 0.55, y + corner * 0.36 + sag * 0.6 + gap * 0.6), (0, y + sag + gap * 0.75)]
    )
    bottom = _symmetric(
        [
            end,
            (-half * 0.5, y + corner * 0.3 + sag + gap * 0.75 + below * 0.75),
            (0, y + sag + gap * 0.8 + below),
        ]
    )

    dip = y + sag + gap + below
    hollow = _symmetric([(-9, dip + 3), (0, dip + 5)])
    canvas.soft([place(_band(hollow, moved(hollow, 0, 2)), 2)], person.shade(0.55), 0.35, 1.4)
    if gap:
        canvas.fill(place(_band(teeth, floor), 2), _INSIDE)
        row = _band(teeth, teeth + (floor - teeth) * (0.62 if smiling else 0.42))
        canvas.fill(place(row * ((0.94 if smiling else 0.7), 1), 2), _TEETH)
    canvas.fill(place(_band(top, teeth), 3), tone(color, 0.88))
    canvas.fill(place(_band(floor, bottom), 3), color)
    if not gap:
        canvas.ribbon(place(teeth, 2), (1.2, 1.6, 1.2), tone(color, 0.42))
    if big or person.has("Wearing_Lipstick"):
        shine = y + sag + gap * 0.8
        glow = _symmetric([(-6, shine + below * 0.45), (0, shine + below * 0.58)])
        canvas.soft([place(_band(glow, moved(glow, 0, 1.4)), 4)], _GLOSS, 0.5, 0.8)
    if smiling:
        for x in (-half, half):
            dimple = [(x * 1.02, end[1] - 2.5), (x * 1.1, end[1]), (x * 1.06, end[1] + 2.5)]
            canvas.ribbon(place(dimple, 1), (0.5, 1.6, 0.5), person.shade(0.55))


def _lip_color(person: Person, stick: Color, shade: float) -> Color:
    if person.has("Wearing_Lipstick"):
        return tone(stick, 1 + shade)
    redness = 0.34 if person.has("Male") else 0.42
    return tone(mix(person.skin, (176, 78, 74), redness), 0.88 + shade)


def _symmetric(left: Sequence[tuple[float, float]]) -> np.ndarray:
    """The curve through these points, the last of which lies in the middle, and their mirror images."""
    return spline([*left, *((-x, y) for x, y in left[-2::-1])])


def _band(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The polygon between two lines that run the same way."""
    return np.concatenate([above, below[::-1]])
