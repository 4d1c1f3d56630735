"""The network: a plain convolutional trunk and a flatten head.

On aligned faces each place in the image means something (that is where the chin is), so the head keeps places
apart: it flattens where other networks pool.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

MEAN, SCALE = 127.5, 64.0
# The range of a pixel, once normalised
SPAN = 255 / SCALE
_HIDDEN = 256


def normalise(pixels: Tensor) -> Tensor:
    """Return pixel values 0 to 255 as float32, about -2 to 2."""
    return pixels.float().sub_(MEAN).div_(SCALE)


class FaceNet(nn.Module):
    """Logits (N, attributes) from normalised images (N, 3, height, width).

    Four times the sides are halved: by the stride of the first layer, which spares the full resolution all
    but one convolution, then by pooling. `width` is the number of channels that the first layer would have
    at full resolution: it has twice as many.
    """

    def __init__(self, attributes: int, shape: tuple[int, int], width: int, dropout: float) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *_convolution(3, 2 * width, kernel=5, stride=2),
            *_convolution(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, 4 * width),
            *_convolution(4 * width, 4 * width),
            nn.MaxPool2d(2),
            *_convolution(4 * width, 8 * width),
            *_convolution(8 * width, 8 * width),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(self._features(shape), _HIDDEN),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(_HIDDEN, attributes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.trunk(images))

    @torch.no_grad()
    def _features(self, shape: tuple[int, int]) -> int:
        """Return how many values the trunk makes of an image: asked of it, in evaluation mode."""
        self.trunk.eval()
        count = self.trunk(torch.zeros(1, 3, *shape)).numel()
        self.trunk.train()
        return count


def multiplications(attributes: int, shape: tuple[int, int], width: int) -> int:
    """Return how often the network multiplies for one image."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        FaceNet(attributes, shape, width, dropout=0.0).eval()(torch.zeros(1, 3, *shape))
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
