import pytest

from face_attributes.model import latency
from face_attributes.model.onnx_model import Model


@pytest.mark.parametrize("batch", [1, 3])
def test_each_model_is_measured(made, batch):
    found = latency.measure([Model(made.model), Model(made.model)], batch, runs=5)
    assert [one.batch for one in found] == [batch, batch]
    assert all(0 < one.p50_ms <= one.p95_ms for one in found)


def test_a_slower_model_is_slower_and_models_take_turns(made):
    class Slow(Model):
        def predict(self, images):
            calls.append(self)
            for _ in range(20):
                super().predict(images)

    class Quick(Model):
        def predict(self, images):
            calls.append(self)
            return super().predict(images)

    calls = []
    slow, quick = Slow(made.model), Quick(made.model)
    one, other = latency.measure([slow, quick], 1, runs=5)
    assert one.p50_ms > other.p50_ms
    assert calls[-10:] == [slow, quick] * 5
    ratio = latency.ratio(slow, quick, 1, runs=9)
    assert 1 < ratio.low <= ratio.value <= ratio.high
    assert ratio.value == pytest.approx(ratio.p50_ms / ratio.other_p50_ms)
    assert calls[-18:] == [slow, quick] * 9
