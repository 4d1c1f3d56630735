"""Clothes, necktie, necklace and earrings."""

import numpy as np

from drawn_faces.canvas import Canvas, ellipse, mirrored, mix, moved, spline, tone
from drawn_faces.person import Person

SIDES = (-1, 1)
_CLOTH = (
    (52, 60, 82),
    (128, 44, 52),
    (72, 98, 84),
    (196, 188, 176),
    (46, 44, 48),
    (104, 84, 112),
    (66, 106, 140),
    (170, 128, 84),
    (222, 220, 216),
)
_SUITS = ((34, 36, 46), (48, 52, 64), (62, 58, 56), (26, 26, 30), (40, 52, 84))
_TIES = ((164, 24, 34), (28, 60, 140), (26, 104, 76), (120, 30, 110), (204, 150, 30), (24, 24, 28))
_METALS = ((236, 192, 84), (226, 228, 234), (236, 192, 84), (30, 168, 172), (206, 36, 64))


def draw_clothes(canvas: Canvas, person: Person) -> None:
    """Draw shoulders and clothes. The neckline leaves room for a necklace."""
    place, rng = person.pose.place, person.streams.of("clothes")
    cloth = _CLOTH[int(rng.integers(len(_CLOTH)))]
    suit = _SUITS[int(rng.integers(len(_SUITS)))]
    tie = _TIES[int(rng.integers(len(_TIES)))]
    style = rng.random()
    male, wears_tie = person.has("Male"), person.has("Wearing_Necktie")
    wide, rise = (92, 80) if male else (76, 86)
    shoulders = spline(
        [
            (-wide, 118),
            (-wide + 6, 92),
            (-40, rise),
            (-24, 72),
            (24, 72),
            (40, rise),
            (wide - 6, 92),
            (wide, 118),
        ]
    )
    formal = wears_tie or (male and style < 0.25)
    deep = person.has("Wearing_Necklace") or (not male and style < 0.5)
    neck_half = 25 if male else 20
    if formal:
        canvas.fill(place(shoulders, None), suit)
        shirt = [(-neck_half, 66), (neck_half, 66), (14, 120), (-14, 120)]
        canvas.fill(place(shirt, None), (236, 238, 242))
        if wears_tie:
            _draw_tie(canvas, person, tie)
        else:
            canvas.fill(place([(-10, 70), (10, 70), (0, 92)], None), person.shade(0.84))
        for side in SIDES:
            collar = mirrored([(neck_half, 62), (7, 78), (15, 92), (neck_half + 3, 72)], side)
            canvas.fill(place(collar, None), (250, 250, 252))
            canvas.ribbon(
                place(mirrored([(7, 78), (15, 92), (neck_half + 3, 72)], side), None), 1.2, (150, 154, 164)
            )
            lapel = mirrored([(neck_half + 3, 70), (neck_half + 14, 84), (12, 122)], side)
            canvas.ribbon(place(lapel, None), 1.8, tone(suit, 0.5))
        return
    canvas.fill(place(shoulders, None), cloth)
    if deep:
        neckline = spline([(-34, 70), (-31, 88), (-16, 101), (0, 104), (16, 101), (31, 88), (34, 70)])
    elif style < 0.75:
        neckline = spline([(-27, 68), (-22, 80), (0, 87), (22, 80), (27, 68)])
    else:
        neckline = np.array([(-27, 68), (-22, 76), (0, 100), (22, 76), (27, 68)], float)
    canvas.fill(place(neckline, None), person.shade(0.88))
    canvas.ribbon(place(neckline, None), 2.4, tone(cloth, 0.72))


def draw_necklace(canvas: Canvas, person: Person) -> None:
    if not person.has("Wearing_Necklace"):
        return
    place, rng = person.pose.place, person.streams.of("necklace")
    metal, style = _METALS[int(rng.integers(len(_METALS)))], int(rng.integers(3))
    half = 27 if person.has("Male") else 22
    curve = spline(
        [
            (-half, 66),
            (-half * 0.8, 79),
            (-half * 0.4, 87),
            (0, 90),
            (half * 0.4, 87),
            (half * 0.8, 79),
            (half, 66),
        ],
        steps=5,
    )
    placed = place(curve, None)
    canvas.soft([np.concatenate([placed, moved(placed[::-1], 0, 5)])], person.shade(0.4), 0.45, 1.2)
    if style == 0:  # pearls
        for point in placed[1:-1:2]:
            canvas.disc(point, 3.3, (150, 138, 130))
            canvas.disc(moved(point, -0.3, -0.3), 2.7, (248, 242, 234))
    else:
        canvas.ribbon(placed, 4.2, tone(metal, 0.45))
        canvas.ribbon(placed, 2.4, metal)
        pendant = place(ellipse((0, 94), (5, 6) if style == 1 else (4, 4)), None)
        canvas.fill(pendant, tone(metal, 0.45))
        canvas.fill(
            place(ellipse((0, 93.5), (3.6, 4.6) if style == 1 else (2.8, 2.8)), None),
            mix(metal, (255, 255, 255), 0.3),
        )


def draw_earrings(canvas: Canvas, person: Person) -> None:
    if not person.has("Wearing_Earrings"):
        return
    place, rng = person.pose.place, person.streams.of("earrings")
    metal, style = _METALS[int(rng.integers(len(_METALS)))], int(rng.integers(3))
    dark, bright = tone(metal, 0.35), mix(metal, (255, 255, 255), 0.25)
    for side in SIDES:
        lobe = place([(side * 45.5, 13)], None)[0]
        if style == 0:  # hoop
            canvas.ring(moved(lobe, side * 1.0, 9), 8.5, dark, 4)
            canvas.ring(moved(lobe, side * 1.0, 9), 8.5, metal, 2)
        elif style == 1:  # drop
            drop = spline([(0, 0), (4.6, 12), (0, 19), (-4.6, 12)], closed=True)
            canvas.fill(lobe + drop * (1.25, 1.06), dark)
            canvas.fill(moved(lobe + drop, 0, 0.6), bright)
            canvas.disc(lobe, 2.8, metal)
        else:  # large stud
            canvas.disc(moved(lobe, 0, 1), 6.6, dark)
            canvas.disc(moved(lobe, 0, 1), 5.2, metal)
            canvas.disc(moved(lobe, -1, -0.5), 2.2, (255, 255, 255))


def _draw_tie(canvas: Canvas, person: Person, color: tuple[int, int, int]) -> None:
    place = person.pose.place
    blade = [(-6, 88), (6, 88), (13, 124), (-13, 124)]
    canvas.fill(place(blade, None), color)
    for y in (98, 108, 118):
        stripe = [(-8 - (y - 92) * 0.12, y + 4), (8 + (y - 92) * 0.12, y - 4)]
        canvas.ribbon(place(stripe, None), 2, mix(color, (255, 255, 255), 0.4))
    knot = [(-9, 75), (9, 75), (6, 90), (-6, 90)]
    canvas.fill(place(knot, None), tone(color, 0.82))
    canvas.ribbon(place([(-6, 90), (6, 90)], None), 1.4, tone(color, 0.45))
