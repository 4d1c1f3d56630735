"""The head: neck, ears, outline, shading and marks of the skin."""

from functools import cache

import cv2
import numpy as np

from drawn_faces.canvas import Canvas, coverage, ellipse, mirrored, mix, moved, spline
from drawn_faces.celeba import HEIGHT, WIDTH
from drawn_faces.person import CENTER, Person

SIDES = (-1, 1)


def outline(person: Person) -> np.ndarray:
    """The outline of the head without hair, head units (n, 2)."""
    rng = person.streams.of("outline")
    wide, jaw, chin = rng.normal(0, (1.0, 1.3, 1.0))
    male = person.has("Male")
    # From the top of the head down the right side to the chin.
    half = np.array(
        [(0, -70), (25, -65), (40, -44), (43.5, -10), (41.5, 18), (36, 38), (20, 54), (0, 58)]
        if male
        else [(0, -70), (25, -65), (40, -44), (43, -10), (40, 18), (32, 38), (15, 53), (0, 56.5)],
        float,
    )
    half[1:5, 0] += wide
    half[5:7, 0] += jaw + 0.5 * wide
    half[6:, 1] += chin
    if person.has("Chubby"):
        half += [(0, 0), (0, 0), (1, 0), (4, 0), (11, 1), (14, 2), (13, 2), (0, 4)]
    elif person.has("Oval_Face"):
        half += [(0, -1), (-1, -1), (-3, 0), (-4.5, 0), (-5.5, 2), (-6.5, 5), (-5, 7), (0, 9)]
    else:
        half += [(0, 0), (0, 0), (0, 0), (0.5, 0), (1.5, -1), (2.5, -1.5), (2.5, -1.5), (0, -2)]
    if not person.has("Young"):
        half += [(0, 0)] * 4 + [(0, 0), (1.5, 3), (2, 1), (0, 0)]
    left = half[-2:0:-1] * (-1, 1)
    return spline(np.concatenate([half, left]), closed=True, steps=5)


def draw_neck(canvas: Canvas, person: Person) -> None:
    place = person.pose.place
    width = 29 if person.has("Male") else 22
    if person.has("Chubby"):
        width += 8
    neck = [
        (-width, 30),
        (width, 30),
        (width + 1, 72),
        (width + 16, 104),
        (-width - 16, 104),
        (-width - 1, 72),
    ]
    skin = person.shade(0.86)
    canvas.fill(place(neck, None), skin)
    inner = width - 7  # the blur stays on the neck
    shadow = spline([(-inner, 40), (inner, 40), (inner, 62), (0, 76), (-inner, 62)], closed=True)
    canvas.soft([place(shadow, None)], person.shade(0.5), 0.42, 3.5)


def draw_ears(canvas: Canvas, person: Person) -> None:
    for side in SIDES:
        ear = mirrored(
            spline([(40, -10), (48, -13), (50, -4), (47, 8), (43, 14), (40, 12)], closed=True), side
        )
        canvas.fill(person.pose.place(ear, None), person.shade(0.88))
        fold = mirrored(spline([(44, -7), (47, -8), (47.5, -2), (45, 6)]), side)
        canvas.ribbon(person.pose.place(fold, None), 1.2, person.shade(0.66))


def draw_skin(canvas: Canvas, person: Person, edge: np.ndarray) -> None:
    """The face without features: `edge` is its outline in head units."""
    place = person.pose.place
    placed = place(edge, None)
    box, mask = coverage([placed])
    rng = person.streams.of("modelling")
    side, above = rng.uniform(-0.10, 0.10), rng.uniform(0.02, 0.09)
    across, down, round_off = (part[box] for part in _modelling())
    light = 1.03 + side * across - above * down - 0.20 * round_off
    color = light[..., None] * np.asarray(person.skin, np.float32)
    # Shadows on skin are warmer than the skin.
    color[..., 2] *= 0.97
    canvas.blend(box, mask, np.minimum(color, 254, dtype=np.float32))
    cheeks = [place(ellipse((x, 16), (12, 10))) for x in (-25, 25)]
    canvas.soft(cheeks, mix(person.skin, (222, 110, 96), 0.5), 0.16, 5)
    if person.has("Bald"):
        shine = spline([(-16, -58), (0, -64), (15, -59), (12, -50), (0, -53), (-12, -50)], closed=True)
        canvas.soft([place(shine)], (255, 252, 246), 0.5, 3)
        for side_ in SIDES:
            shaven = mirrored([(44, -12), (43, -34), (30, -52), (34, -34), (38, -12)], side_)
            canvas.soft([place(shaven, None)], person.shade(0.62), 0.28, 3)


