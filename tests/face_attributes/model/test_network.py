import numpy as np
import pytest
import torch

from face_attributes.data.images import shrunk_shape
from face_attributes.model.network import FaceNet, _Residual, multiplications, normalise, to_tensor


@pytest.mark.parametrize("factor", [2, 3, 6])
def test_one_logit_for_each_attribute(factor):
    shape = shrunk_shape(factor)
    network = FaceNet(5, shape, 4, 0.2).eval()
    assert network(torch.zeros(3, 3, *shape)).shape == (3, 5)


def test_the_head_keeps_places_apart():
    torch.manual_seed(0)
    network = FaceNet(2, (32, 32), 8, 0.0).eval()
    corner = torch.zeros(1, 3, 32, 32)
    corner[..., :8, :8] = 1
    assert not torch.allclose(network(corner), network(corner.roll((16, 16), (2, 3))))


def test_a_residual_block_begins_as_its_input():
    torch.manual_seed(0)
    features = torch.rand(2, 8, 5, 4)
    assert torch.equal(_Residual(8)(features), features)


def test_a_larger_network_multiplies_more_often():
    one, twice = (multiplications(40, shrunk_shape(2), width) for width in (16, 32))
    network = FaceNet(40, shrunk_shape(2), 16, 0.0)
    assert 38_000_000 < one < 38_500_000
    assert 3 < twice / one < 4
    assert sum(weights.numel() for weights in network.parameters()) < 600_000


def test_normalised_pixels_are_small():
    pixels = normalise(torch.tensor([0, 255], dtype=torch.uint8))
    assert pixels.dtype == torch.float32
    assert pixels.abs().max() < 2.1
    assert pixels.sum() == 0


def test_channels_move_to_the_front():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    tensor = to_tensor(images)
    assert tensor.shape == (2, 3, 4, 5)
    assert tensor[1, 2, 3, 4] == images[1, 3, 4, 2]
