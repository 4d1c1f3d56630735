"""The person to draw: attributes, pose, proportions and colours, shared by all parts of the picture.

Parts give points in head units: pixels at the usual size, from the middle of the face, x to the viewer's
right and y down. Eyes lie at y -6, the mouth at 34, the chin at 58.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from drawn_faces.canvas import Color, mix, tone
from drawn_faces.random_streams import RandomStreams

CENTER = np.array([89.0, 118.0])  # where the middle of the face lies in the image
_EYES_DEPTH = 24.0

_SKINS: tuple[Color, ...] = (
    (240, 203, 180),
    (232, 190, 163),
    (224, 176, 145),
    (210, 160, 128),
    (190, 138, 106),
    (160, 112, 84),
    (130, 90, 68),
)
_PALE: Color = (250, 232, 224)
_HAIR: dict[str, tuple[Color, ...]] = {
    "Black_Hair": ((26, 23, 25), (34, 29, 30), (20, 21, 27)),
    "Brown_Hair": ((98, 62, 38), (112, 72, 44), (84, 54, 34), (122, 82, 52)),
    "Blond_Hair": ((222, 186, 112), (232, 204, 138), (208, 170, 98), (238, 216, 160)),
    "Gray_Hair": ((178, 178, 180), (200, 200, 202), (158, 160, 164)),
}
# CelebA leaves a third of its faces without a hair colour; here they have one for which it has no label.
_UNLABELLED_HAIR: tuple[Color, ...] = (
    (172, 84, 42),
    (186, 98, 54),
    (150, 62, 34),
    (162, 74, 40),
    (196, 112, 66),
    (134, 48, 38),
    (122, 40, 52),
    (146, 52, 48),
    (188, 104, 122),
    (64, 98, 124),
)
_HAIR_NAMES = tuple(_HAIR)


@dataclass(frozen=True)
class Pose:
    """How the head is turned (radians), and where and how large it is."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift: tuple[float, float]

    def place(self, points: Sequence[Sequence[float]] | np.ndarray, lift: float | None = 0.0) -> np.ndarray:
        """Convert head units to image pixels.

        `lift` is how far a point stands out from the face's surface; None is for points in the plane of
        the head's outline, such as the outline itself, ears and hair.
        """
        turn, lean, origin = self._projection
        flat = np.asarray(points, float)
        placed = flat @ turn + origin
        if lift is not None:
            placed += (_depth(flat) + lift)[..., None] * lean
        return placed

    @cached_property
    def _projection(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the matrix for points in the plane of the outline, the shift per depth, and the origin."""
        cos, sin = np.cos(self.roll) * self.scale, np.sin(self.roll) * self.scale
        roll = np.array([[cos, sin], [-sin, cos]])
        lean = np.array([np.sin(self.yaw), np.sin(self.pitch)]) @ roll
        # A turned head is still aligned by its eyes, so the outline moves against the turn.
        origin = CENTER + self.shift - _EYES_DEPTH * lean
        return np.diag([np.cos(self.yaw), np.cos(self.pitch)]) @ roll, lean, origin


@dataclass(frozen=True)
class Person:
    """A person to draw. `has(name)` returns whether the person has an attribute."""

    attributes: dict[str, bool]
    streams: RandomStreams
    pose: Pose
    skin: Color
    hair: Color
    brows: Color
    iris: Color

    def has(self, *names: str) -> bool:
        return any(self.attributes[name] for name in names)

    def shade(self, light: float) -> Color:
        """The skin's colour where less light falls on it (1: all): shadows on skin are warm."""
        red, green, blue = self.skin
        return red * light**0.8, green * light**1.05, blue * light**1.12

    @property
    def long_hair(self) -> bool:
        return self.has("Wavy_Hair", "Straight_Hair")

    @property
    def full_beard(self) -> bool:
        return not self.has("No_Beard", "Goatee", "5_o_Clock_Shadow")


def create_person(attributes: dict[str, bool], streams: RandomStreams, pose: float) -> Person:
    """Create a person with these attributes. `pose` is a factor for turns and shifts."""
    rng = streams.of("pose")
    yaw, pitch, roll = np.clip(rng.normal(0, (0.15, 0.07, 0.05)), -0.38, 0.38) * pose
    scale = 1 + float(np.clip(rng.normal(0, 0.03), -0.08, 0.08)) * pose
    across, down = np.clip(rng.normal(0, 2.0, 2), -5, 5) * pose

    rng = streams.of("colors")
    fair, where, cool = rng.random(3)
    choice, shade, eyes, dark = rng.random(4)
    # Dark skin goes with black hair far more often than with fair hair.
    darkest = {"Black_Hair": 1.0, "Brown_Hair": 0.62, "Blond_Hair": 0.45}
    reach = next((value for name, value in darkest.items() if attributes[name]), 0.7)
    position = (fair**1.3) * reach * (len(_SKINS) - 1)
    low = min(int(position), len(_SKINS) - 2)
    skin = mix(_SKINS[low], _SKINS[low + 1], position - low)
    if attributes["Pale_Skin"]:
        skin = tone(_PALE, 0.97 + 0.04 * where)
    skin = mix(skin, tone((skin[0], skin[1] * 0.97, skin[2] * 0.94), 1.0), cool)

    name = next((name for name in _HAIR_NAMES if attributes[name]), None)
    colors = _HAIR[name] if name else _UNLABELLED_HAIR
    hair = tone(colors[int(choice * len(colors))], 0.92 + 0.16 * shade)
    irises = ((74, 48, 30), (92, 62, 38), (112, 84, 50), (88, 112, 80), (84, 122, 152), (110, 134, 146))
    brown_eyed = attributes["Black_Hair"] or dark < 0.4
    iris = irises[int(eyes * (3 if brown_eyed else len(irises)))]
    if name:
        brows = tone(hair, 0.72 if name in ("Gray_Hair", "Blond_Hair") else 0.62)
    else:
        brows = mix(tone(hair, 0.6), (64, 44, 34), 0.6)
    return Person(
        attributes,
        streams,
        Pose(float(yaw), float(pitch), float(roll), scale, (float(across), float(down))),
        skin,
        hair,
        brows,
        iris,
    )


def _depth(points: np.ndarray) -> np.ndarray:
    """How far the face's surface stands out from the plane of its outline."""
    x, y = points[..., 0] / 52, (points[..., 1] + 4) / 82
    return 34.0 * np.sqrt(np.maximum(1 - x * x - y * y, 0))