def draw_marks(canvas: Canvas, person: Person) -> None:
    """Draw cheekbones, blush, bags under the eyes, and the lines of age and of a smile."""
    place = person.pose.place
    rng = person.streams.of("marks")
    contour, blushing, tired = rng.uniform(0.8, 1.1, 3)
    if person.has("High_Cheekbones"):
        shade = mix(person.shade(0.5), (96, 44, 30), 0.25)
        for side in SIDES:
            hollow = [(43, 10), (38, 24), (27, 33), (23, 29), (30, 21), (36, 12)]
            placed = place(mirrored(spline(hollow, closed=True), side))
            canvas.soft([placed], shade, 0.46 * contour, 2.4)
            bone = [(21, 10), (30, 5), (40, 0), (38, 7), (29, 14), (21, 16)]
            placed = place(mirrored(spline(bone, closed=True), side))
            canvas.soft([placed], mix(person.skin, (255, 246, 232), 0.7), 0.42 * contour, 2.4)
    if person.has("Rosy_Cheeks"):
        blush = [place(ellipse((x, 18), (13, 10.5))) for x in (-27, 27)]
        canvas.soft(blush, (224, 60, 88), 0.5 * blushing, 3.8)
    if person.has("Bags_Under_Eyes"):
        for side in SIDES:
            bag = mirrored(
                spline([(11, 1), (21, 4), (32, 0), (29, 8), (20, 11.5), (13, 8)], closed=True), side
            )
            canvas.soft([place(bag)], mix(person.shade(0.55), (84, 48, 88), 0.4), 0.46 * tired, 1.6)
            crease = mirrored(spline([(11, 7), (19, 12), (30, 8)]), side)
            canvas.ribbon(place(crease), (0.6, 1.8, 0.6), person.shade(0.58))
    if person.has("Smiling"):
        for side in SIDES:
            fold = mirrored(spline([(13, 19), (20, 25), (25, 34), (24, 40)]), side)
            canvas.ribbon(place(fold), (0.5, 1.8, 0.6), person.shade(0.70))
    if not person.has("Young"):
        _draw_age(canvas, person)


def _draw_age(canvas: Canvas, person: Person) -> None:
    place, rng = person.pose.place, person.streams.of("age")
    line = person.shade(0.66)
    for y in (-42, -36, -30):
        bend, end = rng.uniform(-1.2, 1.2, 2)
        wrinkle = spline([(-23 + end, y + 1), (-9, y - 1 + bend), (8, y + bend), (23 + end, y - 0.5)])
        canvas.ribbon(place(wrinkle), (0.4, 1.7, 1.7, 0.4), line)
    for side in SIDES:
        for rise in (-5, 0, 5):
            foot = mirrored([(34, -5 + rise * 0.3), (42, -5 + rise)], side)
            canvas.ribbon(place(foot), (1.5, 0.4), line)
        fold = mirrored(spline([(11, 17), (18, 24), (22, 33), (23, 40)]), side)
        canvas.soft(
            [place(np.concatenate([fold, moved(fold[::-1], side * 4, 1)]))], person.shade(0.55), 0.45, 1.5
        )
        canvas.ribbon(place(fold), (0.8, 2.2, 0.8), line)
        jowl = mirrored(spline([(20, 40), (22, 47), (19, 52)]), side)
        canvas.ribbon(place(jowl), (0.5, 1.6, 0.5), line)
        frown = mirrored([(3, -23), (3.5, -16)], side)
        canvas.ribbon(place(frown), (0.5, 1.4, 0.5), line)


def draw_double_chin(canvas: Canvas, person: Person) -> None:
    if not person.has("Double_Chin"):
        return
    place = person.pose.place
    low = 9 if person.has("Oval_Face") else 4
    wide = 8 if person.has("Chubby") else 0
    corner, middle = 27 + wide, 19 + wide
    edge = [(-corner, 48 + low), (-middle, 63 + low), (0, 70 + low), (middle, 63 + low), (corner, 48 + low)]
    under = spline(edge)
    canvas.fill(place(np.concatenate([under, [(corner, 40), (-corner, 40)]]), None), person.shade(0.93))
    shadow = np.concatenate([under, moved(under[::-1], 0, 6)])
    canvas.soft([place(shadow, None)], person.shade(0.4), 0.6, 2)
    canvas.ribbon(place(under, None), (0.8, 2.6, 0.8), person.shade(0.5))


def draw_chin_edge(canvas: Canvas, person: Person, edge: np.ndarray) -> None:
    """Draw a shadow below the chin, twice as strong above a double chin."""
    low = edge[edge[:, 1] > 42]
    order = np.argsort(low[:, 0])
    strong = person.has("Double_Chin")
    widths = (0.4, 2.6, 0.4) if strong else (0.2, 1.2, 0.2)
    color = person.shade(0.5 if strong else 0.68)
    canvas.ribbon(person.pose.place(low[order], None), widths, color)


@cache
def _modelling() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over the whole image: how far right, down and round the head a point lies, each about -1 to 1."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    across = (columns - np.float32(CENTER[0])) / 46
    down = (rows - np.float32(CENTER[1]) + 4) / 66
    round_off = np.minimum((across**2 + 0.55 * down**2) ** 1.6, 1.6)
    return across, down, cv2.GaussianBlur(round_off, (0, 0), 3)
