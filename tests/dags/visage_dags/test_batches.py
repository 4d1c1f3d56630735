from pathlib import Path

from visage_dags import batches


def drop(home: Path, name: str) -> None:
    (home / "incoming" / name).mkdir(parents=True)
    (home / "incoming" / name / "1.jpg").write_bytes(b"jpeg")


def test_what_still_arrives_does_not_wait(tmp_path: Path) -> None:
    assert batches.waiting(tmp_path) == []
    for name in ("b", "a", ".c"):
        drop(tmp_path, name)
    (tmp_path / "incoming" / "note.txt").touch()
    assert batches.waiting(tmp_path) == ["a", "b"]


def test_a_batch_has_one_file_of_scores_whenever_it_is_scored(tmp_path: Path) -> None:
    first = batches.scores_path(tmp_path, "a[1]")
    assert first.parent.parent == tmp_path / "scores"
    assert first.parent.name.startswith("date=")
    assert first.name == "a[1].parquet"
    yesterday = tmp_path / "scores" / "date=2026-01-01" / "a[1].parquet"
    yesterday.parent.mkdir(parents=True)
    yesterday.touch()
    assert batches.scores_path(tmp_path, "a[1]") == yesterday
    assert batches.scores_path(tmp_path, "a1") != yesterday


def test_the_figures_of_a_batch_are_beside_its_scores(tmp_path: Path) -> None:
    scores = batches.scores_path(tmp_path, "2026.11.25")
    assert batches.summary_path(scores) == scores.parent / "2026.11.25.json"
    batches.summary_path(scores).parent.mkdir(parents=True)
    batches.summary_path(scores).touch()
    assert batches.scores_path(tmp_path, "2026.11.25") == scores


def test_images_of_two_batches_of_one_name_are_both_kept(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    assert batches.retire(tmp_path, "a") == tmp_path / "scored" / "a"
    drop(tmp_path, "a")
    assert batches.retire(tmp_path, "a") == tmp_path / "scored" / "a~2"
    assert (tmp_path / "scored" / "a~2" / "1.jpg").read_bytes() == b"jpeg"
    assert batches.waiting(tmp_path) == []


def test_a_batch_without_an_image_is_empty_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    assert not batches.is_empty(tmp_path, "a")
    (tmp_path / "incoming" / "a" / "1.jpg").rename(tmp_path / "incoming" / "a" / ".1.jpg")
    assert batches.is_empty(tmp_path, "a")
    batches.retire(tmp_path, "a")
    assert not batches.is_empty(tmp_path, "a"), "another one scored it and took it away"
