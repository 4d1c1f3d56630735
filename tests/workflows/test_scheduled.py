"""What happens by the clock."""

import pytest

from tests.workflows.conftest import World
from tests.workflows.test_promotion import open_pull, released

WEEKLY, HOURLY, LOCK = "43 4 * * 1", "17 * * * *", "13 5 * * 1"


@pytest.mark.long
@pytest.mark.timeout(1800)  # a training of two sides
def test_each_week(world: World) -> None:
    world.strike(WEEKLY)
    assert world.happen() == {"scheduled": "success"}, world.log("scheduled")
    assert set(world.checks("scheduled")) == {"audit", "test-all", "trial"}
    # A pull request that starts from here finds what main came to.
    (kept,) = [path for path in world.caches.iterdir() if path.name.startswith("trials-Linux-")]
    assert len(list((kept / "0").iterdir())) == 1


@pytest.mark.long
def test_an_audit_that_finds_something_fails_though_linting_does_not(world: World) -> None:
    world.replace("audit", "exit 1")
    world.replace("lint", "exit 1")
    world.strike(WEEKLY)
    assert world.happen() == {"scheduled": "failure"}
    steps = world.last("scheduled").results["audit"].steps
    failed = [name for name, result in steps.items() if result == "failure"]
    assert failed == ["Lint everything", "What is known against the versions in use"]


@pytest.mark.long
def test_newer_packages_are_proposed_once_a_week(world: World) -> None:
    forge = world.forge
    world.replace("lock", "sed -i 's/^typer==.*/typer==99.0 \\\\/' requirements.lock")
    for _ in range(2):
        world.strike(LOCK)
        assert world.happen("dependencies") == {"dependencies": "success"}, world.log("dependencies")
    (pull,) = forge.pulls.values()
    assert (pull.title, pull.author) == ("Update the locked packages", "visage[bot]")
    assert "| typer | " in pull.body
    # The pipeline of this world makes no model.
    assert "The versions of main could not be measured" in pull.body
    assert forge.repository.changed(forge.sha("main"), forge.head(pull)) == ["requirements.lock"]


@pytest.mark.long
def test_each_hour_what_has_soaked_is_promoted(world: World) -> None:
    release = released(world)
    world.verify("dev", release)
    # As if the events had come too early, or had been lost.
    world.forge.events.clear()
    world.strike(HOURLY)
    assert world.happen("promote") == {"promote": "success"}, world.log("promote")
    assert open_pull(world, "staging") is not None
