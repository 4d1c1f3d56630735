"""Where unfinished work is kept, so that a search or a training that was killed goes on where it was.

A checkpoint is named by a digest of all that its content depends on: one that is there is the right one.
"""

import os
from pathlib import Path

from face_attributes.common.files import digest_of, sha256

_HOME = "VISAGE_HOME"
# Without a home for data: beside the models, ignored by git and unknown to DVC
_LOCAL = Path("models/checkpoints")
# The code that decides what a search or a training does
_CODE = ("model/network", "training/augmentation", "training/loop", "training/tune")


def path(kind: str, suffix: str, **depends_on: object) -> Path:
    """Return where the checkpoint of this work lies, whether it exists or not."""
    home = os.environ.get(_HOME)
    folder = Path(home) / "checkpoints" if home else _LOCAL
    code = {name: sha256(Path(__file__).parents[1] / f"{name}.py") for name in _CODE}
    return folder / f"{kind}-{digest_of({'code': code, **depends_on})[:16]}{suffix}"
