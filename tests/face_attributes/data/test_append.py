"""Labelled batches in a real git repository with a real DVC remote in a folder."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from face_attributes import cli
from face_attributes.common.errors import DataError
from face_attributes.data import append
from tests.support.command import captured
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
IDENTITY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}
KEPT = (
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "data/labelled/.gitignore",
    "data/labelled/README.md",
    "params.yaml",
    "params.small.yaml",
)
POINTER = Path("data/labelled/monday.parquet.dvc")
SHARD = Path("data/labelled/monday.parquet")


def negative(image: bytes) -> bytes:
    """Return another photograph of the same size: the duplicate of a photograph is left out of training."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return cv2.imencode(".jpg", 255 - pixels)[1].tobytes()


def call(*command, cwd="."):
    environment = {
        **os.environ,
        **IDENTITY,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    if command[0] == "git":  # the person's own commands, whose settings and hooks are not what is tested
        environment["GIT_CONFIG_GLOBAL"] = os.devnull
    done = captured(command, cwd=cwd, env=environment)
    return done.returncode, done.stdout + done.stderr


def must(*command, cwd="."):
    code, said = call(*command, cwd=cwd)
    assert code == 0, said
    return said


def everything():
    """Whatever is in the folder `data`, git's and DVC's knowledge of it included."""
    return sorted(str(path) for path in Path("data").rglob("*")), must("git", "status", "--porcelain")


@pytest.fixture(scope="session")
def templates():
    """The checkout that all others are copies of, once it is made."""
    return []


@pytest.fixture
def checkout(templates, tmp_path, tmp_path_factory, isolated_home, edit, monkeypatch):
    """The current folder: this repository's settings, one stage of its pipeline, and no batch."""
    config = isolated_home / "dvc/config"
    config.parent.mkdir()
    config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path / 'remote'}\n")
    if not templates:
        folder = tmp_path_factory.mktemp("template") / "checkout"
        for name in KEPT:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        edit(folder / "params.yaml", {"data.source": "celeba", "data.attributes": ["Smiling", "Male"]})
        stage = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["prepare"]
        # The code that runs is not in this repository
        stage["deps"] = [path for path in stage["deps"] if not path.startswith("src/")]
        YAML().dump({"stages": {"prepare": stage}}, folder / "dvc.yaml")
        shutil.copy(ROOT / "data/licences.yaml", folder / "data")
        (folder / "data/people.csv").write_text("image_id,person\n")
        contract = YAML(typ="safe").load(ROOT / "data/contract.yaml")
        YAML().dump(
            {**contract, "shares": {}, "rows": {"train": 1, "validation": 1, "test": 1}},
            folder / "data/contract.yaml",
        )
        must("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
        must("dvc", "init", "--quiet", cwd=folder)
        must("git", "add", "--all", cwd=folder)
        must("git", "add", "--force", "data/people.csv", cwd=folder)
        must("git", "commit", "--quiet", "--message=Start", cwd=folder)
        templates.append(folder)
    shutil.copytree(templates[0], tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    return tmp_path / "checkout"


class Run:
    """Appends a folder of photographs as the batch monday."""

    def __init__(self, folder, params):
        self.folder = folder
        self.images = folder / "img_align_celeba"
        self.params = params

    def __call__(self, name="monday", **options):
        return append.append(self.params, self.folder, name, **options)


@pytest.fixture
def run(checkout, celeba_folder, data_params):
    return Run(celeba_folder(), data_params())


def test_a_users_autostage_leaves_nothing_in_the_index(run, isolated_home):
    config = isolated_home / "dvc/config"
    config.write_text(config.read_text().replace("[core]\n", "[core]\nautostage = true\n"))
    assert run().new
    assert must("git", "status", "--porcelain") == f"?? {POINTER}\n"


def test_a_batch_reaches_the_next_training_in_a_fresh_clone(run, tmp_path, jpeg):
    (run.images / "000007.jpg").write_bytes(b"")
    (run.images / "000008.jpg").unlink()
    (run.images / "extra.jpg").write_bytes(jpeg())
    done = run()
    assert done.new
    assert done.bad == {"000007.jpg": "empty file"}
    assert (done.absent, done.unlabelled) == (1, 1)
    assert sum(done.parts.values()) == 58
    assert must("git", "status", "--porcelain") == f"?? {POINTER}\n"
    meta = YAML(typ="safe").load(POINTER)["meta"]
    assert meta.pop("rows") == done.parts
    assert meta.pop("yes") == {"Smiling": 29, "Male": 28}
    assert meta | {"digest": None} == {
        "images": 58,
        "digest": None,
        "quarantine": {"000007.jpg": "empty file"},
    }
    batch = pq.read_table(SHARD)
    ids, parts = batch.column("id").to_pylist(), batch.column("partition").to_pylist()
    assert ids[0] == "monday/000001.jpg"
    # Runs of successive names stay together
    assert sum(one != other for one, other in pairwise(parts)) < 10
    assert set(parts) == {"train", "validation", "test"}

    # The raw data, as another batch that collect might have brought
    raw = Path("data/raw")
    raw.mkdir()
    raw_ids = [f"{number}.jpg" for number in range(58)]
    others = [negative(image) for image in batch.column("jpeg").to_pylist()]
    shard = batch.set_column(0, "id", [raw_ids])
    shard = shard.set_column(shard.schema.get_field_index("jpeg"), "jpeg", [others])
    pq.write_table(shard, raw / "part-00000.parquet")
    must("dvc", "add", "--quiet", "data/raw")
    must("git", "add", "--all")
    must("git", "commit", "--quiet", "--message=Monday")
    must("dvc", "push")

    clone = tmp_path / "clone"
    must("git", "clone", "--quiet", ".", str(clone))
    repro = ("dvc", "repro", "--pull", "--single-item", "prepare")
    code, said = call(*repro, cwd=clone)
    assert code != 0
    assert f"{SHARD}: the file of this labelled batch is not here; run dvc pull {POINTER}" in said
    assert not (clone / "data/prepared").exists()

    must("dvc", "pull", str(POINTER), cwd=clone)
    assert "prepare: " in must(*repro, cwd=clone)
    assert "Data and pipelines are up to date" in must(*repro, cwd=clone)
    held_out = pq.read_table(clone / "data/holdout.parquet").column("id").to_pylist()
    judged = [part == "test" for part in parts]
    assert held_out == [
        name for names in (raw_ids, ids) for name, held in zip(names, judged, strict=True) if held
    ]
    # DVC stages it if the user asks for that.
    assert must("git", "status", "--porcelain", cwd=clone) in (
        "?? dvc.lock\n?? metrics/\n?? plots/\n",
        "A  dvc.lock\n?? metrics/\n?? plots/\n",
    )


def test_the_same_again_is_no_news_and_anything_else_is_refused(run, jpeg):
    run()
    before = everything(), POINTER.read_bytes()
    assert not run().new
    assert (everything(), POINTER.read_bytes()) == before
    with pytest.raises(DataError, match=r"monday\.parquet\.dvc: .* same photographs with the same labels"):
        run("tuesday")
    (run.images / "000001.jpg").write_bytes(jpeg(99))
    with pytest.raises(DataError, match="appended, never rewritten; choose another --name"):
        run()
    assert (everything(), POINTER.read_bytes()) == before
    assert run("tuesday").new


def test_folders_whose_names_become_the_same_are_told_apart(run):
    spaced = run.folder.rename(run.folder.with_name("my batch"))
    first = append.append(run.params, spaced)
    assert first.pointer.name == "my-batch.parquet.dvc"
    dashed = spaced.rename(spaced.with_name("my-batch"))
    assert not append.append(run.params, dashed).new
    (dashed / "img_align_celeba/000001.jpg").unlink()
    with pytest.raises(
        DataError, match=r"my-batch\.parquet\.dvc: .* other content, .* choose another --name"
    ):
        append.append(run.params, dashed)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("größe", "gr-e"),
        ("..x", "x"),
        ("-rf", "rf"),
        ("a\nb", "a-b"),
        ("a" * 150, "a" * 100),
        ("a\udcffb", "a-b"),
    ],
)
def test_an_odd_folder_gives_a_name_that_a_batch_can_have(folder, name):
    assert append.batch_name(Path(folder)) == name


