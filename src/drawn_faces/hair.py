"""Hair: its line on the forehead, its length, its waves, its colour; and hats."""

from functools import cache

import cv2
import numpy as np

from drawn_faces.canvas import Canvas, coverage, ellipse, mirrored, mix, moved, normals, spline, tone
from drawn_faces.celeba import HEIGHT, WIDTH
from drawn_faces.person import CENTER, Person

SIDES = (-1, 1)
_HATS = (
    (38, 52, 92),
    (128, 30, 36),
    (44, 44, 48),
    (62, 88, 66),
    (196, 178, 142),
    (208, 122, 40),
    (90, 60, 112),
    (222, 222, 216),
)


def draw_hair_behind(canvas: Canvas, person: Person) -> None:
    """Draw the hair behind neck and shoulders, or pinned up behind the head."""
    place = person.pose.place
    if person.long_hair:
        wide, low = _reach(person)
        shape = spline(
            [(-44, -40), (0, -62), (44, -40), (wide, 10), (wide - 4, low), (-wide + 4, low), (-wide, 10)],
            closed=True,
        )
        canvas.fill(place(shape, None), tone(person.hair, 0.50))
    elif _pinned_up(person):
        rng = person.streams.of("bun")
        radius, across = rng.uniform(15, 20), rng.normal(0, 5)
        bun = place(ellipse((across, -84), (radius, radius * 0.85)), None)
        _paint(canvas, person, [bun])


def draw_hair(canvas: Canvas, person: Person) -> None:
    """Draw the hair on and beside the head, except on a bald head. A hat covers the top."""
    if person.has("Bald"):
        return
    hat = person.has("Wearing_Hat")
    if hat and not person.long_hair:
        return
    shapes = [] if hat else [_cap(person)]
    if person.long_hair:
        shapes += [_curtain(person, side) for side in SIDES]
    elif not person.has("Male"):
        shapes += [mirrored([(44, -34), (46, -12), (43, 2), (41.5, -4), (38, -34)], side) for side in SIDES]
    else:
        shapes += [
            mirrored([(41, -40), (46.5, -30), (46, -16), (40.5, -15), (37, -34)], side) for side in SIDES
        ]
    placed = [person.pose.place(shape, None) for shape in shapes]
    if person.has("Bangs"):
        placed.append(person.pose.place(_bangs(person), 2))
    shadow = [moved(points, 0, 3) for points in placed]
    canvas.soft(shadow, person.shade(0.35), 0.30, 2.0)
    _paint(canvas, person, placed)


def draw_hat(canvas: Canvas, person: Person) -> None:
    if not person.has("Wearing_Hat"):
        return
    place, rng = person.pose.place, person.streams.of("hat")
    color = _HATS[int(rng.integers(len(_HATS)))]
    style = int(rng.integers(3))
    brow = spline([(-46, -30), (-30, -38), (0, -41), (30, -38), (46, -30)])
    high = rng.uniform(-92, -84)
    dome = spline([(46, -30), (48, -54), (34, high + 8), (0, high), (-34, high + 8), (-48, -54), (-46, -30)])
    canvas.soft([moved(place(brow, None), 0, 4), place(dome, None)], person.shade(0.35), 0.35, 2.5)
    body = place(np.concatenate([brow, dome]), None)
    canvas.fill(body, color)
    canvas.soft(
        [place(spline([(-38, -44), (-40, -58), (-22, -76), (-14, -60), (-24, -46)], closed=True), None)],
        (255, 255, 255),
        0.22,
        5,
    )
    if style == 0:  # knitted
        for x in range(-42, 43, 7):
            rib = spline([(x, -40), (x * 0.98, -58), (x * 0.72, -74), (x * 0.2, high + 2)])
            canvas.ribbon(place(rib, None), 1.4, tone(color, 0.78))
        fold = np.concatenate([moved(brow, 0, 2), moved(brow[::-1] * (1.04, 1), 0, -14)])
        canvas.fill(place(fold, None), tone(color, 0.82))
        canvas.ribbon(place(moved(brow * (1.04, 1), 0, -14), None), 1.6, tone(color, 0.55))
    elif style == 1:  # cap with a peak
        for x in (-18, 0, 18):
            seam = spline([(x, -40), (x * 0.9, -62), (0, high)])
            canvas.ribbon(place(seam, None), 1.3, tone(color, 0.72))
        peak = spline([(-40, -36), (0, -43), (40, -36), (34, -26), (0, -20.5), (-34, -26)], closed=True)
        canvas.soft([place(moved(peak, 0, 4), 8)], (20, 16, 16), 0.4, 2.5)
        canvas.fill(place(peak, 8), tone(color, 0.70))
        canvas.ribbon(place(spline([(-34, -26), (0, -20.5), (34, -26)]), 8), 1.6, tone(color, 0.45))
    else:  # with a brim
        band = np.concatenate([moved(brow, 0, -1), moved(brow[::-1], 0, -12)])
        canvas.fill(place(band, None), mix(tone(color, 0.35), (30, 24, 24), 0.4))
        brim = spline(
            [(-70, -33), (-40, -42), (0, -45), (40, -42), (70, -33), (40, -28), (0, -29), (-40, -28)],
            closed=True,
        )
        canvas.soft([place(moved(brim, 0, 4), None)], (20, 16, 16), 0.4, 2.5)
        canvas.fill(place(brim, None), tone(color, 0.86))
        canvas.ribbon(
            place(spline([(-70, -33), (-40, -28), (0, -29), (40, -28), (70, -33)]), None),
            1.4,
            tone(color, 0.55),
        )


