from pathlib import Path

from visage_dags import labelled


def test_what_still_arrives_does_not_wait(tmp_path: Path) -> None:
    assert labelled.waiting(tmp_path) == []
    for name in ("b", "a", ".c"):
        (tmp_path / "labelled" / name).mkdir()
    (tmp_path / "labelled" / "note.txt").touch()
    assert labelled.waiting(tmp_path) == ["a", "b"]


def test_a_batch_is_known_by_its_pointer() -> None:
    assert labelled.pointer("a") == "data/labelled/a.parquet.dvc"
