"""The nose."""

from drawn_faces.canvas import Canvas, ellipse, mirrored, mix, spline
from drawn_faces.person import Person

SIDES = (-1, 1)


def draw_nose(canvas: Canvas, person: Person) -> None:
    if person.has("Big_Nose"):
        _draw_big(canvas, person)
    elif person.has("Pointy_Nose"):
        _draw_pointy(canvas, person)
    else:
        _draw_plain(canvas, person)


def _lit_side(person: Person) -> int:
    return 1 if person.streams.of("nose").random() < 0.5 else -1


def _draw_plain(canvas: Canvas, person: Person) -> None:
    place, dark = person.pose.place, person.shade(0.62)
    side = _lit_side(person)
    bridge = mirrored(spline([(3, -12), (4.5, 2), (8, 15), (4, 17), (2, 4)], closed=True), side)
    canvas.soft([place(bridge, 2)], person.shade(0.6), 0.32, 1.6)
    canvas.soft([place(ellipse((-side * 1.0, 12), (3.0, 3.2)), 7)], (255, 248, 240), 0.35, 1.4)
    for side in SIDES:
        wing = mirrored(spline([(8, 12), (9.6, 16), (7.5, 19), (5, 18.4)]), side)
        canvas.ribbon(place(wing, 3), (0.6, 1.5, 0.8), dark)
        canvas.fill(place(ellipse((side * 4.4, 18.6), (2.1, 1.1), 12), 4), person.shade(0.36))


def _draw_big(canvas: Canvas, person: Person) -> None:
    place, dark = person.pose.place, person.shade(0.48)
    flesh = mix(person.skin, (205, 100, 84), 0.30)
    body = spline(
        [
            (-5, -10),
            (5, -10),
            (8, 4),
            (17.5, 13),
            (16.5, 21),
            (8, 23),
            (0, 25),
            (-8, 23),
            (-16.5, 21),
            (-17.5, 13),
            (-8, 4),
        ],
        closed=True,
    )
    canvas.soft([place(body, 4)], flesh, 0.85, 1.3)
    under = spline(
        [(-17, 19), (-8, 24), (0, 26), (8, 24), (17, 19), (10, 29), (0, 30), (-10, 29)], closed=True
    )
    canvas.soft([place(under, 3)], person.shade(0.45), 0.55, 1.6)
    canvas.soft([place(ellipse((0, 13), (5.5, 5)), 8)], (255, 244, 236), 0.5, 1.8)
    for side in SIDES:
        flank = mirrored(spline([(6, -8), (9, 4), (13, 10), (9, 14), (5, 4)], closed=True), side)
        canvas.soft([place(flank, 2)], person.shade(0.6), 0.35, 1.6)
        wing = mirrored(spline([(11, 9), (17.5, 13), (17.5, 19), (13, 22.5), (9, 21)]), side)
        canvas.ribbon(place(wing, 4), (0.8, 2.4, 1.2), dark)
        canvas.fill(place(ellipse((side * 7.5, 22), (4.0, 2.0), 14), 5), person.shade(0.28))


def _draw_pointy(canvas: Canvas, person: Person) -> None:
    place, side = person.pose.place, _lit_side(person)
    shadow = mirrored([(2.2, -13), (9, 17.5), (0, 24), (0.6, 4)], side)
    canvas.soft([place(shadow, 5)], person.shade(0.5), 0.55, 1.1)
    ridge = mirrored([(-0.8, -14), (1.6, -14), (1.2, 10), (0.4, 22.5), (-2.6, 12)], side)
    canvas.soft([place(ridge, 7)], mix(person.skin, (255, 250, 242), 0.7), 0.6, 1.0)
    tip = [(-7.5, 17), (-3.5, 20.4), (0, 24.6), (3.5, 20.4), (7.5, 17)]
    canvas.ribbon(place(tip, 5), (0.8, 1.5, 2.4, 1.5, 0.8), person.shade(0.46))
    for side in SIDES:
        nostril = mirrored([(2.6, 19.4), (5.8, 17.6), (5.4, 19.2)], side)
        canvas.fill(place(nostril, 4), person.shade(0.34))
