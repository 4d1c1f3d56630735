import numpy as np

from face_attributes.training import thresholds


def test_a_half_stays_where_nothing_is_better():
    random = np.random.default_rng(0)
    probabilities = random.random((4000, 3))
    labels = random.random((4000, 3)) < probabilities  # calibrated: a half is the best there is
    assert thresholds.calibrate(probabilities, labels) == [0.5, 0.5, 0.5]


def test_a_skewed_attribute_gets_its_own():
    random = np.random.default_rng(0)
    truth = random.random(4000)
    probabilities = np.stack([truth, truth / 2 + 0.25 + 0.1], axis=1)  # the second says too much, by 0.1
    labels = np.stack([random.random(4000) < 0.5, truth > 0.5], axis=1)
    first, second = thresholds.calibrate(probabilities, labels)
    assert first == 0.5
    assert second == 0.55, "half of the way to the best one, 0.6"


def test_half_of_the_way_loses_less_where_other_people_have_other_shares():
    random = np.random.default_rng(0)
    scores = random.random(20_000)
    here, elsewhere = (random.random(20_000) < np.clip(scores + shift, 0, 1) for shift in (-0.15, 0.05))
    (threshold,) = thresholds.calibrate(scores[:, None], here[:, None])
    accuracies = [((scores >= one) == elsewhere).mean() for one in (0.5, threshold, 0.65)]
    assert 0.5 < threshold < 0.65
    assert accuracies == sorted(accuracies, reverse=True)
    assert ((scores >= threshold) == here).mean() > ((scores >= 0.5) == here).mean()


def test_an_attribute_that_nobody_has():
    assert thresholds.calibrate(np.full((10, 1), 0.1), np.zeros((10, 1))) == [0.5]


def test_a_single_image_moves_nothing():
    assert thresholds.calibrate(np.array([[0.4]]), np.array([[1]])) == [0.5]
