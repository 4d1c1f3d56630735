"""Eyes, their make-up, eyebrows and eyeglasses."""

import numpy as np

from drawn_faces.canvas import Canvas, Color, coverage, ellipse, mirrored, mix, moved, spline, tone
from drawn_faces.person import Person

SIDES = (-1, 1)
_EYE = np.array([21.5, -6.0])

_SHADOWS = ((88, 62, 140), (40, 98, 138), (124, 74, 44), (66, 64, 72), (34, 118, 104), (160, 66, 108))
_FRAMES = (
    (24, 22, 24),
    (24, 22, 24),
    (72, 42, 24),
    (30, 40, 88),
    (128, 26, 34),
    (196, 160, 84),
    (40, 84, 76),
)


def draw_eyes(canvas: Canvas, person: Person) -> None:
    rng = person.streams.of("eyes")
    gaze, size, spread = rng.normal(0, (1.1, 0.04, 0.5))
    shadow = mix(_SHADOWS[int(rng.integers(len(_SHADOWS)))], person.skin, rng.uniform(0.08, 0.3))
    for side in SIDES:
        center = (moved(_EYE, spread, 0)) * (side, 1)
        _draw_eye(canvas, person, side, center, 1 + size, float(np.clip(gaze, -2, 2)), shadow)


def _draw_eye(
    canvas: Canvas,
    person: Person,
    side: int,
    center: np.ndarray,
    size: float,
    gaze: float,
    shadow: Color,
) -> None:
    place = person.pose.place
    narrow, female, made_up = person.has("Narrow_Eyes"), not person.has("Male"), person.has("Heavy_Makeup")
    up, down = (2.3, 1.3) if narrow else (6.6, 4.4)
    if person.has("Smiling"):
        down *= 0.78
    wide = 10.6 * size + (0.8 if narrow else 0)
    # From the inner corner over the upper lid to the outer corner, and back below.
    upper = [(-wide, 1.2), (-wide * 0.5, -up * 0.82), (0.5, -up), (wide * 0.62, -up * 0.7), (wide, -0.6)]
    lower = [(wide * 0.45, down * 0.85), (-wide * 0.3, down)]

    def at(points: np.ndarray) -> np.ndarray:
        return place(mirrored(points, side) + center)

    lid = spline(upper)
    if made_up:
        above = spline([(-wide + 1, -2), (-wide * 0.4, -up - 6), (4, -up - 7.5), (wide + 4, -up - 3.5)])
        canvas.soft([at(np.concatenate([above, lid[::-1]]))], shadow, 0.85, 1.2)
        below = spline([(wide, 0), (wide * 0.4, down + 2.6), (-wide * 0.4, down + 2)])
        canvas.ribbon(at(below), (3, 2, 0.6), mix(shadow, person.skin, 0.35))
    else:
        crease = spline([(-wide * 0.8, -up * 0.5 - 3), (0, -up - 3.2), (wide * 0.9, -up * 0.4 - 3)])
        canvas.ribbon(at(crease), (0.4, 1.3, 0.6), person.shade(0.66))

    eye = at(np.concatenate([lid, spline([upper[-1], *lower, upper[0]])]))
    box, mask = coverage([eye])
    patch = Canvas(canvas.image[box].copy())
    corner = np.array([box[1].start, box[0].start])
    patch.image[:] = (240, 238, 235)
    middle = at(np.array([(0.3 + gaze * side, -0.4)]))[0] - corner
    scale = person.pose.scale
    patch.disc(middle, 5.7 * scale, tone(person.iris, 0.55))
    patch.disc(middle, 4.8 * scale, person.iris)
    patch.disc(middle, 2.4 * scale, (14, 12, 14))
    patch.disc(moved(middle, -1.7, -1.9), 1.2 * scale, (252, 252, 252))
    shade = at(np.concatenate([lid, moved(lid[::-1], 0, 2.2)])) - corner
    patch.fill(shade, (150, 140, 138) if not narrow else (110, 100, 98))
    patch.disc(middle, 2.0 * scale, (14, 12, 14))
    canvas.blend(box, mask, patch.image)

    ink = (18, 13, 14) if made_up or person.has("Black_Hair") else mix((30, 20, 18), person.hair, 0.15)
    if made_up:
        winged = spline([*upper, (wide + 5.5, -4.2)])
        canvas.ribbon(at(winged), (1.5, 3.0, 3.6, 3.4, 0.6), ink)
        canvas.ribbon(at(spline([upper[-1], *lower, upper[0]])), (2.0, 1.5, 0.6), ink)
    elif female:
        canvas.ribbon(at(spline([*upper, (wide + 2.5, -2.6)])), (0.9, 2.0, 2.2, 2.0, 0.5), ink)
    else:
        canvas.ribbon(at(lid), (0.8, 1.5, 1.5, 1.0), mix(ink, person.skin, 0.15))
        canvas.ribbon(at(spline([upper[-1], *lower, upper[0]])), (0.6, 0.9, 0.4), person.shade(0.6))


