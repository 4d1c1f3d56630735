import torch

from face_attributes.augment import augment


def test_strength_zero_changes_nothing():
    images = torch.randn(4, 3, 32, 32)
    assert augment(images, 0) is images


def test_the_seed_decides():
    images = torch.randn(4, 3, 32, 32)
    torch.manual_seed(1)
    one = augment(images, 1.0)
    torch.manual_seed(1)
    assert torch.equal(augment(images, 1.0), one)
    assert not torch.equal(augment(images, 1.0), one)


def test_each_image_is_altered_in_its_own_way():
    images = torch.randn(1, 3, 32, 32).expand(8, -1, -1, -1).contiguous()
    altered = augment(images, 1.0)
    assert altered.shape == images.shape
    assert len({float(image.mean()) for image in altered}) == 8


def test_about_half_of_the_images_are_mirrored():
    left = torch.zeros(400, 3, 32, 32)
    left[..., :16] = 1
    altered = augment(left, 0.01)
    mirrored = altered[..., 16:].mean((1, 2, 3)) > altered[..., :16].mean((1, 2, 3))
    assert 0.4 < mirrored.float().mean() < 0.6


def test_a_greater_strength_alters_more():
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(64, 3, 4, 4), size=32, mode="bilinear")
    symmetric = smooth + smooth.flip(3)
    little, much = (float((augment(symmetric, strength) - symmetric).abs().mean()) for strength in (0.2, 1.5))
    assert little * 2 < much
