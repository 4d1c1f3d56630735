"""Another release for an environment in the middle of a training run: by a promotion, or by a rollback."""

from pathlib import Path

import pytest

from tests.faults.airflow import Environment, environment, params


def run_while(staging: Environment, release: str) -> str:
    """Declare a release in the middle of a run of main, and return the one that the run ends with."""
    with staging.held():
        run = staging.trigger()
        staging.await_training(run)
        staging.declare(release)
        staging.await_release(release)
    found = staging.succeed(run)
    version = str(found.bundle_version)
    assert f"against {version[:12]}, which runs in staging" in staging.log(run, "model_evaluation.gates")
    return version


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_run_ends_with_the_release_it_began_with(tmp_path: Path) -> None:
    with environment(tmp_path, "staging") as staging:
        before = staging.origin.resolve("main~1")
        after = staging.land(params_yaml=params(2))
        assert run_while(staging, after) == before
        staging.land(params_yaml=params(3))  # what was trained before is not trained again
        assert run_while(staging, before) == after
        staging.assert_undamaged()
