"""The stages end with the same files, whatever the machine is like and whenever they were stopped."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.interrupted import digests

ROOT = Path(__file__).parents[2]
STAGES = ("collect", "prepare", "tune", "train", "export", "evaluate", "card", "reference")
LITTLE = {
    "profile": "small",
    "data.synthetic.count": 100,
    "prepare.sample": 20,
    "tune.trials": 2,
    "tune.epochs": 1,
    "tune.images": 64,
    "train.epochs": 2,
    "train.batch_size": 16,
    "train.device": "cpu",
    "train.precision": "float32",
    "export.variant": "float32",
    "evaluate.bootstrap": 20,
}

Edit = Callable[[Path, dict[str, object]], Path]


def folder(path: Path, edit: Edit) -> Path:
    path.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", path)
    edit(path / "params.yaml", LITTLE)
    return path


def run(stage: str, place: Path, variables: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "face_attributes", stage],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), **(variables or {})},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def kill(stage: str, place: Path, most: int) -> None:
    """Kill a stage before changes of files, run it again, and compare the results."""
    temporary = place.with_name("temporary")
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.interrupted", stage, str(place), str(most)],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["points"]) > 1
    assert result["again"] == result["whole"], stage
    assert result["left"] == []


def test_a_stage_that_was_killed_anywhere_ends_as_if_it_had_not_been(
    made, edit: Edit, tmp_path: Path
) -> None:
    place = folder(tmp_path / "place", edit)
    shutil.copytree(made.raw, place / "data/raw")
    shutil.copy(made.raw.with_name("people.csv"), place / "data")
    kill("prepare", place, most=12)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory, edit: Edit) -> dict[str, Path]:
    """The folder as each stage left it."""
    place = folder(tmp_path_factory.mktemp("whole") / "place", edit)
    found: dict[str, Path] = {"": place.with_name("after-nothing")}
    shutil.copytree(place, found[""])
    for stage in STAGES:
        run(stage, place)
        found[stage] = place.with_name(f"after-{stage}")
        shutil.copytree(place, found[stage])
    return found


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_that_was_killed_anywhere_ends_as_if_it_had_not_been(
    after: dict[str, Path], stage: str, tmp_path: Path
) -> None:
    before = dict(zip(STAGES, ("", *STAGES), strict=False))[stage]
    shutil.copytree(after[before], tmp_path / "place")
    kill(stage, tmp_path / "place", most=40 if stage == "prepare" else 12)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_setting_of_the_machine_changes_a_model_or_a_metric(
    after: dict[str, Path], edit: Edit, tmp_path: Path
) -> None:
    place = folder(tmp_path / "elsewhere" / "with a space", edit)
    variables = {
        "PYTHONHASHSEED": "77",
        "TZ": "Pacific/Chatham",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "tr_TR.UTF-8",
        "OMP_NUM_THREADS": "1",
        "LOKY_MAX_CPU_COUNT": "1",
        "TMPDIR": str(place.parent),
    }
    cores = os.sched_getaffinity(0)
    umask = os.umask(0o077)
    os.sched_setaffinity(0, {min(cores)})
    try:
        for stage in STAGES:
            run(stage, place, variables)
    finally:
        os.sched_setaffinity(0, cores)
        os.umask(umask)
    assert digests(place) == digests(after[STAGES[-1]])
    assert list(place.parent.iterdir()) == [place]


FULL = """
set -eu
mkdir "$1"
mount -t tmpfs -o size=64m tmpfs "$1"
cp -r "$2" "$1/place" && mkdir "$1/temporary"
used=$(df --block-size=1024 --output=used "$1" | tail -n 1)
mount -o remount,size=$((used + $4))k "$1"
cd "$1/place"
status=0
TMPDIR="$1/temporary" "$5" -m face_attributes "$3" || status=$?
mkdir "$6"
cp -r "$1/." "$6/"
exit $status
"""


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_one_line_and_leaves_all_as_it_was(
    after: dict[str, Path], stage: str, tmp_path: Path
) -> None:
    before = after[dict(zip(STAGES, ("", *STAGES), strict=False))[stage]]
    size = sum(path.stat().st_size for path in after[stage].rglob("*") if path.is_file())
    more = size - sum(path.stat().st_size for path in before.rglob("*") if path.is_file())
    for number, free in enumerate(sorted({0, more // 2048})):
        left = tmp_path / f"left-{number}"
        arguments = [
            str(tmp_path / f"disk-{number}"),
            str(before),
            stage,
            str(free),
            sys.executable,
            str(left),
        ]
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", FULL, "bash", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        *_, last, following = done.stderr.strip().splitlines()
        assert last.startswith("Cannot "), done.stderr
        assert following == "Next: df -h . /tmp"
        assert "No space left on device" in last
        found = digests(left / "place")
        assert {name: found.get(name) for name in digests(before)} == digests(before)
        new = found.keys() - digests(before).keys()
        assert all(found[name] == digests(after[stage]).get(name) for name in new), new
        assert not any((left / "temporary").iterdir())
        run(stage, left / "place")
        assert digests(left / "place") == digests(after[stage])
