"""Occlusion maps: how much each part of a face counts for each attribute.

A square of the face's mean color covers one part after the other. The map has the change of the probability
towards the other answer. Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014.
"""

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams, render
from drawn_faces.population import sample
from face_attributes.data.parallel import BATCH, ahead
from face_attributes.model.onnx_model import Model

STEP, SIDE = 12, 32  # pixels: between two squares, and of a square
_SEED = 20_000  # of the faces whose regions are known: no training draws them
_VISIBLE = 12  # grey levels by which a pixel differs with the attribute and without it
_MARGIN = 13  # pixels around these that belong to the region: half a square less than a step


def maps(model: Model, image: np.ndarray) -> np.ndarray:
    """Return how much each square counts for each attribute, float32 (R, C, A): 0 or more, at most 1.

    Args:
        model: The model.
        image: uint8 RGB (218, 178, 3).

    """
    height, width = image.shape[:2]
    rows, columns = (range(0, side - SIDE // 2, STEP) for side in (height, width))
    color = image.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    covered = []
    for top in rows:
        for left in columns:
            copy = image.copy()
            copy[top : top + SIDE, left : left + SIDE] = color
            covered.append(copy)
    whole = model.predict(image[None])[0]
    changed = np.concatenate(
        [model.predict(np.stack(covered[start : start + BATCH])) for start in range(0, len(covered), BATCH)]
    )
    # Of a face that does not show the attribute, the parts count whose cover makes it likelier
    change = np.where(model.decide(whole), whole - changed, changed - whole)
    return np.maximum(change, 0).reshape(len(rows), len(columns), -1)


def shares(model: Model, faces: int) -> dict[str, dict[str, float | None]]:
    """Return how much of the maps is inside of the true region of each attribute, on drawn faces.

    A face is drawn with an attribute and without it. The region is where the two pictures differ, and the map
    is that of the picture with the attribute. Faces on which the model does not see it are left out.

    Args:
        model: The model.
        faces: How many faces are drawn for each attribute.

    Returns:
        For each drawn attribute of the model the mean `share` of the map inside, None if the model saw it on
        no face; and `region`, the share of the picture that the region covers: that of a map which is the
        same everywhere.

    """
    known = [name for name in model.attributes if name in DRAWN_ATTRIBUTES]
    return dict(zip(known, ahead(lambda name: _share(model, name, range(faces)), known), strict=True))


def _share(model: Model, attribute: str, indices: Iterable[int]) -> dict[str, float | None]:
    place = model.attributes.index(attribute)
    inside, sizes = [], []
    for index in indices:
        picture, region = drawn_region(attribute, index)
        sizes.append(region.mean())
        if not model.decide(model.predict(picture[None]))[0, place]:
            continue
        counts = maps(model, picture)[:, :, place]
        if counts.sum() > 0:
            inside.append(float((counts * _centers(region)).sum() / counts.sum()))
    return {
        "share": round(float(np.mean(inside)), 4) if inside else None,
        "region": round(float(np.mean(sizes)), 4),
    }


def drawn_region(attribute: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawn face that shows an attribute, and a bool array (218, 178) of the attribute's region."""
    params = SyntheticParams(count=1, seed=_SEED)
    others: Mapping[str, np.ndarray] = sample(_SEED, [index], params.marginals)
    attributes = {name: bool(others[name][0]) for name in DRAWN_ATTRIBUTES}
    shown, hidden = (render(_SEED, index, attributes | {attribute: value}, params) for value in (True, False))
    differs = np.abs(shown.astype(int) - hidden).max(axis=2) > _VISIBLE
    # Noise and compression of a camera change single pixels
    solid = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    grown = cv2.dilate(solid, np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8))
    return shown, grown.astype(bool)


def _centers(region: np.ndarray) -> np.ndarray:
    """Return whether the center of each square of a map is in the region."""
    height, width = region.shape
    rows, columns = (
        np.minimum(np.arange(0, side - SIDE // 2, STEP) + SIDE // 2, side - 1) for side in (height, width)
    )
    return region[np.ix_(rows, columns)]
