"""Where unfinished work is kept, so that a search or a training that was killed goes on where it was.

A checkpoint is named by a digest of everything that its content depends on: one that fits is the right one.
"""

import os
from pathlib import Path

from face_attributes.files import digest_of

_HOME = "VISAGE_HOME"
# Without a home for data: beside the models, ignored by git and unknown to DVC
_LOCAL = Path("models/checkpoints")


def path(kind: str, suffix: str, **depends_on: object) -> Path:
    """Return where the checkpoint of this work lies, whether it exists or not."""
    home = os.environ.get(_HOME)
    folder = Path(home) / "checkpoints" if home else _LOCAL
    return folder / f"{kind}-{digest_of(depends_on)[:16]}{suffix}"
