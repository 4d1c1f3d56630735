from pathlib import Path

from gitops.paths import MAIN
from infra.dag_smoke_test.plan import land_model
from infra.dag_smoke_test.sandbox import sandbox
from tests.support import checkout


def test_a_model_lands_on_top_of_main(tmp_path: Path) -> None:
    """An environment keeps its release if main does not contain the main that it knew."""
    source = checkout.with_dags(tmp_path / "source", {})
    (tmp_path / "made").mkdir()
    with sandbox(source, tmp_path / "made") as made:
        repository = made.origin.repository
        known = repository.resolve(MAIN)
        trained = repository.commit_files(f"{known}^", {"dvc.lock": b"trained"}, "Train")
        repository.git("update-ref", "refs/heads/run/1", trained)
        model = land_model(made)
        assert repository.is_ancestor(known, model)
        assert repository.read(MAIN, "dvc.lock") == b"trained"
