"""What may go wrong during a step, done to real processes: it ends in one line, and a retry completes it."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import Faults
from tests.faults.server import Server, git_daemon, s3
from tests.support.waiting import alive, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


def assert_one_line(result: Mapping[str, str], *words: str) -> None:
    assert "error" in result, result
    assert len(result["error"].splitlines()) == 1
    for word in words:
        assert word in result["error"]


def test_a_training_that_is_killed_starts_again(faults: Faults) -> None:
    prepared = faults.commit_of(faults.start, "prepare")
    with faults.held():
        worker = faults.begin(prepared, "train")
        training = psutil.Process(faults.await_training())
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
        assert alive(training), "nobody ends the training of a worker that was killed"
        assert faults.origin.resolve("run/one") == prepared

        again = faults.begin(prepared, "train")
        faults.await_training()
        assert not alive(training), "the next workspace does"
    trained = faults.end(again)["commit"]
    assert faults.origin.resolve("run/one") == trained
    assert faults.origin.resolve(f"{trained}^") == prepared
    faults.assert_undamaged()


def test_two_tries_of_one_step_at_once_leave_one_result(faults: Faults) -> None:
    prepared = faults.commit_of(faults.start, "prepare")
    results = [faults.end(worker) for worker in [faults.begin(prepared, "train") for _ in range(2)]]
    commits = [result["commit"] for result in results if "commit" in result]
    assert faults.origin.resolve("run/one") in commits
    for result in results:
        if "error" in result:
            assert_one_line(result, "git push", "rejected")
    faults.assert_undamaged()


def test_two_runs_at_once_do_not_disturb_each_other(faults: Faults) -> None:
    branches = ("run/one", "run/two")
    commits = [faults.start] * 2
    for stage in ("prepare", "train"):
        workers = [
            faults.begin(commit, stage, branch=branch)
            for commit, branch in zip(commits, branches, strict=True)
        ]
        commits = [faults.end(worker)["commit"] for worker in workers]
    assert [faults.origin.resolve(branch) for branch in branches] == commits
    assert faults.origin.tree_id(commits[0], "dvc.lock") == faults.origin.tree_id(commits[1], "dvc.lock")
    faults.assert_undamaged()


@pytest.fixture
def served(faults: Faults) -> Iterator[Server]:
    """The origin behind a server."""
    server = git_daemon(faults.origin.path.parent, faults.folder / "git.log")
    server.start()
    faults.url = f"git://127.0.0.1:{server.port}/origin.git"
    yield server
    server.kill()


def test_results_wait_for_an_origin_that_is_away(faults: Faults, served: Server) -> None:
    prepared = faults.commit_of(faults.start, "prepare")
    with faults.held():
        worker = faults.begin(prepared, "train")
        faults.await_training()
        served.kill()
    assert_one_line(faults.end(worker), "git ls-remote", "127.0.0.1", "Connection refused")
    assert faults.origin.resolve("run/one") == prepared
    assert_one_line(faults.run(prepared, "train"), "git fetch", "Connection refused")

    served.start()
    assert faults.origin.resolve(faults.commit_of(prepared, "train")) == faults.origin.resolve("run/one")
    faults.assert_undamaged()


def test_an_origin_that_is_away_for_a_moment_is_not_noticed(faults: Faults, served: Server) -> None:
    served.kill()
    worker = faults.begin(faults.start, "prepare")
    # It is first asked when the workspace is made, and then again within two seconds
    wait_for(lambda: any(faults.spaces.glob("*.lock")))
    threading.Timer(0.7, served.start).start()
    assert "commit" in faults.end(worker)
    faults.assert_undamaged()


@pytest.fixture
def bucket(faults: Faults) -> Iterator[Server]:
    """An S3 server as the DVC remote."""
    # A megabyte a second, so that a push takes a while
    server = s3(faults.store.parent, faults.folder / "s3.log", "--bwlimit", "1M")
    server.start()
    faults.configure_dvc(
        "url = s3://bucket",
        f"endpointurl = http://127.0.0.1:{server.port}",
        "access_key_id = user",
        "secret_access_key = password",
        "region = us-east-1",
    )
    # rclone's server does not know the checksums that newer clients send unasked
    faults.variables["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
    yield server
    server.kill()


def test_a_push_goes_on_when_the_dvc_remote_is_back(faults: Faults, bucket: Server) -> None:
    worker = faults.begin(faults.start, "prepare")
    wait_for(lambda: len(objects(faults)) >= 2, seconds=60)
    bucket.kill()
    assert len(objects(faults)) < 9, "the server was killed in the middle of the push"
    assert not faults.origin.has("run/one")
    wait_for(lambda: "trying again" in (faults.folder / "worker.log").read_text(), seconds=120)
    bucket.start()
    prepared = faults.end(worker)["commit"]
    assert len(objects(faults)) == 9  # eight files and the list of them
    faults.assert_undamaged()

    # What was pushed can be had from there, by a machine that has nothing
    shutil.rmtree(faults.folder / "cache")
    bucket.kill()
    assert_one_line(faults.run(prepared, "train"), "dvc pull prepared", "exit status")
    bucket.start()
    faults.commit_of(prepared, "train")
    faults.assert_undamaged()


def objects(faults: Faults) -> list[Path]:
    """What the DVC remote has; the server hides what it has half of."""
    return [path for path in faults.store.rglob("*") if path.is_file() and path.name[0] != "."]


@pytest.mark.system("unshare")
@pytest.mark.parametrize("full", ["spaces", "cache"])
def test_a_full_disk_is_told_and_left_empty(faults: Faults, full: str) -> None:
    # A file system of 1 MB, where the model needs 3, that only the worker and what it starts can see
    folder = faults.folder / full
    folder.mkdir(exist_ok=True)
    look = f'"$@"; find {folder} -mindepth 1 -size +0 -type f | xargs -r md5sum > {faults.folder}/left'
    small = f"mount -t tmpfs -o size=1m tmpfs {folder}; {look}"
    result = faults.run(faults.start, "prepare", inside=small)
    assert_one_line(result, "No space left on device")
    left = [line.split() for line in (faults.folder / "left").read_text().splitlines()]
    if full == "spaces":
        assert left == []
    for digest, path in left:  # in the cache, nothing passes for what it is not
        if "/files/md5/" in path and not path.endswith(".tmp"):
            assert "".join(Path(path).parts[-2:]) == digest
    assert not faults.origin.has("run/one")
    assert objects(faults) == []

    faults.commit_of(faults.start, "prepare")
    faults.assert_undamaged()


def test_a_workspace_is_gone_even_if_a_stage_leaves_a_writer(faults: Faults) -> None:
    script = (
        b"import os, subprocess, sys\n"
        b"writer = 'import itertools\\nfor n in itertools.count(): open(str(n), chr(119)).close()'\n"
        b"subprocess.Popen([sys.executable, '-c', writer], start_new_session=True,"
        b" stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        b"os.makedirs('prepared'); open('prepared/0', 'w').close()\n"
    )
    commit = faults.origin.commit_files(faults.start, {"src/tiny.py": script}, "A stage with a daemon")
    faults.origin.git("update-ref", "refs/heads/daemon", commit)
    faults.run(commit, "prepare")
    time.sleep(1)
    assert [path for path in faults.spaces.iterdir() if path.name != ".sweep"] == []
