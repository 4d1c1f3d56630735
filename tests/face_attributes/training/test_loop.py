import math

import numpy as np
import pytest
import torch

from face_attributes.common.errors import SearchError
from face_attributes.training import loop
from face_attributes.training.device import Runtime
from face_attributes.training.loop import fit

CPU = Runtime(torch.device("cpu"), bfloat16=False)


def options(tiny, **changes):
    return tiny.train.model_copy(update={"epochs": 3, **changes})


def same(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_it_learns(tiny, data):
    fitted = fit(data.train, data.validation, options(tiny, epochs=6), CPU)
    majority = np.maximum(data.validation.labels.mean(0), 1 - data.validation.labels.mean(0)).mean()
    assert fitted.curve[-1].train_loss < 0.75 * fitted.curve[0].train_loss
    assert fitted.curve[-1].validation_accuracy > majority - 0.02
    assert [row.epoch for row in fitted.curve] == [1, 2, 3, 4, 5, 6]
    assert fitted.images == 6 * len(data.train)


def test_a_seed_gives_one_model(tiny, data):
    one, again, other = (
        fit(data.train, data.validation, options(tiny, seed=seed, epochs=1), CPU) for seed in (1, 1, 2)
    )
    assert same(one.network, again.network)
    assert one.curve == again.curve
    assert not same(one.network, other.network)


@pytest.mark.parametrize("half", [False, True])
def test_a_killed_training_goes_on_as_if_it_had_not_been(tiny, data, tmp_path, half, monkeypatch):
    runtime = Runtime(torch.device("cpu"), bfloat16=half)
    whole = fit(data.train, data.validation, options(tiny), runtime)

    def killed_after_two(row):
        if row.epoch == 2:
            raise KeyboardInterrupt
        return True

    checkpoint = tmp_path / "new" / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(
            data.train,
            data.validation,
            options(tiny),
            runtime,
            checkpoint=checkpoint,
            keep_going=killed_after_two,
        )
    seen, trained = [], []
    real = loop.batches
    monkeypatch.setattr(loop, "batches", lambda *given: trained.append(given[2] + 1) or real(*given))

    def resume(last=math.inf):
        return fit(
            data.train,
            data.validation,
            options(tiny),
            runtime,
            checkpoint=checkpoint,
            keep_going=lambda row: seen.append(row.epoch) or row.epoch < last,
        )

    # Killed before the answer to its second epoch, which ends it
    assert [row.epoch for row in resume(last=2).curve] == seen == [1, 2]
    assert not trained
    seen.clear()
    resumed = resume()
    assert (seen, trained) == ([1, 2, 3], [3])
    assert same(resumed.network, whole.network)
    assert resumed.curve == whole.curve
    assert resumed.images == whole.images


def test_minutes_end_it_with_the_learning_rate_at_its_end(tiny, data, monkeypatch):
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    fitted = fit(data.train, data.validation, options(tiny, epochs=500, max_minutes=2.0), CPU)
    assert fitted.out_of_time
    assert 1 <= len(fitted.curve) < 10


def test_no_epoch_is_noted_that_did_not_begin(tiny, data, monkeypatch):
    steps = math.ceil(len(data.train) / tiny.train.batch_size)
    # The clock is read at the start, at each step and after each epoch; it jumps with the second epoch
    clock = iter([*[0.0] * (steps + 2), *[1e9] * 10])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    fitted = fit(data.train, data.validation, options(tiny, max_minutes=1.0), CPU)
    assert fitted.out_of_time
    assert [row.epoch for row in fitted.curve] == [1]
    assert fitted.curve[0].train_loss > 0


def test_a_last_batch_of_one_image_is_left_out(tiny, data):
    fitted = fit(data.train.first(33), data.validation, options(tiny, epochs=1), CPU)
    assert fitted.images == 32


def test_a_loss_that_is_no_number_is_said(tiny, data):
    with pytest.raises(SearchError, match="the loss is no longer a number"):
        fit(data.train, data.validation, options(tiny, learning_rate=1e30), CPU)


def test_prediction_does_not_depend_on_its_company(tiny, data):
    network = fit(data.train, data.validation, options(tiny, epochs=1), CPU).network
    together = loop.predict(network, data.validation.images, CPU)
    alone = loop.predict(network, data.validation.images[2:3], CPU)
    np.testing.assert_allclose(alone[0], together[2], atol=1e-5)
