"""Random numbers of one face: a stream of its own for each part, so that parts do not disturb each other."""

import zlib

import numpy as np


class Dice:
    """Streams of face `index` under `seed`. Equal arguments give equal streams, whoever asks and when."""

    def __init__(self, seed: int, index: int) -> None:
        self._key = (seed, index)

    def of(self, part: str) -> np.random.Generator:
        """The stream of one part of the face, such as "hair", from its beginning."""
        return np.random.default_rng((*self._key, zlib.crc32(part.encode())))
