import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from visage_dags import labelled

ROOT = Path(__file__).resolve().parents[3]


def test_what_still_arrives_does_not_wait(tmp_path: Path) -> None:
    assert labelled.waiting(tmp_path) == []
    for name in ("b", "a", ".c"):
        (tmp_path / "labelled" / name).mkdir()
    (tmp_path / "labelled" / "note.txt").touch()
    assert labelled.waiting(tmp_path) == ["a", "b"]


def test_a_folder_of_any_name_has_a_batch_that_append_takes() -> None:
    assert labelled.batch_name("prod-2026-01-07") == "prod-2026-01-07"
    odd = ["Monday photos", "Monday-photos ", os.fsdecode(b"ren\xe9"), "~", "-rf", "ä" * 120, "a\nb"]
    names = [labelled.batch_name(name) for name in odd]
    assert names[0].startswith("Monday-photos-")
    assert len(set(names)) == len(odd)
    for name in names:
        assert labelled.batch_name(name) == name


def test_a_batch_is_known_by_its_pointer() -> None:
    assert labelled.pointer("a") == "data/labelled/a.parquet.dvc"


def test_nothing_is_gathered_where_no_labels_came(tmp_path: Path) -> None:
    labelled.gather(tmp_path, "prod", date(2026, 1, 7), tmp_path / "no release here")
    (tmp_path / "labels").mkdir()
    labelled.gather(tmp_path, "prod", date(2026, 1, 7), tmp_path / "no release here")


def test_images_with_labels_are_gathered_by_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path))
    (tmp_path / "scored/monday").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    names = [f"{index}.jpg" for index in range(100)]
    for name in names:
        (tmp_path / "scored/monday" / name).write_bytes(name.encode())
    (tmp_path / "labels/monday.csv").write_text(
        "\n".join(["image_id,Male", *(f"{name},1" for name in names)])
    )
    labelled.gather(tmp_path, "prod", date(2026, 1, 7), ROOT)
    assert labelled.waiting(tmp_path) == ["prod-2026-01-07"]
    assert len(list((tmp_path / "labelled/prod-2026-01-07").glob("*.jpg"))) == 100


def test_new_batches_are_those_that_neither_the_release_nor_main_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], None]
) -> None:
    (tmp_path / "origin.git").mkdir()
    origin = Repository(tmp_path / "origin.git")
    origin.git("init", "--quiet", "--bare", "--initial-branch=main")
    release = origin.commit_files(None, {labelled.pointer("learned"): b"meta: {images: 500}\n"}, "Release")
    main = origin.commit_files(release, {labelled.pointer("merged"): b"meta: {images: 500}\n"}, "Merge")
    origin.git("update-ref", "refs/heads/main", main)
    connect(str(origin.path))
    home, day = tmp_path / "home", date(2026, 1, 7)
    assert labelled.new(home, "dev", day, ROOT, release) == []
    for name in ("learned", "merged", "Monday photos"):
        (home / "labelled" / name).mkdir(parents=True)
    waiting = labelled.batch_name("Monday photos")
    assert labelled.new(home, "dev", day, ROOT, release) == [waiting]


def test_batches_that_a_run_appended_are_those_to_judge_by(
    tmp_path: Path, connect: Callable[[str], None]
) -> None:
    (tmp_path / "origin.git").mkdir()
    origin = Repository(tmp_path / "origin.git")
    origin.git("init", "--quiet", "--bare", "--initial-branch=main")
    old = {labelled.pointer("old"): b"meta: {images: 500}\n", "README.md": b"one"}
    base = origin.commit_files(None, old, "Start")
    new = {
        labelled.pointer("new"): b"meta: {images: 100}\n",
        labelled.pointer("few"): b"meta: {images: 99}\n",
        "README.md": b"two",
    }
    result = origin.commit_files(base, new, "Append")
    origin.git("update-ref", "refs/heads/main", result)
    connect(str(origin.path))
    assert labelled.added(base, result) == ["new"]
    assert labelled.added(result, result) == []
    assert labelled.present([base, result], ["old", "new", "none"]) == {"old", "new"}
