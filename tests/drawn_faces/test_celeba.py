import pytest

from drawn_faces.celeba import CELEBA_MARGINALS


def test_marginals_are_shares() -> None:
    assert all(0 < share < 1 for share in CELEBA_MARGINALS.values())


def test_majority_accuracy_of_the_marginals_is_the_published_one() -> None:
    majority = [max(share, 1 - share) for share in CELEBA_MARGINALS.values()]
    assert sum(majority) / len(majority) == pytest.approx(0.80, abs=0.01)
