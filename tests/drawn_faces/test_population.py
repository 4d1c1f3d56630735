import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_faces import DRAWN_ATTRIBUTES, population
from drawn_faces.celeba import CELEBA_MARGINALS
from drawn_faces.correlations import CELEBA_CORRELATIONS, phi

# Pairs of which a face has at most one.
EXCLUSIVE = [
    ("Bald", "Bangs"),
    ("Bald", "Receding_Hairline"),
    ("Bald", "Wearing_Hat"),
    ("Bald", "Wavy_Hair"),
    ("Bald", "Straight_Hair"),
    ("Bald", "Black_Hair"),
    ("Bald", "Blond_Hair"),
    ("Bald", "Brown_Hair"),
    ("Bald", "Gray_Hair"),
    ("Bangs", "Receding_Hairline"),
    ("Bangs", "Wearing_Hat"),
    ("Big_Nose", "Pointy_Nose"),
    ("Black_Hair", "Blond_Hair"),
    ("Black_Hair", "Brown_Hair"),
    ("Black_Hair", "Gray_Hair"),
    ("Blond_Hair", "Brown_Hair"),
    ("Blond_Hair", "Gray_Hair"),
    ("Brown_Hair", "Gray_Hair"),
    ("Chubby", "Oval_Face"),
    ("No_Beard", "Goatee"),
    ("Straight_Hair", "Wavy_Hair"),
    ("Wearing_Necklace", "Wearing_Necktie"),
]
MEN_ONLY = ["5_o_Clock_Shadow", "Bald", "Goatee", "Mustache", "Sideburns", "Wearing_Necktie"]
WOMEN_ONLY = ["Heavy_Makeup", "Wearing_Lipstick"]


@pytest.fixture(scope="module")
def people() -> population.Columns:
    return population.sample(0, range(20_000))


def test_drawn_attributes_are_at_least_25_of_celebas_in_its_order() -> None:
    assert len(DRAWN_ATTRIBUTES) >= 25
    assert [name for name in CELEBA_MARGINALS if name in DRAWN_ATTRIBUTES] == list(DRAWN_ATTRIBUTES)


@pytest.mark.parametrize("name", DRAWN_ATTRIBUTES)
def test_attribute_is_as_frequent_as_in_celeba(name: str, people: population.Columns) -> None:
    share = CELEBA_MARGINALS[name]
    # Five standard errors of 20,000 draws, and as much again for the reference population; at most 0.02.
    limit = min(0.02, 10 * np.sqrt(share * (1 - share) / 20_000))
    assert people[name].mean() == pytest.approx(share, abs=limit)


@pytest.mark.parametrize(
    ("pair", "published"), CELEBA_CORRELATIONS.items(), ids=["-".join(pair) for pair in CELEBA_CORRELATIONS]
)
def test_pair_goes_together_as_in_celeba(
    pair: tuple[str, str], published: float, people: population.Columns
) -> None:
    drawn = phi(people[pair[0]], people[pair[1]])
    assert drawn == pytest.approx(published, abs=0.1)
    if abs(published) >= 0.1:
        assert drawn * published > 0


def test_pairs_go_together_as_in_celeba_on_average(people: population.Columns) -> None:
    differences = [
        abs(phi(people[one], people[other]) - published)
        for (one, other), published in CELEBA_CORRELATIONS.items()
    ]
    assert np.mean(differences) <= 0.03


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    first=st.integers(0, 999_000),
    male=st.floats(0, 1),
    young=st.floats(0, 1),
    hats=st.floats(0, 1),
)
def test_no_face_contradicts_itself(seed: int, first: int, male: float, young: float, hats: float) -> None:
    shares = {"Male": male, "Young": young, "Wearing_Hat": hats}
    people = population.sample(seed, range(first, first + 50), shares)
    for one, other in EXCLUSIVE:
        assert not (people[one] & people[other]).any(), (one, other)
    for name in MEN_ONLY:
        assert people["Male"][people[name]].all(), name
    for name in WOMEN_ONLY:
        assert not people["Male"][people[name]].any(), name
    assert people["No_Beard"][~people["Male"]].all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**63), indices=st.lists(st.integers(0, 10**6), min_size=2, max_size=6))
def test_face_depends_on_seed_and_index_only(seed: int, indices: list[int]) -> None:
    together = population.sample(seed, indices)
    alone = population.sample(seed, indices[-1:])
    assert all(together[name][-1] == alone[name][0] for name in DRAWN_ATTRIBUTES)


def test_overridden_marginal_is_met_and_drags_what_depends_on_it(people: population.Columns) -> None:
    drifted = population.sample(0, range(20_000), {"Male": 0.8})
    assert drifted["Male"].mean() == pytest.approx(0.8, abs=0.02)
    assert drifted["Goatee"].mean() > 1.5 * people["Goatee"].mean()
    assert drifted["Wearing_Lipstick"].mean() < 0.5 * people["Wearing_Lipstick"].mean()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_marginal_may_be_none_or_all(share: float) -> None:
    assert population.sample(0, range(500), {"Eyeglasses": share})["Eyeglasses"].mean() == share


def test_unreachable_marginal_says_what_can_be_reached() -> None:
    with pytest.raises(
        ValueError, match=r"Goatee: a share of 0\.9 cannot be drawn, from 0\.00 to 0\.1\d can"
    ):
        population.calibrated({"Goatee": 0.9})


def test_unknown_attribute_is_named_with_the_nearest_known() -> None:
    with pytest.raises(ValueError, match="Eyeglases: not a drawn attribute, did you mean Eyeglasses"):
        population.calibrated({"Eyeglases": 0.1})
