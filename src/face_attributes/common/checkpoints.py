"""Checkpoints of unfinished work, from which a killed search or training continues.

The name of a checkpoint is a digest of all its inputs, so an existing checkpoint always fits.
"""

import os
from pathlib import Path

from face_attributes.common.files import digest_of, sha256

_HOME = "VISAGE_HOME"
# Without a data folder: beside the models, ignored by git and unknown to DVC
_LOCAL = Path("models/checkpoints")
# The code that a search or a training depends on
_CODE = (
    "model/network",
    "training/augmentation",
    "training/group",
    "training/learner",
    "training/loop",
    "training/proposals",
    "training/trial_run",
    "training/trials",
    "training/tune",
    "training/whole_batch",
)


def path(kind: str, suffix: str, **depends_on: object) -> Path:
    """Return the path of the checkpoint for these inputs. It may not exist."""
    home = os.environ.get(_HOME)
    folder = Path(home) / "checkpoints" if home else _LOCAL
    code = {name: sha256(Path(__file__).parents[1] / f"{name}.py") for name in _CODE}
    return folder / f"{kind}-{digest_of({'code': code, **depends_on})[:16]}{suffix}"