@pytest.mark.parametrize("folder", ["日本", "...", " ", "/"])
def test_a_folder_without_a_letter_of_ascii_needs_a_name(folder):
    with pytest.raises(DataError, match="give it another one with --name") as error:
        append.batch_name(Path(folder))
    assert "\n" not in str(error.value)


def test_a_batch_that_was_not_pulled_is_there_all_the_same(run):
    run()
    SHARD.unlink()
    assert not run().new
    must("dvc", "checkout", str(POINTER))
    assert SHARD.is_file()


def test_dvc_takes_a_batch_away_with_its_commit_and_brings_it_back(run):
    run()
    must("git", "add", "--all")
    must("git", "commit", "--quiet", "--message=Monday")
    must("git", "checkout", "--quiet", "HEAD~1")
    assert SHARD.is_file()
    call("dvc", "checkout")
    assert not SHARD.exists()
    must("git", "checkout", "--quiet", "main")
    must("dvc", "checkout", str(POINTER))
    assert SHARD.is_file()


@pytest.mark.parametrize("step", ["write_images", "rows_digest", "track", "_dvc"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError("the disk is full")])
def test_whatever_stops_it_before_the_batch_is_there_leaves_nothing(run, monkeypatch, step, failure):
    before = everything()

    def stop(*_):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(append, step, stop)
        with pytest.raises((KeyboardInterrupt, OSError)):
            run()
    assert everything() == before


