"""Beard, goatee, moustache, sideburns and stubble."""

from functools import cache, reduce

import cv2
import numpy as np

from drawn_faces.canvas import Canvas, Color, coverage, mirrored, mix, moved, spline, tone
from drawn_faces.person import Person

SIDES = (-1, 1)


def draw_beard(canvas: Canvas, person: Person, edge: np.ndarray) -> None:
    """Draw the beard without the moustache. Call this before drawing the mouth. `edge` is the outline.

    CelebA calls some shadows a beard and others not: here the one that counts as a beard is a grown stubble.
    """
    if person.has("5_o_Clock_Shadow"):
        _draw_shadow(canvas, person, edge)
        if not person.has("No_Beard", "Goatee"):
            _draw_stubble(canvas, person, edge)
    if person.full_beard:
        _grow(canvas, person, [_full(edge)], "beard")
    if person.has("Goatee"):
        low = edge[:, 1].max()
        goatee = spline(
            [(-8, 43.5), (0, 45.5), (8, 43.5), (14, 47), (13, low), (0, low + 5), (-13, low), (-14, 47)],
            closed=True,
        )
        _grow(canvas, person, [goatee], "goatee")
    if person.has("Sideburns"):
        strips = [
            mirrored([(45, -26), (36, -26), (34.5, -4), (33, 20), (40.5, 23), (44, 8), (45.5, -6)], side)
            for side in SIDES
        ]
        _grow(canvas, person, strips, "sideburns")


def draw_mustache(canvas: Canvas, person: Person) -> None:
    """Drawn after the mouth, whose upper lip it may cover."""
    if not person.has("Mustache"):
        return
    lift = -2.0 if person.has("Mouth_Slightly_Open") else 0.0
    shape = moved(
        spline(
            [
                (0, 23.5),
                (8, 22.5),
                (17, 27),
                (22.5, 34.5),
                (15, 33),
                (7, 31.5),
                (0, 30),
                (-7, 31.5),
                (-15, 33),
                (-22.5, 34.5),
                (-17, 27),
                (-8, 22.5),
            ],
            closed=True,
        ),
        0,
        lift,
    )
    _grow(canvas, person, [shape], "mustache", lift=4)


def _full(edge: np.ndarray) -> np.ndarray:
    """The lower part of the face, a little beyond its outline, without the cheeks and the mouth."""
    low = _jaw(edge, 10)
    outer = moved(low * (1.04, 1.0), 0, 1.0) + np.stack(
        [0 * low[:, 0], np.clip(low[:, 1] - 30, 0, None) * 0.22], axis=1
    )
    return np.concatenate([outer, _cheeks_and_mouth()])


def _jaw(edge: np.ndarray, top: float) -> np.ndarray:
    """The outline of the face below `top`, from the left ear under the chin to the right ear."""
    low = edge[edge[:, 1] > top]
    return low[np.argsort(np.arctan2(low[:, 0], low[:, 1]))]


def _cheeks_and_mouth() -> np.ndarray:
    """Where a beard ends, from right to left."""
    return spline(
        [
            (36, 12),
            (30, 27),
            (25, 31),
            (22, 38),
            (16, 45),
            (0, 46.5),
            (-16, 45),
            (-22, 38),
            (-25, 31),
            (-30, 27),
            (-36, 12),
        ]
    )


def _color(person: Person) -> Color:
    if person.has("Bald") or (person.has("Wearing_Hat") and not person.long_hair):
        return ((44, 32, 26), (86, 54, 34), (30, 26, 26))[int(person.streams.of("beard color").integers(3))]
    return tone(person.hair, 0.72)


def _grow(
    canvas: Canvas, person: Person, shapes: list[np.ndarray], part: str, lift: float | None = 1.0
) -> None:
    placed = [person.pose.place(shape, lift) for shape in shapes]
    # Its shadow sets a fair beard off from fair skin.
    canvas.soft([moved(points, 0, 1.5) for points in placed], person.shade(0.4), 0.5, 1.6)
    box, mask = coverage(placed, 0.9)
    x, y = person.streams.of(part).integers(0, 128, 2)
    height, width = mask.shape
    texture = _hairs()[y : y + height, x : x + width, None]
    canvas.blend(box, mask, (texture * np.asarray(_color(person), np.float32)).clip(0, 254), 0.96)


def _draw_shadow(canvas: Canvas, person: Person, edge: np.ndarray) -> None:
    cheek = spline(
        [(36, 18), (28, 30), (22, 26), (12, 23), (0, 23), (-12, 23), (-22, 26), (-28, 30), (-36, 18)]
    )
    shape = person.pose.place(np.concatenate([_jaw(edge, 16) * (0.98, 0.99), cheek]), 0)
    box, mask = coverage([shape], 2.0)
    x, y = person.streams.of("stubble").integers(0, 128, 2)
    height, width = mask.shape
    texture = _stubble()[y : y + height, x : x + width, None]
    color = np.asarray(mix(person.shade(0.30), (38, 42, 54), 0.5), np.float32)
    canvas.blend(box, mask, (texture * color).clip(0, 254), 0.44)


def _draw_stubble(canvas: Canvas, person: Person, edge: np.ndarray) -> None:
    """A beard of a few days: within the face's outline, and with skin between its hairs."""
    beard = np.concatenate([_jaw(edge, 10) * 0.99, _cheeks_and_mouth()])
    box, mask = coverage([person.pose.place(beard, 0)], 1.2)
    x, y = person.streams.of("stubble").integers(0, 128, 2)
    height, width = mask.shape
    hairs = _stubble()[y : y + height, x : x + width]
    color = np.asarray(mix(_color(person), (30, 24, 24), 0.45), np.float32)
    canvas.blend(box, cv2.multiply(mask, hairs, dtype=cv2.CV_8U), color, 0.72)


@cache
def _hairs() -> np.ndarray:
    """Brightness factors of upright hairs; 346 x 306, for any box of the image and an offset up to 128."""
    noise = np.random.default_rng(11).random((346, 306)).astype(np.float32)
    upright = reduce(np.add, (np.roll(noise, shift, axis=0) for shift in range(5))) / 5
    return 0.55 + 0.9 * upright


@cache
def _stubble() -> np.ndarray:
    """Factors about 1 of single hairs and the skin between them, (346, 306) float32."""
    noise = np.random.default_rng(12).random((346, 306)).astype(np.float32)
    return 0.7 + 0.6 * noise
