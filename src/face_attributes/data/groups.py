"""Groups: images that belong together, and so stay in one part.

Two photographs of one person, or of one moment, resemble each other more than they resemble others. If one
judges a model that learnt from the other, its accuracy looks too high. A group is one of these:

- a person, where a list names the person on each image;
- otherwise an arrival: the images that were scored as one batch;
- otherwise a run of images whose names follow each other, as those of a burst do.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

# Shares of train, and of train and validation
_SPLIT = (0.8, 0.9)
_HELD_OUT = 0.1  # about, of a batch, in each of the other parts
_LEAST = 10  # groups of a batch: of fewer, no tenth could be held out


def hash_partition(name: str) -> int:
    """Return the part (0, 1 or 2) of an image or a person that no list assigns, the same for ever."""
    return sum(_hash(name) >= bound for bound in _SPLIT)


def by_person(people: Sequence[str]) -> np.ndarray:
    """Return the part of each image by the person on it, in whatever source or batch the person comes."""
    return np.array([hash_partition(person) for person in people], np.uint8)


def of_batch(batch: str, ids: Sequence[str], sources: Mapping[str, str]) -> np.ndarray:
    """Return the part of each image of a batch whose people are not known.

    About a tenth of the images is held out for each of validation and test.

    Args:
        batch: its name.
        ids: the file name of each image.
        sources: `<arrival>/<path>` of each image that was scored before, by its file name.

    """
    named = [(*(sources.get(name, f"/{name}").partition("/")[::2]), name) for name in ids]
    arrivals = Counter(arrival for arrival, _, _ in named)
    runs = 1 if len(arrivals) >= _LEAST else -(-_LEAST // len(arrivals))
    group: dict[str, tuple[str, int]] = {}
    begun = Counter[str]()
    for arrival, _, name in sorted(named):
        group[name] = arrival, begun[arrival] * runs // arrivals[arrival]
        begun[arrival] += 1
    sizes = Counter(group.values())
    parts = dict.fromkeys(sizes, 0)
    tenth, held_out = len(ids) * _HELD_OUT, Counter[int]()
    for one in sorted(sizes, key=lambda one: _hash(f"{batch}/{one[0]}/{one[1]}")):
        # A group of most images must be learnt
        if sizes[one] <= 2 * tenth:
            wanting = (
                part for part in (2, 1) if not held_out[part] or held_out[part] + sizes[one] / 2 <= tenth
            )
            parts[one] = next(wanting, 0)
            held_out[parts[one]] += sizes[one]
    return np.array([parts[group[name]] for name in ids], np.uint8)


def _hash(name: str) -> float:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64
