"""Random numbers of a face: each part has its own stream, so that parts do not influence each other."""

import zlib

import numpy as np


class RandomStreams:
    """The random streams of face `index` under `seed`. Equal arguments give equal streams."""

    def __init__(self, seed: int, index: int) -> None:
        self._key = (seed, index)

    def of(self, part: str) -> np.random.Generator:
        """Return the stream of a part of the face, such as "hair", from its beginning."""
        return np.random.default_rng((*self._key, zlib.crc32(part.encode())))
