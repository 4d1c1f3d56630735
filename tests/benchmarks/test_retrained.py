import base64

import numpy as np
import pytest

from benchmarks.gates import ATTRIBUTES, SMILING, World
from benchmarks.retrained import refusals
from gitops.model.decisions import Answer, Decisions
from gitops.release.settings import load


def packed(column: np.ndarray) -> str:
    return base64.b64encode(np.packbits(column, bitorder="little").tobytes()).decode()


def model(world: World, number: int, lost: float = 0.0) -> Decisions:
    """Return the decisions of a model that truly loses some accuracy in Smiling."""
    loss = np.where(np.arange(ATTRIBUTES) == SMILING, lost, 0.0)
    decisions = world.train(loss).decisions
    images = np.arange(len(world.truth), dtype=np.uint64).tobytes()
    return Decisions(
        model_sha256=f"{number:064x}",
        holdout_md5="0" * 32,
        samples=len(world.truth),
        images=base64.b64encode(images).decode(),
        attributes={
            f"attribute {index}": Answer(
                truth=packed(world.truth[:, index]), decisions=packed(decisions[:, index])
            )
            for index in range(ATTRIBUTES)
        },
        slices={},
    )


def test_each_model_is_a_candidate_for_each_other_one() -> None:
    world = World(2000, 1)
    equal = [model(world, number) for number in range(2)]
    assert refusals(equal, load("dev")) == (2, 2, 0, {})

    pairs, _, refused, gates = refusals([*equal, model(world, 2, lost=0.06)], load("dev"))
    assert (pairs, refused) == (6, 2), "the worse one is refused by both others, and refuses none"
    assert gates["no attribute worse"] == 2


@pytest.mark.parametrize(("images", "shown"), [(400, 0), (5000, 2)])
def test_only_many_images_show_losses_at_the_limits(images: int, shown: int) -> None:
    world = World(images, 1)
    pairs, seen, *_ = refusals([model(world, number) for number in range(2)], load("dev"))
    assert (pairs, seen) == (2, shown)
