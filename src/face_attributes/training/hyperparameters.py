"""The best hyperparameters, written by a search and read by a training."""

import json
from pathlib import Path

from face_attributes.common.errors import SearchError
from face_attributes.common.files import write_json
from face_attributes.params import SEARCHED


def write(path: Path, hyperparameters: dict[str, float], **about: float) -> None:
    """Write the hyperparameters with further information."""
    write_json(path, {**{name: hyperparameters[name] for name in SEARCHED}, **about})


def read(path: Path) -> dict[str, float]:
    """Return the hyperparameters.

    Raises:
        SearchError: The file is missing or was not written by a search.

    """
    try:
        searched = json.loads(path.read_text(encoding="utf-8"))
        return {name: searched[name] for name in SEARCHED}
    except FileNotFoundError:
        raise SearchError(f"{path}: no such file; run the stage tune first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SearchError(f"{path}: damaged ({error!r}); run the stage tune again") from None
