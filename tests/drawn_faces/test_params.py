import pytest
from pydantic import ValidationError

from drawn_faces import SyntheticParams


def test_knobs_default_to_no_drift() -> None:
    params = SyntheticParams(count=1, seed=0)
    assert (params.light, params.blur, params.noise, params.pose, params.marginals) == (1, 0, 0, 1, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 900_001},
        {"held_out": -1},
        {"held_out": 100_000},
        {"count": "5"},
        {"seed": -1},
        {"light": 0},
        {"blur": -1},
        {"noise": -1},
        {"pose": -1},
        {"lihgt": 1.0},
        {"marginals": {"Male": 1.5}},
        {"marginals": {"Attractive": 0.5}},
        {"marginals": {"Goatee": 0.9}},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SyntheticParams.model_validate({"count": 1, "seed": 0} | wrong)


def test_params_survive_json() -> None:
    params = SyntheticParams(count=5, seed=1, light=0.7, marginals={"Male": 0.5})
    assert SyntheticParams.model_validate_json(params.model_dump_json()) == params