def _pinned_up(person: Person) -> bool:
    plain = not person.has("Male", "Wearing_Hat", "Bald") and not person.long_hair
    return plain and person.streams.of("pinned up").random() < 0.6


def _reach(person: Person) -> tuple[float, float]:
    """How far long hair reaches to the side and down."""
    wide, low = person.streams.of("length").random(2)
    cheeks = 7 if person.has("Chubby") else 0
    if person.has("Male"):
        return 53 + 4 * wide + cheeks, 46 + 16 * low
    return (59 if person.has("Wavy_Hair") else 53) + 6 * wide + cheeks, 66 + 40 * low


def _cap(person: Person) -> np.ndarray:
    """Hair on top of the head, from the outside to the line where it begins."""
    rng = person.streams.of("cap")
    volume, part, peak = rng.random(3)
    wavy, receding = person.has("Wavy_Hair"), person.has("Receding_Hairline")
    full = 5 + 5 * volume + (5 if wavy else 0) - (3 if receding else 0)
    side = -1 if part < 0.5 else 1
    top = spline(
        [
            (46, -14),
            (46 + full * 0.45, -38),
            (35 + full * 0.5, -60 - full * 0.4),
            (14, -70 - full),
            (-14, -70 - full),
            (-35 - full * 0.5, -60 - full * 0.4),
            (-46 - full * 0.45, -38),
            (-46, -14),
        ]
    )
    if wavy:
        top = _scalloped(top, 2.2, 5, person)
    if receding:
        line = [
            (-43, -16),
            (-40, -36),
            (-29, -63),
            (-16, -64),
            (0, -55 - 2 * peak),
            (16, -64),
            (29, -63),
            (40, -36),
            (43, -16),
        ]
    elif person.has("Male"):
        line = [
            (-43, -16),
            (-38, -36),
            (-30, -45),
            (-6, -47 - 2 * peak),
            (18, -47),
            (31, -44),
            (38, -36),
            (43, -16),
        ]
    else:
        split = side * (6 + 8 * abs(part - 0.5))
        line = [(-43, -12), (-38, -32), (-24, -43), (split, -52), (24, -43), (38, -32), (43, -12)]
    return np.concatenate([top, spline(line)])


def _bangs(person: Person) -> np.ndarray:
    """Hair over the forehead: straight across, or swept to one side; in strands, not cut by a ruler."""
    rng = person.streams.of("bangs")
    swept, side, ragged = rng.random() < 0.3, 1 if rng.random() < 0.5 else -1, rng.uniform(-1.5, 1.5, 10)
    x = np.linspace(-40, 40, 10)
    low = np.where(swept, -34 + 15 * (x * side + 40) / 80, -21 - 3 * (x / 40) ** 2) + ragged
    low[[0, -1]] = -14
    teeth = np.stack([np.repeat(x, 2)[1:], np.repeat(low, 2)[:-1]], axis=1)
    teeth[1::2, 1] = low[1:]
    teeth[::2, 1] += np.where(np.arange(len(teeth[::2])) % 2, 2.5, 0)
    return np.concatenate([[(-43, -36)], teeth, [(43, -36)], spline([(36, -58), (0, -64), (-36, -58)])])


