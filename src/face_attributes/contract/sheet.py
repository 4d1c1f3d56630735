"""Sheet: a picture of some images of a training, `plots/data.jpg`, for people to look at.

Git keeps every version of the picture, and a forge shows it in a pull request. So it shows only images that
`data/licences.yaml` states to be no photographs of people.
"""

from pathlib import Path

import numpy as np

from face_attributes.common import contact_sheet
from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.licences import Terms
from face_attributes.common.sampling import choose
from face_attributes.data import images
from face_attributes.data.shards import ShardReader

_MOST = 12
_LINES = 6  # labels below an image
_OTHER = "batch other"


def write(sample: Path, source: str, terms: dict[str, Terms], path: Path) -> int:
    """Write the picture, and return the number of images in it.

    Args:
        sample: images of the training, unchanged.
        source: of the raw data.
        terms: by `source <name>` and `batch <name>`.
        path: the file to write.

    """
    reader = ShardReader([sample])
    ids = (name for rows in reader.batches() for name in rows.ids if may_be_shown(name, source, terms))
    chosen = choose(ids, _MOST)
    if not chosen:
        grey = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
        contact_sheet.sheet([grey], ["no photograph"], [["is shown"]], path)
        return 0
    shown = [
        (name, jpeg, [one for one, on in zip(reader.attributes, labels, strict=True) if on][:_LINES])
        for rows in reader.batches()
        for name, jpeg, labels in zip(rows.ids, rows.jpegs, rows.labels, strict=True)
        if name in chosen
    ]
    names, jpegs, labels = zip(*shown, strict=True)
    contact_sheet.sheet([images.decode(jpeg) for jpeg in jpegs], names, labels, path)
    return len(shown)


def may_be_shown(name: str, source: str, terms: dict[str, Terms]) -> bool:
    """Return whether the terms of an image state that it shows no person."""
    batch, _, inside = name.partition("/")
    known = terms.get(f"batch {batch}", terms.get(_OTHER)) if inside else terms.get(f"source {source}")
    return known is not None and not known.photographs
