"""One drawn face, from back to front."""

import numpy as np

from drawn_faces import beard, clothes, eyes, hair, head, population
from drawn_faces.background import background
from drawn_faces.camera import photographed
from drawn_faces.canvas import Canvas
from drawn_faces.mouth import draw_mouth
from drawn_faces.nose import draw_nose
from drawn_faces.params import SyntheticParams
from drawn_faces.person import create_person
from drawn_faces.random_streams import RandomStreams


def draw_face(seed: int, index: int, params: SyntheticParams) -> tuple[np.ndarray, dict[str, bool]]:
    """Draw face `index` under `seed`: an RGB image (218, 178, 3) uint8 and the attributes that it shows."""
    columns = population.sample(seed, [index], params.marginals)
    attributes = {name: bool(columns[name][0]) for name in population.DRAWN_ATTRIBUTES}
    return render(seed, index, attributes, params), attributes


def render(seed: int, index: int, attributes: dict[str, bool], params: SyntheticParams) -> np.ndarray:
    """Draw face `index` under `seed` with given attributes: an RGB image (218, 178, 3) uint8.

    Two calls that differ in one attribute give the same person in the same picture, but for that attribute.
    """
    streams = RandomStreams(seed, index)
    person = create_person(attributes, streams, params.pose)
    canvas = Canvas(background(streams))
    edge = head.outline(person)

    hair.draw_hair_behind(canvas, person)
    head.draw_neck(canvas, person)
    clothes.draw_clothes(canvas, person)
    clothes.draw_necklace(canvas, person)
    head.draw_double_chin(canvas, person)
    head.draw_ears(canvas, person)
    head.draw_skin(canvas, person, edge)
    head.draw_chin_edge(canvas, person, edge)
    head.draw_marks(canvas, person)
    beard.draw_beard(canvas, person, edge)
    eyes.draw_eyes(canvas, person)
    eyes.draw_brows(canvas, person)
    draw_nose(canvas, person)
    draw_mouth(canvas, person)
    beard.draw_mustache(canvas, person)
    hair.draw_hair(canvas, person)
    hair.draw_hat(canvas, person)
    eyes.draw_eyeglasses(canvas, person)
    clothes.draw_earrings(canvas, person)
    return photographed(canvas.image, streams, params)
