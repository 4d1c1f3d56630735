"""Parameters of drawn faces: number, seed, and distance from the reference conditions."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from drawn_faces import population

Share = Annotated[float, Field(ge=0, le=1)]


class SyntheticParams(BaseModel):
    """Parameters of a folder of drawn faces. The defaults of the knobs mean: no drift.

    Most of `count` faces are to train on. `held_out` faces more are all in the test part.

    `light` multiplies every pixel, `blur` is the standard deviation in pixels of a blur added to each image,
    `noise` the standard deviation in grey levels of added noise, `pose` a factor on how far heads turn, lean
    and shift. `marginals` overrides the share of faces that carry an attribute; dependent attributes follow.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    count: Annotated[int, Field(ge=1, le=900_000)]  # those held out have higher numbers, of six digits
    held_out: Annotated[int, Field(ge=0, le=99_999)] = 0
    seed: Annotated[int, Field(ge=0)]
    light: Annotated[float, Field(gt=0, le=3)] = 1.0
    blur: Annotated[float, Field(ge=0, le=20)] = 0.0
    noise: Annotated[float, Field(ge=0, le=100)] = 0.0
    pose: Annotated[float, Field(ge=0, le=3)] = 1.0
    marginals: dict[str, Share] = {}

    @field_validator("marginals")
    @classmethod
    def _reachable(cls, marginals: dict[str, float]) -> dict[str, float]:
        population.calibrated(marginals)
        return marginals

    @property
    def faces(self) -> int:
        """Return the number of all faces."""
        return self.count + self.held_out
