"""How well faces are found and aligned in photographs, and the accuracy that automatic alignment costs.

    python -m benchmarks.alignment [--photographs FOLDER] [--update docs/photographs.md]

Needs the model that `dvc repro` makes. Each face of the hold-out set is turned, scaled and shifted into a
scene of 640x480 pixels, so the right places of its eyes are known. The model sees each scene aligned by these
known eyes (given) and by those of the detector (automatic). The accuracies are of the same model on the same
faces. A face that is not found counts in the recall, and in neither accuracy. With --photographs, aligned
photographs of CelebA are placed the same way; they have no accuracies here.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.population import updated
from face_attributes.common.errors import ImageError
from face_attributes.common.paths import HOLDOUT, MODEL
from face_attributes.data import images
from face_attributes.data.alignment import align_by, find
from face_attributes.data.parallel import decoded
from face_attributes.model.onnx_model import Model
from tests.support.scenes import FACE, Place, scene

HEIGHTS, ANGLES = (60, 120, 240), (0, 15, 30, 45)
FACES = 400  # in each row of the table
SIZE = 640, 480
SEED = 1


@dataclass(frozen=True)
class Row:
    """The results of one height and one angle; `error` in pixels of an aligned photograph, per eye."""

    recall: float
    extra: int
    error: float
    given: float | None
    automatic: float | None

    def __str__(self) -> str:
        cells = [f"{self.recall:.0%}", str(self.extra), f"{self.error:.1f}"]
        if self.given is not None and self.automatic is not None:
            cells += [
                f"{self.given:.2%}",
                f"{self.automatic:.2%}",
                f"{100 * (self.given - self.automatic):+.2f}",
            ]
        return " | ".join(cells)


def measure(
    faces: Sequence[np.ndarray], height: float, angle: float, judge: tuple[Model, np.ndarray] | None
) -> Row:
    """Place each aligned face in a scene, find it, and align it.

    Args:
        faces: Aligned photographs, uint8 RGB (218, 178, 3).
        height: Of the faces in the scenes, in pixels.
        angle: By which faces are turned to either side, in degrees.
        judge: A model and the true attributes, bool (N, A), if there are any.

    """
    random = np.random.default_rng(SEED)
    errors, extra, kept = [], 0, []
    given, automatic = [], []
    for index, face in enumerate(faces):
        x, y = np.divide(SIZE, 2) + random.uniform(-40, 40, 2)
        place = Place(x, y, height, angle * random.choice((-1, 1)))
        image = scene([face], [place], SIZE)
        found = find(image)
        if not found:
            continue
        kept.append(index)
        extra += len(found) - 1
        best = min(found, key=lambda other: np.abs(other.eyes - place.eyes).sum())
        errors.append(np.linalg.norm(best.eyes - place.eyes, axis=1).mean() * FACE / height)
        given.append(align_by(image, place.eyes))
        automatic.append(align_by(image, best.eyes))
    accuracies: list[float | None] = [None, None]
    if judge is not None:
        model, truth = judge
        accuracies = [
            float((model.decide(model.predict(np.stack(pixels))) == truth[kept]).mean())
            for pixels in (given, automatic)
        ]
    return Row(len(kept) / len(faces), extra, float(np.mean(errors)), *accuracies)


def table(
    faces: Sequence[np.ndarray], judge: tuple[Model, np.ndarray] | None, heights: Sequence[int] = HEIGHTS
) -> str:
    """Return a Markdown table with a row for each height and angle."""
    columns = ["face, px", "turned", "found", "extra boxes", "error, px"]
    columns += ["given", "automatic", "loss, points"] * (judge is not None)
    lines = [f"| {' | '.join(columns)} |", f"|{'---:|' * len(columns)}"]
    for height in heights:
        for angle in ANGLES:
            lines.append(f"| {height} | {angle}° | {measure(faces, height, angle, judge)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and write them into a page if one is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path, help="folder of aligned photographs")
    parser.add_argument("--update", type=Path, help="page to write the tables into")
    arguments = parser.parse_args()
    faces, truth = [], []
    for rows, pixels in decoded(HOLDOUT):
        faces += list(pixels)
        truth += list(rows.labels)
        if len(faces) >= FACES:
            break
    tables = {"alignment": table(faces[:FACES], (Model(MODEL), np.array(truth[:FACES])))}
    if arguments.photographs:
        tables["alignment-photographs"] = table(_photographs(arguments.photographs), None, HEIGHTS[:1])
    if arguments.update:
        arguments.update.write_text(updated(arguments.update.read_text("utf-8"), tables), encoding="utf-8")


def _photographs(folder: Path) -> list[np.ndarray]:
    found = []
    for path in sorted(folder.rglob("*.jpg")):
        try:
            found.append(images.decode(images.read(path)))
        except ImageError:
            continue  # not an aligned photograph
        if len(found) == FACES:
            break
    return found


if __name__ == "__main__":
    main()
