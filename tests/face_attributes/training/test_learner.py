import copy
import math

import pytest
import torch

from face_attributes.training.device import Runtime
from face_attributes.training.learner import Learner, schedule

CPU = Runtime(torch.device("cpu"), bfloat16=False)
SHAPE = (36, 29)


@pytest.fixture
def learner(tiny):
    torch.manual_seed(0)
    return Learner(2, SHAPE, tiny.train.model_copy(update={"dropout": 0.0}), CPU)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randn(16, 3, *SHAPE), (torch.rand(16, 2) < 0.5).float()


def weights(network):
    return torch.cat([parameter.flatten() for parameter in network.parameters()]).detach().clone()


def test_steps_lower_the_loss(learner, batch):
    losses = [float(learner.step(*batch, spent=0.15)) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_average_follows_the_network(learner, batch):
    start = weights(learner.average)
    for _ in range(5):
        learner.step(*batch, spent=0.15)
    now, average = weights(learner.network), weights(learner.average)
    assert 0 < (average - start).norm() < (now - start).norm()
    assert not learner.average.training


def test_at_the_end_of_the_budget_nothing_moves(learner, batch):
    before = weights(learner.network)
    learner.step(*batch, spent=1.0)
    assert torch.allclose(weights(learner.network), before)


def test_it_goes_on_from_a_state(learner, tiny, batch):
    for _ in range(3):
        learner.step(*batch, spent=0.2)
    other = Learner(2, SHAPE, tiny.train.model_copy(update={"dropout": 0.0}), CPU)
    other.restore(copy.deepcopy(learner.state()))
    for one in (learner, other):
        one.step(*batch, spent=0.3)
    assert torch.equal(weights(learner.average), weights(other.average))


def test_biases_do_not_decay(learner, batch):
    groups = learner._optimizer.param_groups
    assert all(parameter.dim() > 1 for parameter in groups[0]["params"])
    assert groups[1]["weight_decay"] == 0


def test_the_learning_rate_rises_and_falls():
    rates = [schedule(spent / 100) for spent in range(101)]
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert math.isclose(max(rates), 1)
    assert rates[-1] < 1e-6