@pytest.mark.parametrize("command", ["add", "checkout"])
def test_a_kill_leaves_the_batch_as_a_whole_or_not_at_all(run, tmp_path, command):
    before = must("git", "status", "--porcelain")
    program = f"""
import os, signal
from pathlib import Path
from face_attributes import params
from face_attributes.data import append

real = append._dvc

def killed(command, path):
    if command == {command!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(command, path)

append._dvc = killed
append.append(params.load().data, Path({str(run.folder)!r}), "monday")
"""
    code, said = call(sys.executable, "-c", program)
    assert code == -signal.SIGKILL, said
    if command == "add":
        assert must("git", "status", "--porcelain") == before
        assert {path.name for path in Path("data/labelled").iterdir()} == {".gitignore", "README.md"}
        assert run().new
    else:
        assert must("git", "status", "--porcelain") == f"?? {POINTER}\n"
        must("dvc", "checkout", str(POINTER))
        assert not run().new
    assert pq.read_metadata(SHARD).num_rows == 60
    assert must("git", "status", "--porcelain") == f"?? {POINTER}\n"
    assert not list(Path("data").glob(".*partial"))


def test_only_one_at_a_time(run):
    lock = os.open("data/labelled", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another append is at work"):
            run()
    finally:
        os.close(lock)
    assert run().new


@pytest.mark.long
def test_a_batch_is_appended_while_dvc_runs_a_stage(run):
    Path("slow").mkdir()
    Path("slow/dvc.yaml").write_text(
        "stages:\n  wait:\n    cmd: touch began && sleep 20\n    outs: [began]\n"
    )
    stage = subprocess.Popen(["dvc", "repro", "--quiet", "slow/dvc.yaml"])
    try:
        wait_for(lambda: Path("slow/began").exists(), seconds=60)
        assert run().new
        must("dvc", "status", "prepare")
        assert stage.poll() is None, "the stage ended before"
    finally:
        status = stage.wait(120)
    assert status == 0


def test_too_many_broken_images(run):
    before = everything()
    for number in range(1, 10):
        (run.images / f"{number:06d}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"of 60 images are bad so far .* data\.max_bad_fraction allows"):
        run()
    assert everything() == before


def test_a_file_in_the_batchs_place(run):
    SHARD.touch()
    with pytest.raises(DataError, match=r"monday\.parquet: is there without monday\.parquet\.dvc"):
        run()
    assert SHARD.read_bytes() == b""


def test_a_pointer_that_a_merge_has_broken(run):
    POINTER.write_text("<<<<<<< HEAD\nouts:\n=======\n")
    with pytest.raises(DataError, match=r"not a \.dvc file that can be read"):
        run()


def test_outside_of_a_repository(run, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="data/labelled: no such folder; run this in the root"):
        run(batches=tmp_path / "none/data/labelled")
    (tmp_path / "bare/data/labelled").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "bare")
    with pytest.raises(DataError, match=r"dvc add .*monday\.parquet: you are not inside of a DVC repository"):
        run()
    assert [path.name for path in Path("data").rglob("*")] == ["labelled"]


@pytest.fixture
def command(checkout, monkeypatch, capsys):
    """Run the command as a user does; return its exit code, standard output and standard error."""

    def go(*arguments):
        monkeypatch.setattr(sys, "argv", ["face_attributes", "append", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        return code, *capsys.readouterr()

    return go


def test_the_command_says_what_it_did_and_what_comes_next(command, celeba_folder, tmp_path):
    folder = celeba_folder()
    (folder / "img_align_celeba/000009.jpg").write_bytes(b"")
    (folder / "img_align_celeba/000010.jpg").unlink()
    (folder / "img_align_celeba/extra.jpg").touch()
    labels = tmp_path / "true.txt"
    (folder / "list_attr_celeba.txt").rename(labels)
    code, out, err = command(folder, "--labels", labels)
    assert code == 0, err
    assert err == "quarantine: 000009.jpg: empty file\n"
    pointer = "data/labelled/celeba.parquet.dvc"
    assert out.splitlines() == [
        f"append: 1 listed images are not in {folder}: left out",
        f"append: 1 images in {folder} have no labels: left out",
        f"append: 48 train, 5 validation, 5 test, 1 in quarantine; {pointer} is the batch",
        f"append: to train with it: dvc push {pointer}, then git add {pointer} && git commit",
    ]
    code, out, _ = command(folder, "--labels", labels)
    assert code == 0
    assert out.splitlines()[-1] == f"append: {pointer} holds this batch already; nothing to do"


def _unlisted(folder):
    (folder / "list_attr_celeba.txt").unlink()


def _without_a_column(folder):
    path = folder / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("Smiling", "Smilling"))


def _listed_twice(folder):
    path = folder / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("000002.jpg", "000001.jpg"))


def _empty(folder):
    shutil.rmtree(folder / "img_align_celeba")


def _gone(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("harm", "options", "message"),
    [
        (_unlisted, [], "holds no list_attr_celeba.txt or list_attr_celeba.csv"),
        (_without_a_column, [], "list_attr_celeba.txt: no column for Smiling; add it"),
        (_listed_twice, [], "list_attr_celeba.txt: 000001.jpg is listed twice"),
        (_empty, [], "holds none of the 60 images that"),
        (_gone, [], "celeba: no such folder"),
        (None, ["--labels", "none.csv"], "none.csv: cannot be read: "),
        (None, ["--name", "../monday"], "'../monday' cannot be the name of a batch"),
        (None, ["--name", ".hidden"], "'.hidden' cannot be the name of a batch"),
        (None, ["--name", ""], "'' cannot be the name of a batch"),
        (None, ["--name", "m" * 101], "cannot be the name of a batch"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(command, celeba_folder, harm, options, message):
    folder = celeba_folder()
    before = everything()
    if harm:
        harm(folder)
    code, out, err = command(folder, *options)
    assert (code, out) == (1, "")
    line, following = err.splitlines()
    assert line.startswith("Cannot append the photographs: ")
    assert message in line
    assert following == "Next: .venv/bin/python -m face_attributes append --help"
    assert everything() == before
