"""Crops: photographs that are another cut of a photograph in another part, mirrored or not.

A fingerprint (see `duplicates`) recognizes a copy that is cut a pixel further left, and no more. A cut of ten
pixels, or an image that somebody enlarged, shows the same person in the same moment, so it must not judge a
model that learnt from the other. The search has two steps:

1. Candidates: the lowest frequencies of the thumbnail are compared with those of thumbnails that are shifted
   and scaled in 45 ways, and of their mirror images. Each image keeps its two nearest in the other part.
2. Proof: the middle of one thumbnail is sought in the other, without low frequencies, at seven scales. Both
   are the same photograph if these correlate by DETAIL, and all that both images show by LIMIT. Two faces
   may have like features, hardly ever before a like background.

docs/photographs.md has the recall and the false positives.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import cv2
import numpy as np

from face_attributes.common.progress import bar
from face_attributes.data.parallel import ahead

# Correlations: of the middle without low frequencies, and of all that both images show
DETAIL, LIMIT = 0.8, 0.95
HEIGHT, WIDTH = 74, 60  # of a thumbnail

_SIDE, _FREQUENCIES = 32, 10
_CANDIDATES = 2
_SCALES = (0.78, 0.88, 1.0, 1.13, 1.28)
_SHIFTS = (-3.0, 0.0, 3.0)  # pixels of the thumbnail, to the side and down
_CUTS = [(scale, right, down) for scale, right, down in product(_SCALES, _SHIFTS, _SHIFTS)]
# The first three show which candidates need no closer look
_FINE, _FIRST, _HOPELESS = (1.0, 0.96, 1.04, 0.94, 0.98, 1.02, 1.06), 3, 0.55
_MARGIN, _SEARCH = 14, 4  # pixels around the middle, and how far it is sought
_BLUR = 2.0
_INSIDE = 0.99
_BLOCK = 64  # queries whose similarities are in memory together
_WHOLE = (1.0, 0.0, 0.0)
_MIRROR = np.tile(np.where(np.arange(_FREQUENCIES) % 2, -1, 1), _FREQUENCIES).astype(np.float32)
_WINDOW = np.sqrt(np.outer(*[np.hanning(_SIDE + 2)[1:-1]] * 2)).astype(np.float32)

Cut = tuple[float, float, float]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a grey thumbnail (HEIGHT, WIDTH) of a uint8 RGB image (height, width, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def find(
    thumbnails: np.ndarray,
    among: np.ndarray,
    parts: Sequence[str],
    ranks: np.ndarray,
    distinct: np.ndarray | None = None,
) -> np.ndarray:
    """Return for each of N images the index of the image in another part that it is a cut of, or -1.

    Of two images it is the one of the higher rank that gets the index of the other.

    Args:
        thumbnails: uint8 array (N, HEIGHT, WIDTH).
        among: int array, the indices of the images to compare.
        parts: the part of each image.
        ranks: int array (N,), different for images of different parts.
        distinct: bool array (N,), the images that are surely no cuts of each other; None for no image.

    """
    known = np.zeros(len(parts), bool) if distinct is None else distinct
    own, apart = np.array(parts)[among], known[among]
    members = {
        (part, sure): among[(own == part) & (apart == sure)]
        for part in sorted(set(parts))
        for sure in (False, True)
    }
    pairs = [
        sorted(pair, key=lambda group: len(members[group]))
        for pair in combinations(members, 2)
        if pair[0][0] != pair[1][0] and not (pair[0][1] and pair[1][1])
    ]
    repeated = np.full(len(parts), -1)
    with bar("prepare: crops", sum(len(members[larger]) for _, larger in pairs), "images") as progress:
        for smaller, larger in pairs:
            for found in _same(thumbnails, members[larger], members[smaller]):
                progress.update()
                for one, other in found:
                    later, earlier = (one, other) if ranks[one] > ranks[other] else (other, one)
                    if repeated[later] < 0 or ranks[earlier] < ranks[repeated[later]]:
                        repeated[later] = earlier
    return repeated


def _same(thumbnails: np.ndarray, queries: np.ndarray, others: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    """Yield for each query the pairs of it and of the photographs of which it shows another cut."""
    if not len(others):
        return
    cuts = [np.stack([_described(thumbnails[other], cut) for other in others]) for cut in _CUTS]
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]

        def look(found: tuple[int, list[tuple[int, Cut, bool]]]) -> list[tuple[int, int]]:
            query, candidates = found
            return [
                (query, int(others[other]))
                for other, cut, mirrored in candidates
                if is_cut(_turned(thumbnails[query], mirrored), thumbnails[others[other]], cut)
            ]

        yield from ahead(look, zip(block.tolist(), _candidates(thumbnails[block], cuts), strict=True))


def _candidates(queries: np.ndarray, cuts: Sequence[np.ndarray]) -> list[list[tuple[int, Cut, bool]]]:
    """Return for each query its nearest others, the cut of each, and whether it is mirrored."""
    described = np.stack([_described(query, _WHOLE) for query in queries])
    both = np.concatenate([described, described * _MIRROR]).T
    best = np.full((len(cuts[0]), both.shape[1]), -2, np.float32)
    which = np.zeros(best.shape, np.int8)
    for index, cut in enumerate(cuts):
        similar = cut @ both
        which[similar > best] = index
        np.maximum(best, similar, out=best)
    found: list[list[tuple[int, Cut, bool]]] = []
    for position in range(len(queries)):
        pair = best[:, [position, position + len(queries)]]
        nearest = np.argsort(-pair.max(axis=1), kind="stable")[:_CANDIDATES]
        columns = [position + len(queries) * int(pair[other].argmax()) for other in nearest]
        found.append(
            [
                (int(other), _CUTS[which[other, column]], column != position)
                for other, column in zip(nearest, columns, strict=True)
            ]
        )
    return found


def _described(thumbnail: np.ndarray, cut: Cut) -> np.ndarray:
    """Return the lowest frequencies of a cut of a thumbnail, float32 (100,) of length 1."""
    small = cv2.resize(_warped(thumbnail, cut), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    weighted = (small - small.mean()) * _WINDOW
    frequencies = cv2.dct(weighted.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES].ravel()
    frequencies[0] = 0
    return frequencies / max(float(np.linalg.norm(frequencies)), 1e-6)


def is_cut(query: np.ndarray, other: np.ndarray, cut: Cut) -> bool:
    """Return whether a thumbnail shows about this cut of the photograph of another one."""
    scale, right, down = cut
    across, along = _MARGIN, _MARGIN + 2
    detail = _detail(query)
    middle = detail[along:-along, across:-across]
    best, placed = -1.0, cut
    for tried, fine in enumerate(_FINE):
        if tried == _FIRST and best < _HOPELESS:
            return False
        around = _detail(_warped(other, (scale * fine, right, down)))
        around = around[along - _SEARCH : _SEARCH - along, across - _SEARCH : _SEARCH - across]
        _, found, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(around, middle, cv2.TM_CCOEFF_NORMED))
        if found > best:
            best, placed = found, (scale * fine, right - (x - _SEARCH), down - (y - _SEARCH))
    if best < DETAIL:
        return False
    common = _warped(np.ones_like(other), placed, cv2.BORDER_CONSTANT) > _INSIDE
    return float(np.corrcoef(query[common], _warped(other, placed)[common])[0, 1]) >= LIMIT


def _warped(thumbnail: np.ndarray, cut: Cut, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    values = thumbnail.astype(np.float32)
    if cut == _WHOLE:
        return values
    scale, right, down = cut
    across, along = (1 - scale) * WIDTH / 2 + right, (1 - scale) * HEIGHT / 2 + down
    matrix = np.array([[scale, 0, across], [0, scale, along]], np.float32)
    return cv2.warpAffine(values, matrix, (WIDTH, HEIGHT), borderMode=border)


def _detail(thumbnail: np.ndarray) -> np.ndarray:
    """Return a thumbnail without its low frequencies, which all aligned faces have in common."""
    values = thumbnail.astype(np.float32)
    return values - cv2.GaussianBlur(values, (0, 0), _BLUR)


def _turned(thumbnail: np.ndarray, mirrored: bool) -> np.ndarray:
    return np.ascontiguousarray(thumbnail[:, ::-1]) if mirrored else thumbnail
