"""Correlations of CelebA's attributes: the phi coefficients of the most correlated pairs.

Of the attributes that are drawn, every pair whose coefficient is 0.3 or more in size, and every attribute's
strongest pair; strongest first.
"""

import numpy as np

# Computed on the first 20,000 rows of list_attr_celeba.txt (Liu et al., ICCV 2015).
CELEBA_CORRELATIONS: dict[tuple[str, str], float] = {
    ("Heavy_Makeup", "Wearing_Lipstick"): 0.81,
    ("Male", "Wearing_Lipstick"): -0.80,
    ("High_Cheekbones", "Smiling"): 0.67,
    ("Heavy_Makeup", "Male"): -0.67,
    ("Goatee", "No_Beard"): -0.56,
    ("No_Beard", "Sideburns"): -0.55,
    ("Chubby", "Double_Chin"): 0.55,
    ("Mouth_Slightly_Open", "Smiling"): 0.53,
    ("5_o_Clock_Shadow", "No_Beard"): -0.53,
    ("Male", "No_Beard"): -0.52,
    ("Goatee", "Sideburns"): 0.50,
    ("Arched_Eyebrows", "Wearing_Lipstick"): 0.46,
    ("Arched_Eyebrows", "Heavy_Makeup"): 0.44,
    ("Mustache", "No_Beard"): -0.44,
    ("Goatee", "Mustache"): 0.44,
    ("No_Beard", "Wearing_Lipstick"): 0.42,
    ("5_o_Clock_Shadow", "Male"): 0.42,
    ("Arched_Eyebrows", "Male"): -0.41,
    ("High_Cheekbones", "Mouth_Slightly_Open"): 0.41,
    ("Male", "Wearing_Earrings"): -0.38,
    ("Big_Nose", "Male"): 0.38,
    ("Gray_Hair", "Young"): -0.37,
    ("Wearing_Earrings", "Wearing_Lipstick"): 0.37,
    ("Bags_Under_Eyes", "Big_Nose"): 0.36,
    ("Heavy_Makeup", "Wearing_Earrings"): 0.36,
    ("Wavy_Hair", "Wearing_Lipstick"): 0.36,
    ("Heavy_Makeup", "No_Beard"): 0.35,
    ("5_o_Clock_Shadow", "Wearing_Lipstick"): -0.34,
    ("Male", "Wearing_Necktie"): 0.33,
    ("Male", "Wavy_Hair"): -0.32,
    ("Heavy_Makeup", "Wavy_Hair"): 0.32,
    ("Straight_Hair", "Wavy_Hair"): -0.32,
    ("Mustache", "Sideburns"): 0.32,
    ("Double_Chin", "Young"): -0.31,
    ("Big_Nose", "Chubby"): 0.31,
    ("Big_Nose", "Wearing_Lipstick"): -0.31,
    ("Blond_Hair", "Male"): -0.30,
    ("Goatee", "Male"): 0.30,
    ("Chubby", "Young"): -0.30,
    ("Heavy_Makeup", "Rosy_Cheeks"): 0.29,
    ("Male", "Wearing_Necklace"): -0.27,
    ("Heavy_Makeup", "Pointy_Nose"): 0.26,
    ("Black_Hair", "Bushy_Eyebrows"): 0.26,
    ("Black_Hair", "Brown_Hair"): -0.25,
    ("Arched_Eyebrows", "Big_Lips"): 0.25,
    ("Gray_Hair", "Receding_Hairline"): 0.25,
    ("Bald", "Chubby"): 0.23,
    ("Eyeglasses", "Young"): -0.22,
    ("Oval_Face", "Smiling"): 0.20,
    ("Bangs", "Wearing_Lipstick"): 0.17,
    ("Wearing_Hat", "Wearing_Lipstick"): -0.16,
    ("Mouth_Slightly_Open", "Narrow_Eyes"): 0.11,
    ("High_Cheekbones", "Pale_Skin"): -0.09,
}


def phi(one: np.ndarray, other: np.ndarray) -> float:
    """Phi coefficient of two attributes: 1 if they always go together, -1 if they exclude each other.

    Args:
        one: bool array (faces,).
        other: bool array (faces,).

    Raises:
        ValueError: every face or none has one of the attributes.

    """
    if one.all() or other.all() or not one.any() or not other.any():
        raise ValueError("phi needs faces with and without each attribute")
    return float(np.corrcoef(one, other)[0, 1])
