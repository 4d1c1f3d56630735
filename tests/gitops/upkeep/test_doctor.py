"""`gitops doctor`: missing and damaged objects are named and put back, by real git and real DVC."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.upkeep.content import Content
from gitops.upkeep.doctor import needs, portion
from gitops.upkeep.plan import Facts
from tests.support.figures import model_md5
from tests.support.lab import Lab
from tests.support.store import Trainings, md5

DAY = date(2026, 6, 1)


def gitops(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def object_of(place: Path, digest: str) -> Path:
    return place / "files" / "md5" / digest[:2] / digest[2:]


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.long
def test_lost_and_damaged_objects_are_named_and_put_back(
    lab: Lab, dvc_remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.clone.path)
    made = Trainings(lab, dvc_remote, lab.clone.path / ".dvc" / "cache", monkeypatch)
    made.release("one", datetime.now(UTC) - timedelta(days=9), "staging")
    model, part = model_md5("one"), md5(b"a part of one")
    (folder,) = dvc_remote.rglob("*.dir")
    whole = gitops("doctor")
    assert whole.exit_code == 0, whole.output
    assert "asked for 4 objects" in whole.output

    object_of(dvc_remote, model).unlink()
    folder.unlink()
    # The cache knows the files of the folder; a damaged object there is no source
    overwrite(object_of(dvc_remote, part), b"other bytes")
    overwrite(object_of(made.cache, model), b"ONNX of another")
    named = gitops("doctor")
    assert named.exit_code == 1
    assert "models/model.onnx of " in named.output
    assert f"({model}): missing" in named.output
    assert f"({part}): damaged" in named.output
    assert "Cannot find every object on the DVC remote: 3 objects are missing or damaged;" in named.output
    assert "Next: .venv/bin/gitops doctor --repair\n" in named.output
    assert not folder.exists()

    repaired = gitops("doctor", "--repair")
    assert repaired.exit_code == 1
    assert "1 object is missing or damaged, and no cache has them: push from" in repaired.output
    assert object_of(dvc_remote, part).read_bytes() == b"a part of one"
    assert folder.exists()

    trash = dvc_remote / "files" / "trash" / "2026-01-01" / model[:2] / model[2:]
    trash.parent.mkdir(parents=True)
    trash.write_bytes(b"one")
    done = gitops("doctor", "--repair")
    assert done.exit_code == 0, done.output
    assert "the trash of storage" in done.output
    assert object_of(dvc_remote, model).read_bytes() == b"one"
    assert gitops("doctor").exit_code == 0


def test_every_object_is_read_in_time() -> None:
    sizes = {f"{number:032x}": 10 for number in range(100)} | {"large": 1000}
    read = set()
    for day in range(60):
        chosen = portion(sizes, 100, DAY + timedelta(days=day))
        assert sum(sizes[one] for one in chosen) <= 100 or chosen == ["large"]
        read |= set(chosen)
    assert len(read & sizes.keys() - {"large"}) > 95
    assert portion(sizes, 0, DAY) == []
    assert set(portion(sizes, 10**6, DAY)) == sizes.keys()


def test_the_files_of_folders_are_needed_and_what_somebody_asked_to_delete_is_not() -> None:
    release = Content(
        frozenset(), (("data/prepared", "a.dir"), ("data/raw", "b.dir"), ("models/model.onnx", "m"))
    )
    facts = Facts(
        (),
        {"1" * 40: release, "2" * 40: release},
        {},
        forgotten=frozenset({"b.dir"}),
        folders={"a.dir": frozenset({"x", "y"}), "b.dir": frozenset({"z"})},
    )
    found = needs(facts, {"prod": ["1" * 40], "dev": ["2" * 40, "1" * 40]})
    assert [one.digest for one in found] == ["a.dir", "x", "y", "m"]
    assert found[1].of == "a file of data/prepared of 111111111111, which prod ran"
