"""One drawn face, from back to front."""

import numpy as np

from drawn_faces import beard, clothes, eyes, hair, head, population
from drawn_faces.background import background
from drawn_faces.camera import photographed
from drawn_faces.canvas import Canvas
from drawn_faces.mouth import draw_mouth
from drawn_faces.nose import draw_nose
from drawn_faces.params import SyntheticParams
from drawn_faces.person import meet
from drawn_faces.random_streams import Dice


def draw_face(seed: int, index: int, params: SyntheticParams) -> tuple[np.ndarray, dict[str, bool]]:
    """Draw face `index` under `seed`: an RGB image (218, 178, 3) uint8 and the attributes that it shows."""
    columns = population.sample(seed, [index], params.marginals)
    attributes = {name: bool(columns[name][0]) for name in population.DRAWN_ATTRIBUTES}
    return render(seed, index, attributes, params), attributes


def render(seed: int, index: int, attributes: dict[str, bool], params: SyntheticParams) -> np.ndarray:
    """Draw face `index` under `seed` with given attributes: an RGB image (218, 178, 3) uint8.

    Two calls that differ in one attribute give the same person in the same picture, but for that attribute.
    """
    dice = Dice(seed, index)
    subject = meet(attributes, dice, params.pose)
    canvas = Canvas(background(dice))
    edge = head.outline(subject)

    hair.draw_hair_behind(canvas, subject)
    head.draw_neck(canvas, subject)
    clothes.draw_clothes(canvas, subject)
    clothes.draw_necklace(canvas, subject)
    head.draw_double_chin(canvas, subject)
    head.draw_ears(canvas, subject)
    head.draw_skin(canvas, subject, edge)
    head.draw_chin_edge(canvas, subject, edge)
    head.draw_marks(canvas, subject)
    beard.draw_beard(canvas, subject, edge)
    eyes.draw_eyes(canvas, subject)
    eyes.draw_brows(canvas, subject)
    draw_nose(canvas, subject)
    draw_mouth(canvas, subject)
    beard.draw_mustache(canvas, subject)
    hair.draw_hair(canvas, subject)
    hair.draw_hat(canvas, subject)
    eyes.draw_eyeglasses(canvas, subject)
    clothes.draw_earrings(canvas, subject)
    return photographed(canvas.image, dice, params)