def _curtain(person: Person, side: int) -> np.ndarray:
    """Hair hanging beside the face, from the top of the head to its end."""
    wide, low = _reach(person)
    wavy, male = person.has("Wavy_Hair"), person.has("Male")
    # It hangs beside the cheeks, not over them: their shape shows.
    inner = (38.5 if male else 36.0) + (8 if person.has("Chubby") else 0)
    ends = low + (0 if wavy else 3)
    width = wide - inner
    outer = spline(
        [(34, -56), (46, -46), (wide - 3, -16), (wide, 12), (wide, low * 0.7), (wide - 5, ends)], steps=8
    )
    back = spline(
        [
            (wide - 0.6 * width, ends + (5 if wavy else 0)),
            (inner + 3, ends - 6),
            (inner + 5, low * 0.62),
            (inner + 2, 20),
            (inner, -4),
            (inner - 3, -30),
        ],
        steps=8,
    )
    if wavy:
        outer, back = _scalloped(outer, 5.0, 3.5, person), _scalloped(back, 2.4, 3.5, person)
    return mirrored(np.concatenate([outer, back]), side)


def _scalloped(curve: np.ndarray, depth: float, waves: float, person: Person) -> np.ndarray:
    """The curve with waves across it, none at its two ends."""
    share = np.linspace(0, 1, len(curve) * 2)
    places = np.linspace(0, 1, len(curve))
    fine = np.stack([np.interp(share, places, curve[:, i]) for i in (0, 1)], axis=1)
    phase = person.streams.of("waves").random()
    wave = depth * np.sin(2 * np.pi * (waves * share + phase)) * np.sin(np.pi * share) ** 0.5
    return fine - normals(fine) * wave[:, None]


def _paint(canvas: Canvas, person: Person, shapes: list[np.ndarray]) -> None:
    """Fill shapes (image pixels) with strands that run from the top of the head down."""
    box, mask = coverage(shapes, 0.5)
    if not mask.size:
        return
    rng = person.streams.of("strands")
    offset, phase, gloss = rng.uniform(0, 200), rng.uniform(0, 6.28), rng.uniform(0.7, 1.3)
    across, down, shine = (part[box] for part in _flow())
    strands = across * 40 + np.float32(offset)
    if person.has("Wavy_Hair"):
        bend = np.sin(down * np.float32(2 * np.pi / 25) + np.float32(phase) + 0.5 * across)
        strands = strands + bend * np.float32(4.5)
        # Each wave catches the light on its crest.
        crest = 0.22 * np.cos(down * np.float32(2 * np.pi / 25) + np.float32(phase) + 0.5 * across)
    else:
        crest = 0.0
    texture = cv2.remap(
        _strands(), strands, down + np.float32(CENTER[1]), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    light = 0.86 + texture * np.float32(0.42) + crest + shine * np.float32(0.38 * gloss)
    color = np.asarray(person.hair, np.float32)
    color = light[..., None] * color + np.float32(10) * shine[..., None]
    canvas.blend(box, mask, np.clip(color, 0, 254))


@cache
def _flow() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over the whole image: which strand a point lies on, how far down, and where hair shines."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = columns - np.float32(CENTER[0]), rows - np.float32(CENTER[1])
    # Strands fan out from the crown and hang straight from the temples.
    rise = np.clip((-10 - y) / 72, 0, 0.985)
    across = x / (46 * np.sqrt(1 - rise**2))
    arc = y + 58 + 0.012 * x**2
    shine = np.exp(-((arc / 8) ** 2)) + 0.6 * np.exp(-(((y - 20) / 16) ** 2))
    return across.astype(np.float32), y.astype(np.float32), shine.astype(np.float32)


@cache
def _strands() -> np.ndarray:
    """Brightness of strands about 0, (256, 512) float32: rows change slowly, columns fast."""
    noise = np.random.default_rng(21).standard_normal((256, 512)).astype(np.float32)
    noise = np.tile(noise, (1, 3))  # so that the blur, too, meets at the left and right edges
    coarse = cv2.GaussianBlur(noise, (0, 0), sigmaX=2.2, sigmaY=40, borderType=cv2.BORDER_REFLECT)
    fine = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=25, borderType=cv2.BORDER_REFLECT)
    return (coarse / coarse.std() * 0.30 + fine / fine.std() * 0.22).clip(-1, 1)[:, 512:1024]
