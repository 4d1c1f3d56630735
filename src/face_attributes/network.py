"""The network: a plain convolutional trunk and a flatten head.

On aligned faces each place in the image means something (that is where the chin is), so the head keeps places
apart: it flattens where other networks pool.
"""

import numpy as np
import torch
from torch import Tensor, nn

_MEAN, _SCALE = 127.5, 64.0
# The range of a pixel, once normalised
SPAN = 255 / _SCALE
_STAGES = 4  # each halves the sides and doubles the channels
_HIDDEN = 256


def normalise(pixels: Tensor) -> Tensor:
    """Return pixel values 0 to 255 as float32, about -2 to 2."""
    return pixels.float().sub_(_MEAN).div_(_SCALE)


class FaceNet(nn.Module):
    """Logits (N, attributes) from normalised images (N, 3, size, size); `size` is a multiple of 16."""

    def __init__(self, attributes: int, size: int, width: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in range(_STAGES):
            wider = width << stage
            layers += [*_convolution(channels, wider), nn.MaxPool2d(2)]
            channels = wider
        self.trunk = nn.Sequential(*layers)
        side = size >> _STAGES
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels * side * side, _HIDDEN),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(_HIDDEN, attributes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.trunk(images))


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def to_tensor(images: np.ndarray) -> Tensor:
    """Return uint8 images (N, size, size, 3) as a tensor (N, 3, size, size) over the same memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
