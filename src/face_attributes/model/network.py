"""The network: a residual convolutional trunk, and a head that weighs places.

On aligned faces each place in the image means something (that is where the chin is), so the head has weights
for each place, where other networks take the mean over all places.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

MEAN, SCALE = 127.5, 64.0
# The range of a pixel, once normalised
SPAN = 255 / SCALE
_FEATURES = 512


def normalise(pixels: Tensor) -> Tensor:
    """Return pixel values 0 to 255 as float32, about -2 to 2."""
    return pixels.float().sub_(MEAN).div_(SCALE)


class FaceNet(nn.Module):
    """Logits (N, attributes) from normalised images (N, 3, height, width).

    Four times the sides are halved: twice before the second convolution, which spares the rest from the full
    resolution. Two residual blocks (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016)
    follow where there are few places. For each of its features, the head has a weight for each place (Chen
    et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", CCBR
    2018, section 3.1). `width` is the number of channels of the first layer; the last one has eight times as
    many.
    """

    def __init__(self, attributes: int, shape: tuple[int, int], width: int, dropout: float) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *_convolution(3, width, kernel=5, stride=2),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 4 * width, stride=2),
            _Residual(4 * width),
            *_convolution(4 * width, 8 * width, stride=2),
            _Residual(8 * width),
            *_convolution(8 * width, _FEATURES, kernel=1),
        )
        places = self._places(shape)
        weights = nn.Conv2d(_FEATURES, _FEATURES, places, groups=_FEATURES, bias=False)
        # At first, nearly the mean over all places
        nn.init.normal_(weights.weight, 1 / math.prod(places), 0.5 / math.sqrt(math.prod(places)))
        self.head = nn.Sequential(
            weights,
            nn.BatchNorm2d(_FEATURES),
            nn.Flatten(),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(_FEATURES, attributes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.trunk(images))

    @torch.no_grad()
    def _places(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the height and the width of the output of the trunk: asked of it, in evaluation mode."""
        self.trunk.eval()
        height, width = self.trunk(torch.zeros(1, 3, *shape)).shape[2:]
        self.trunk.train()
        return height, width


class _Residual(nn.Module):
    """Two convolutions, whose result is added to their input. It begins as the input alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(*_convolution(channels, channels), *_convolution(channels, channels)[:-1])
        last = self.change[-1]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)
        self.out = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(images + self.change(images))


@cache
def multiplications(attributes: int, shape: tuple[int, int], width: int) -> int:
    """Return how often the network multiplies for one image."""
    with torch.device("meta"):
        network, image = FaceNet(attributes, shape, width, dropout=0.0).eval(), torch.zeros(1, 3, *shape)
    with FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops() // 2


def _convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def to_tensor(images: np.ndarray) -> Tensor:
    """Return uint8 images (N, height, width, 3) as a tensor (N, 3, height, width) over the same memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
