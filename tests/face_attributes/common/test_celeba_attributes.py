from drawn_faces import celeba
from face_attributes.common.celeba_attributes import (
    CELEBA_ATTRIBUTES,
    CELEBA_PARTITION,
    HEIGHT,
    PARTITIONS,
    WIDTH,
)

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


def test_the_drawn_faces_imitate_the_same_attributes() -> None:
    assert tuple(celeba.CELEBA_MARGINALS) == CELEBA_ATTRIBUTES
    assert (celeba.WIDTH, celeba.HEIGHT) == (WIDTH, HEIGHT)


def test_parts_add_up_to_all_of_celeba() -> None:
    assert sum(CELEBA_PARTITION.values()) == 202_599
    assert PARTITIONS == ("train", "validation", "test")
