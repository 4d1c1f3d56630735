"""Verification, as `airflow dags test` runs it, with a model that was really trained."""

import pytest

from tests.dags.conftest import Trained

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def tags(trained: Trained, pattern: str) -> list[str]:
    """The annotated tags of origin, with the commit of each."""
    listed = trained.environments.origin.repository.git(
        "for-each-ref", "--format=%(objecttype) %(*objectname) %(refname:lstrip=2)", f"refs/tags/{pattern}"
    )
    return listed.splitlines()


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_an_environment_says_once_whether_a_release_keeps_its_claim(
    trained: Trained, environment: str
) -> None:
    first = trained.environments.test(environment, "verify_release")
    assert first.status == 0, first.output[-3000:]
    expected = [f"tag {trained.release} verified/{environment}/{trained.release[:12]}"]
    assert tags(trained, f"*/{environment}/*") == expected
    message = trained.environments.origin.repository.git("tag", "--list", "-n99", f"verified/{environment}/*")
    assert "accuracy" in message
    assert f"[Visage {environment}] verify_release: verified/{environment}/" in first.output

    again = trained.environments.test(environment, "verify_release")
    assert again.status == 0, again.output[-3000:]
    assert f"already verified in {environment}" in again.output
    assert "dvc pull" in first.output
    assert "dvc pull" not in again.output
    assert tags(trained, f"*/{environment}/*") == expected
