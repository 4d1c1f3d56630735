"""CelebA's forty attributes in their order, the sizes of its parts, and the size of its images."""

from typing import Literal

CELEBA_ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)

# Sizes of CelebA's official parts, which also give the shares of any other folder in its layout.
CELEBA_PARTITION: dict[str, int] = {"train": 162_770, "validation": 19_867, "test": 19_962}
PARTITIONS: tuple[str, ...] = tuple(CELEBA_PARTITION)  # in the order of their codes 0, 1, 2

WIDTH, HEIGHT = 178, 218  # pixels of an aligned CelebA image

# auto: an image of 178x218 pixels is aligned already. always: align that too. never: refuse all others
Align = Literal["auto", "always", "never"]
