"""What happens by the clock."""

from tests.workflows.conftest import World
from tests.workflows.test_promotion import open_pull, released

WEEKLY, HOURLY = "43 4 * * 1", "17 * * * *"


def test_each_week(world: World) -> None:
    world.strike(WEEKLY)
    assert world.happen() == {"scheduled": "success"}, world.log("scheduled")
    results = world.last("scheduled").results
    assert set(results) == {"audit", "test-all", "trial"}
    # A pull request that starts from here finds what main came to.
    (kept,) = [path for key, path in world.forge.caches.items() if key.startswith("dvc-Linux-")]
    assert len(list((kept / "1").iterdir())) == 1


def test_an_audit_that_finds_something_fails_though_linting_does_not(world: World) -> None:
    world.replaced["make audit"] = "exit 1"
    world.replaced["make lint"] = "exit 1"
    world.replaced[".venv/bin/gitops trial --head main --out trial"] = "true"
    world.strike(WEEKLY)
    assert world.happen() == {"scheduled": "failure"}
    assert world.last("scheduled").results["audit"].ran[-2:] == ["make lint", "make audit"]


def test_each_hour_what_has_soaked_is_promoted(world: World) -> None:
    release = released(world)
    world.verify("dev", release)
    # As if the events had come too early, or had been lost.
    world.forge.events.clear()
    world.strike(HOURLY)
    assert world.happen("promote") == {"promote": "success"}
    assert open_pull(world, "staging") is not None
