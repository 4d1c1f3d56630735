"""Procedurally drawn faces: every attribute that a face carries can be seen in it."""

from drawn_faces.face import draw_face, render
from drawn_faces.params import SyntheticParams
from drawn_faces.population import DRAWN_ATTRIBUTES

__all__ = ["DRAWN_ATTRIBUTES", "SyntheticParams", "draw_face", "render"]
