"""`gitops forget`: three people across releases, environments and a backup, by real git and real DVC."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gitops.dvc.objects import in_folder
from gitops.errors import RuleError
from gitops.people.erasure import erasure
from gitops.people.history import Recorded
from gitops.promotion.rollbacks import rollback
from tests.support import people
from tests.support.people import BATCH, ENVIRONMENTS, World

_STOPS = (
    "written: the journal",
    "pushed: ",
    "objects of the DVC remotes",
    "of this checkout",
    "of staging",
    "copies of galleries",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    people.make(folder)
    return folder


def gitops(world: World, *more: str, stop: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; with `stop`, kill it with SIGKILL as soon as it prints that."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "gitops", *world.command(), *more],
        cwd=world.checkout,
        env=world.variables() | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if stop and stop in line:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=300)
    return subprocess.CompletedProcess([], process.returncode, "".join(lines), "")


def state_of(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
        and ".git" not in path.parts
        and "dvc-site" not in path.parts
        and ".visage" not in path.parts
    }


def check_that_they_are_gone(world: World, output: str) -> None:
    for name, photographs in world.people().items():
        assert world.holders(photographs) == [], name
    for environment in ENVIRONMENTS:
        home = world.home(environment)
        table = pq.read_table(home / "scores/date=2026-01-07/upload.parquet")
        assert table.column("id").to_pylist() == ["other.jpg"]
        assert (home / "scored/upload/other.jpg").is_file()
        assert (home / "labels/upload.csv").read_text() == "image_id,Smiling\nother.jpg,1\n"
        assert not (home / "runs/manual/plots/worst_errors.jpg").exists()
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=world.backup, check=False)
    assert done.returncode == 0
    assert "and found none" in output
    assert "The weights of models are not unlearned" in output
    assert list((world.checkout / ".visage" / "forget").glob("*.json")) == []
    branch = next(
        line.split()[-1] for line in world.lab.origin.git("branch", "--list", "forget/*").splitlines()
    )
    assert f"train {branch}" in output
    forgotten = json.loads(world.lab.origin.read(branch, "data/forgotten.json") or b"")
    for photographs in world.people().values():
        assert any(hashlib.sha256(one).hexdigest() in forgotten["photographs"] for one in photographs)
    assert "000061" not in json.dumps(forgotten)
    assert BATCH not in json.dumps(forgotten)
    # The data that main has left is on the remote, and a collection makes the same of the source
    lab = world.lab
    lab.clone.git("fetch", "--quiet", "origin")
    lab.clone.git("checkout", "--quiet", "--force", "--detach", lab.origin.resolve(branch))
    world.run(
        "dvc",
        "pull",
        "--force",
        "data/raw",
        "data/people.csv",
        "prepare",
        f"data/labelled/{BATCH}.parquet.dvc",
    )
    rebuilt = state_of(world.checkout / "data" / "raw")
    assert pq.read_table(next((world.checkout / "data/raw").glob("*.parquet"))).num_rows == 60
    world.run("dvc", "repro", "--quiet", "--force", "--single-item", "collect")
    assert state_of(world.checkout / "data" / "raw") == rebuilt
    # Rollback asks main, so the branch is merged by hand here
    lab.origin.git("update-ref", "refs/heads/main", lab.origin.resolve(branch))
    releases, state = world.releases(), lab.state()
    with pytest.raises(RuleError, match="lost data that somebody asked to delete: data/"):
        rollback(lab.clone, state, "staging", "origin", to=releases["one"])
    assert (
        rollback(lab.clone, state, "staging", "origin", to=releases["zero"]).after.commit == releases["zero"]
    )
    assert rollback(lab.clone, state, "prod", "origin").after.commit == releases["zero"]


@pytest.mark.long
def test_three_people_are_removed_from_everywhere(made: Path, tmp_path: Path) -> None:
    world = copy(made, tmp_path / "world")
    for name, photographs in world.people().items():
        holders = " ".join(world.holders(photographs))
        assert "homes/prod" in holders, name
        assert "backup/home.tar" in holders, name
        if name != "cleo":
            assert "store/files" in holders, name
    # A prune took an object with photographs of theirs
    taken = next(path for path in in_folder(world.store).values() if path.read_bytes().startswith(b"PAR1"))
    trash = world.store / "files" / "trash" / "2026-01-01" / taken.parent.name / taken.name
    trash.parent.mkdir(parents=True)
    trash.write_bytes(taken.read_bytes())
    before = state_of(world.folder)
    shown = gitops(world, "--dry-run")
    assert shown.returncode == 0, shown.stdout
    assert "4 photographs would be removed" in shown.stdout
    assert "staging: 2 releases lose data, the present one among them" in shown.stdout
    assert state_of(world.folder) == before
    assert world.lab.origin.git("branch", "--list", "forget/*") == ""
    proof = world.folder / "proof.json"
    done = gitops(world, "--proof", str(proof))
    assert done.returncode == 0, done.stdout
    assert json.loads(proof.read_text())["left"] == []
    assert "000061" not in proof.read_text()
    assert not trash.exists()
    check_that_they_are_gone(world, done.stdout)


@pytest.mark.long
def test_a_forget_that_is_killed_goes_on(made: Path, tmp_path: Path) -> None:
    world = copy(made, tmp_path / "world")
    for stop in _STOPS:
        stopped = gitops(world, stop=stop)
        assert stopped.returncode in (-signal.SIGKILL, 0) or "already" in stopped.stdout, stopped.stdout
    done = gitops(world)
    assert done.returncode == 0, done.stdout
    check_that_they_are_gone(world, done.stdout)


def copy(made: Path, folder: Path) -> World:
    subprocess.run(["cp", "-a", str(made), str(folder)], check=True)
    world = World(folder)
    world.configure()
    world.lab.clone.git("remote", "set-url", "origin", str(world.lab.origin.path))
    text = world.ids.read_text().replace(str(made), str(folder))
    world.ids.write_text(text)
    return world


RAW, HOLDOUT, ARRAYS, GALLERY = "data/raw", "data/holdout.parquet", "data/prepared", "plots/worst_errors.jpg"


def test_arrays_and_galleries_go_with_the_photographs_that_made_them() -> None:
    folders = {
        "raw.dir": ["part"],
        "clean.dir": ["other"],
        "arrays.dir": ["a", "shared"],
        "fresh.dir": ["b", "shared"],
    }
    records = [
        Recorded(("1" * 40,), {RAW: "raw.dir", HOLDOUT: "held", ARRAYS: "arrays.dir", GALLERY: "gallery"}),
        # Rebuilt: it has the gallery of before until it is trained
        Recorded(("2" * 40,), {RAW: "clean.dir", HOLDOUT: "new", ARRAYS: "fresh.dir", GALLERY: "gallery"}),
        Recorded(("3" * 40,), {RAW: "clean.dir", HOLDOUT: "new", ARRAYS: "fresh.dir", GALLERY: "better"}),
    ]
    due = erasure({"part", "held"}, folders, records)
    assert due.objects == {"part", "raw.dir", "held", "a", "arrays.dir", "gallery"}
    assert due.lost == {"raw.dir", "held", "arrays.dir", "gallery"}
    assert due.commits == ("1" * 40, "2" * 40)


def test_a_training_photograph_is_on_no_gallery() -> None:
    records = [Recorded(("1" * 40,), {RAW: "raw.dir", HOLDOUT: "held", GALLERY: "gallery"})]
    assert erasure({"part"}, {"raw.dir": ["part"]}, records).objects == {"part", "raw.dir"}
