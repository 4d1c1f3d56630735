import pytest
import torch

from face_attributes.common.errors import ParamsError
from face_attributes.training import device as training_device


def options(tiny, **changes):
    return tiny.train.model_copy(update=changes)


@pytest.mark.parametrize(
    ("seconds", "chosen", "gain"), [((1.0, 0.5), "bfloat16", 2.0), ((1.0, 0.9), "float32", 1.11)]
)
def test_half_precision_where_it_pays(tiny, monkeypatch, seconds, chosen, gain):
    times = iter(seconds * training_device._REPEATS)
    monkeypatch.setattr(training_device, "_timed", lambda step, device: next(times))
    picked = training_device.choose(options(tiny, precision="auto"), (36, 29), 4)
    assert picked.precision == chosen
    assert picked.gain == gain


def test_one_busy_moment_does_not_decide(tiny, monkeypatch):
    times = iter([1.0, 9.0, *(1.0, 0.5) * (training_device._REPEATS - 1)])
    monkeypatch.setattr(training_device, "_timed", lambda step, device: next(times))
    assert training_device.choose(options(tiny, precision="auto"), (36, 29), 4).bfloat16


def test_it_is_really_measured(tiny):
    assert training_device.choose(options(tiny, precision="auto", width=4), (36, 29), 4).gain > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_is_not_measured(tiny, monkeypatch, precision):
    monkeypatch.setattr(training_device, "_timed", None)
    picked = training_device.choose(options(tiny, precision=precision), (36, 29), 4)
    assert picked.precision == precision
    assert picked.gain is None


def test_a_gpu_that_is_not_there(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (
        training_device.choose(options(tiny, device="auto", precision="float32"), (36, 29), 4).device.type
        == "cpu"
    )
    with pytest.raises(ParamsError, match=r"train\.device: cuda, but this machine has no GPU"):
        training_device.choose(options(tiny, device="cuda"), (36, 29), 4)
