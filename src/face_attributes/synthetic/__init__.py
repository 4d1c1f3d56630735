"""Procedurally drawn faces in the CelebA layout: every attribute that a face carries can be seen in it."""

from face_attributes.synthetic.face import draw_face
from face_attributes.synthetic.folder import draw_folder, is_drawn
from face_attributes.synthetic.params import SyntheticParams
from face_attributes.synthetic.population import DRAWN_ATTRIBUTES

__all__ = [
    "DRAWN_ATTRIBUTES",
    "SyntheticParams",
    "draw_face",
    "draw_folder",
    "is_drawn",
]