def draw_brows(canvas: Canvas, person: Person) -> None:
    rng = person.streams.of("brows")
    height, tilt, thick = rng.normal(0, (0.7, 0.4, 0.2))
    bushy, male = person.has("Bushy_Eyebrows"), person.has("Male")
    y = -18.5 + height
    if person.has("Arched_Eyebrows"):
        line = [(8.5, y - 0.5), (15, y - 4.6), (23, y - 8.6), (29.5, y - 7.2), (36.5, y + 2.5)]
    else:
        line = [(8, y + 0.4), (16, y - 0.8), (23, y - 1.0 + tilt), (30, y - 0.4 + tilt), (35.5, y + 0.8)]
    body = 7.6 if bushy else (3.7 if male else 2.9) + thick
    color = person.brows
    if person.has("Bald") or (person.has("Wearing_Hat") and not person.long_hair):
        color = (58, 42, 34)
    if bushy:
        color = mix(color, (24, 18, 16), 0.55)
    for side in SIDES:
        curve = mirrored(spline(line), side)
        widths = (body * 0.75, body, body * 0.9, body * 0.3)
        canvas.ribbon(person.pose.place(curve), widths, color)
        if bushy:
            for share in np.linspace(0.05, 0.85, 9):
                foot = curve[int(share * (len(curve) - 1))]
                tip = moved(foot, side * (1.5 + 3 * share), -body * 0.72)
                canvas.line(person.pose.place(np.stack([moved(foot, 0, body * 0.3), tip])), color)


def draw_eyeglasses(canvas: Canvas, person: Person) -> None:
    if not person.has("Eyeglasses"):
        return
    place, rng = person.pose.place, person.streams.of("eyeglasses")
    frame = _FRAMES[int(rng.integers(len(_FRAMES)))]
    style, thickness, glare = int(rng.integers(3)), rng.uniform(2.6, 3.8), rng.uniform(0.10, 0.28)
    for side in SIDES:
        if style == 0:
            rim = ellipse((0, 0), (16, 14.5), 32)
        elif style == 1:
            rim = spline(
                [(-15.5, -10), (0, -11), (16.5, -11.5), (16, 3), (10, 11), (-9, 11), (-15, 4)], closed=True
            )
        else:
            rim = spline(
                [(-15, -11), (15, -12), (17.5, -9), (14, 10), (4, 13), (-9, 11), (-15.5, -4)], closed=True
            )
        rim = mirrored(rim, side) + (moved(_EYE, 0.5, 1.5)) * (side, 1)
        placed = place(rim, 3)
        canvas.soft([placed], (226, 236, 242), glare, 0.4)
        shine = mirrored([(-3, -9), (2, -9), (-5, 9), (-10, 9)], side) + (moved(_EYE, 0, 1.5)) * (side, 1)
        canvas.soft([place(shine, 3)], (255, 255, 255), glare, 0.6)
        canvas.ribbon(np.concatenate([placed, placed[:2]]), thickness * person.pose.scale, frame)
        arm = np.concatenate([place(mirrored([(37, -9)], side), 3), place(mirrored([(47, -9)], side), None)])
        canvas.ribbon(arm, thickness, frame)
    bridge = spline([(-7, -6), (0, -8.5), (7, -6)])
    canvas.ribbon(place(bridge, 4), thickness, frame)
