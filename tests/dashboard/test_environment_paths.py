import pytest

from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from tests.dashboard.world import World


def test_this_process_is_of_one_environment(world: World) -> None:
    assert EnvironmentPaths.here() == EnvironmentPaths("staging", world.home, world.storage / "release")


@pytest.mark.parametrize("name", ["VISAGE_ENVIRONMENT", "VISAGE_HOME"])
def test_a_variable_that_is_missing_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "")
    with pytest.raises(DashboardError, match=f"{name} is not set: set it for the api-server"):
        EnvironmentPaths.here()
