"""How near scoring a folder comes to the limits of the machine.

    python -m benchmarks.scoring

Needs the model that `dvc repro` makes. Two limits are measured in the same run: reading and decoding alone on
all cores, and the model alone on pixels in memory. Where both need the cores, as on a machine without a GPU,
no program can be faster than one after the other. So their sum is the limit, and the rest is the cost of
scoring itself: image statistics, the table, the file.
"""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from joblib import cpu_count
from rich.console import Console

from benchmarks import turns
from drawn_faces import SyntheticParams
from face_attributes.common.paths import MODEL
from face_attributes.data import images
from face_attributes.data.drawn_folder import draw_folder
from face_attributes.data.parallel import BATCH
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring.score import score

FACES, COPIES, ROUNDS = 256, 16, 5


def main() -> None:
    """Print the images/s of the two limits, of their sum and of scoring, and the ratios."""
    total = FACES * COPIES
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        folder = Path(temporary) / "incoming"
        files = _faces(folder)
        pixels = np.stack([images.decode(path.read_bytes()) for path in files[:BATCH]])
        model = Model(MODEL, threads=1)
        with ThreadPoolExecutor(cpu_count()) as pool:
            buffers = [np.empty_like(pixels[0]) for _ in range(cpu_count())]

            def decode_share(worker: int) -> None:
                for path in files[worker :: len(buffers)]:
                    images.decode(images.read(path), out=buffers[worker])

            def run_share(_: int) -> None:
                for _ in range(total // BATCH // cpu_count()):
                    model.predict(pixels)

            took = turns.seconds(
                {
                    "decode": lambda: list(pool.map(decode_share, range(cpu_count()))),
                    "run": lambda: list(pool.map(run_share, range(cpu_count()))),
                    "score": lambda: score(folder, MODEL, Path(temporary) / "scores.parquet"),
                },
                ROUNDS,
            )
    took["run"] *= total / (total // BATCH // cpu_count() * cpu_count() * BATCH)
    slower, both = max(took["decode"], took["run"]), took["decode"] + took["run"]
    Console().print(
        f"images/s: decoding alone {total / took['decode']:.0f}, {model.variant} model alone "
        f"{total / took['run']:.0f}, both in turn {total / both:.0f}, scoring {total / took['score']:.0f}: "
        f"[bold]{both / took['score']:.2f}[/] of both, {slower / took['score']:.2f} of the slower one"
    )


def _faces(folder: Path) -> list[Path]:
    """Return the files of a folder of drawn faces, each there several times under different names."""
    folder.mkdir()
    drawn = folder.parent / "drawn"
    draw_folder(SyntheticParams(count=FACES, seed=1), drawn, progress=False)
    for face in sorted((drawn / "img_align_celeba").iterdir()):
        for copy in range(COPIES):
            shutil.copy(face, folder / f"{copy:02d}-{face.name}")
    return sorted(folder.iterdir())


if __name__ == "__main__":
    main()
