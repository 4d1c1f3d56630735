"""Duplicates: photographs that are in the data already, under another name or as another file.

The model must not be judged on photographs that it was trained on. Names do not identify a photograph: it may
be sent twice, saved again with another quality, or both scored and labelled. So images are compared by a
fingerprint of 256 bits: the signs of the 16 x 16 lowest frequencies of the cosine transform of the grey
image, reduced to 64 x 64 pixels (a "pHash", here with more bits than usual, as aligned faces resemble each
other). Two images are the same photograph if at most LIMIT bits differ, as they are or with one of them
mirrored: training mirrors images too. Files with equal bytes have equal fingerprints.

Measured on 8,000 drawn faces and on 46,715 aligned photographs, 1,500 of each also changed:

- The fingerprints of the same photograph are at most LIMIT bits apart after JPEG at quality 20, 50, 70 and
  95, after resizing to half, to three quarters and to double the size and back, at half the brightness, in
  grey, blurred (1 pixel), with noise (5 grey levels), with a gamma of 0.8, mirrored, and at half the size,
  0.8 of the light and quality 50 together: all of 1,500, drawn and photographed. At 1.3 times the brightness,
  where much is white, 95 % are; cut one pixel further left, 93 % of the drawn faces and 99 % of the
  photographs; three pixels, hardly any.
- Of 32 million pairs of drawn faces the nearest are 29 bits apart, mirrored 26.
- Of 1,091 million pairs of photographs 117 are at most LIMIT bits apart, mirrored 6 more. The two thumbnails
  of each of the 117 correlate by 0.86 or more without their low frequencies (0.99 in the middle; of the
  nearest neighbours of all other photographs: 0.47), so they are one photograph. Of 93,430 pairs of
  photographs that are labelled as the same person 85 are among them: the face of a person is no duplicate.

The comparison multiplies matrices, block by block: its time grows with the number of pairs (14 billion, for
the 202,599 photographs of CelebA and their mirror images), its memory only with the number of images, by 32
bytes.
"""

from collections.abc import Collection, Iterator
from itertools import pairwise

import cv2
import numpy as np

from face_attributes.common.progress import bar

LIMIT = 20  # bits
BYTES = 32

_SIDE, _FREQUENCIES = 64, 16
_BITS = _FREQUENCIES**2
# The cosine transform of a mirrored image has the odd horizontal frequencies with the other sign
_MIRROR = np.tile(np.where(np.arange(_FREQUENCIES) % 2, -1, 1), _FREQUENCIES).astype(np.float32)
_QUERIES, _OTHERS = 512, 16_384  # images in a block; a block of results takes 64 MiB


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Return the fingerprint of an image as a uint8 array (BYTES,).

    Args:
        image: uint8 array (height, width, 3), RGB.

    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    frequencies = cv2.dct(small.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES]
    return np.packbits(frequencies > 0)


def find(fingerprints: np.ndarray, ranks: np.ndarray, repeating: Collection[int] = ()) -> np.ndarray:
    """Return for each of N images the index of the image that it repeats, or -1 where it repeats none.

    An image repeats one of a lower rank, or one of its own rank that comes before it. Of several it is the
    one of the lowest rank, and the first of these.

    Args:
        fingerprints: uint8 array (N, BYTES).
        ranks: int array (N,).
        repeating: ranks within which images may repeat each other.

    """
    order = np.argsort(ranks, kind="stable")
    in_order, sorted_ranks = fingerprints[order], ranks[order]
    repeated = np.full(len(order), -1)
    with bar("prepare: duplicates", len(order), "images") as progress:
        for start, end, rank in _blocks(sorted_ranks):
            before = np.searchsorted(sorted_ranks, rank) if rank in repeating else end
            matches = _first(in_order[start:end], in_order[:before], start)
            repeated[order[start:end]] = np.where(matches < 0, -1, order[matches])
            progress.update(end - start)
    return repeated


def same(fingerprints: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a bool array (N, M): whether image n is image m, as it is or mirrored.

    Args:
        fingerprints: uint8 array (N, BYTES).
        others: uint8 array (M, BYTES).

    """
    signs = _signs(fingerprints)
    products = np.concatenate([signs, signs * _MIRROR]) @ _signs(others).T
    alike = (products >= _BITS - 2 * LIMIT).reshape(2, len(fingerprints), len(others))
    return np.logical_or(alike[0], alike[1])


def _blocks(ranks: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield the start and the end of each block of images, and the rank that all of its images have."""
    bounds = [0, *(np.flatnonzero(np.diff(ranks)) + 1).tolist(), len(ranks)]
    for begin, end in pairwise(bounds):
        for start in range(begin, end, _QUERIES):
            yield start, min(start + _QUERIES, end), int(ranks[start])


def _first(queries: np.ndarray, others: np.ndarray, start: int) -> np.ndarray:
    """Return for each query the index of the first of the others that it repeats, or -1.

    Args:
        queries: fingerprints (Q, BYTES).
        others: fingerprints (M, BYTES). Query q repeats none from `start` + q on: these are itself and later.
        start: index of the first query among the others.

    """
    signs = _signs(queries)
    both = np.concatenate([signs, signs * _MIRROR])
    matches = np.full(len(queries), -1)
    for begin in range(0, len(others), _OTHERS):
        # The product of two fingerprints is the number of equal bits less that of the others
        products = both @ _signs(others[begin : begin + _OTHERS]).T
        same = (products >= _BITS - 2 * LIMIT).reshape(2, len(queries), -1).any(axis=0)
        rows, columns = np.nonzero(same)
        earlier = begin + columns < start + rows
        for row, column in zip(rows[earlier], columns[earlier], strict=True):
            if matches[row] < 0:
                matches[row] = begin + column
    return matches


def _signs(fingerprints: np.ndarray) -> np.ndarray:
    """Return the bits of M fingerprints as a float32 array (M, 256) of 1 and -1."""
    return np.unpackbits(fingerprints, axis=1).astype(np.float32) * 2 - 1
