import pytest

from face_attributes.attributes import CELEBA_ATTRIBUTES, CELEBA_MARGINALS, CELEBA_PARTITION, PARTITIONS

# The second line of CelebA's own list_attr_celeba.txt.
HEADER = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair "
    "Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup "
    "High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose "
    "Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat "
    "Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young "
)


def test_names_are_those_of_celeba_in_its_order() -> None:
    assert tuple(HEADER.split()) == CELEBA_ATTRIBUTES


def test_marginals_are_shares() -> None:
    assert all(0 < share < 1 for share in CELEBA_MARGINALS.values())


def test_majority_accuracy_of_the_marginals_is_the_published_one() -> None:
    majority = [max(share, 1 - share) for share in CELEBA_MARGINALS.values()]
    assert sum(majority) / len(majority) == pytest.approx(0.80, abs=0.01)


def test_parts_add_up_to_all_of_celeba() -> None:
    assert sum(CELEBA_PARTITION.values()) == 202_599
    assert PARTITIONS == ("train", "validation", "test")
