"""The mouth: how far it is open, whether it smiles, how full and of what colour its lips are."""

import numpy as np

from face_attributes.synthetic.canvas import Canvas, mix, moved, spline, tone
from face_attributes.synthetic.subject import Subject

_LIPSTICKS = ((190, 16, 38), (206, 28, 68), (158, 14, 48), (222, 54, 96), (120, 12, 44), (214, 40, 30))


def draw_mouth(canvas: Canvas, subject: Subject) -> None:
    place, rng = subject.pose.place, subject.dice.of("mouth")
    width, height, shade, pout = rng.normal(0, (0.8, 0.5, 0.04, 0.2))
    stick = _LIPSTICKS[int(rng.integers(len(_LIPSTICKS)))]
    gap_share = rng.random()
    smiling, ajar, big = subject.has("Smiling"), subject.has("Mouth_Slightly_Open"), subject.has("Big_Lips")
    lipstick = subject.has("Wearing_Lipstick")

    half = (20.5 if smiling else 15.0) + width + (1.0 if big else 0)
    y = 34.5 + height
    corner = -6.0 if smiling else 1.6
    upper, lower = (6.0, 8.0) if big else (2.5 + pout, 3.6 + pout)
    if not subject.has("Young"):
        upper *= 0.9
    gap = (5.0 + 3.0 * gap_share if smiling else 4.4 + 2.8 * gap_share) if ajar else 0.0
    sag = (
        2.4 if smiling else 0.0
    )  # how far the middle hangs below the line between the corners, beside `corner`

    left, right = (-half, y + corner), (half, y + corner)
    top_lip = [
        left,
        (-half * 0.5, y - upper * 0.75 + corner * 0.35 - gap * 0.3),
        (-3.2, y - upper - gap * 0.35),
    ]
    top_lip += [(0, y - upper * 0.72 - gap * 0.35), *[(-x, v) for x, v in reversed(top_lip)]]
    top_edge = [left, (-half * 0.5, y + corner * 0.36 + sag * 0.4 - gap * 0.25), (0, y + sag - gap * 0.35)]
    top_edge += [(-x, v) for x, v in reversed(top_edge[:2])]
    low_edge = [left, (-half * 0.55, y + corner * 0.36 + sag * 0.6 + gap * 0.6), (0, y + sag + gap * 0.75)]
    low_edge += [(-x, v) for x, v in reversed(low_edge[:2])]
    low_lip = [
        left,
        (-half * 0.5, y + corner * 0.3 + sag + gap * 0.75 + lower * 0.75),
        (0, y + sag + gap * 0.8 + lower),
    ]
    low_lip += [(-x, v) for x, v in reversed(low_lip[:2])]
    assert right == top_lip[-1]

    if lipstick:
        color = tone(stick, 1 + shade)
    else:
        share = 0.34 if subject.has("Male") else 0.42
        color = tone(mix(subject.skin, (176, 78, 74), share), 0.88 + shade)
    top, low, inner, outer = (spline(line) for line in (top_edge, low_edge, top_lip, low_lip))
    below = spline(
        [(-9, y + sag + gap + lower + 3), (0, y + sag + gap + lower + 5), (9, y + sag + gap + lower + 3)]
    )
    canvas.soft([place(np.concatenate([below, moved(below[::-1], 0, 2)]), 2)], subject.shade(0.55), 0.35, 1.4)
    if gap:
        canvas.fill(place(np.concatenate([top, low[::-1]]), 2), (58, 14, 18))
        reach = 0.62 if smiling else 0.42
        teeth = [(x, v + (0.2 if smiling else 0.0)) for x, v in top_edge]
        bite = [(x, t + (v - t) * reach) for (x, t), (_, v) in zip(teeth, low_edge, strict=True)]
        row = np.concatenate([spline(teeth), spline(bite)[::-1]])
        canvas.fill(place(row * ((0.94 if smiling else 0.7), 1), 2), (246, 243, 236))
    canvas.fill(place(np.concatenate([inner, top[::-1]]), 3), tone(color, 0.88))
    canvas.fill(place(np.concatenate([low, outer[::-1]]), 3), color)
    if not gap:
        canvas.ribbon(place(top, 2), (1.2, 1.6, 1.2), tone(color, 0.42))
    if lipstick or big:
        glow = spline(
            [
                (-6, y + sag + gap * 0.8 + lower * 0.45),
                (0, y + sag + gap * 0.8 + lower * 0.58),
                (6, y + sag + gap * 0.8 + lower * 0.45),
            ]
        )
        canvas.soft([place(np.concatenate([glow, moved(glow[::-1], 0, 1.4)]), 4)], (255, 236, 232), 0.5, 0.8)
    if smiling:
        for x, v in (left, right):
            dimple = [(x * 1.02, v - 2.5), (x * 1.1, v), (x * 1.06, v + 2.5)]
            canvas.ribbon(place(dimple, 1), (0.5, 1.6, 0.5), subject.shade(0.55))
