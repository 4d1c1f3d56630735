"""The command as an engine starts it: a release in git, its model on a DVC remote, and requests by HTTP."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
import requests

from gitops.git.repository import Repository
from gitops.paths import MODEL
from gitops.release import serving as serving_file
from infra.local import port
from tests.serving.conftest import ONE, ROOT, plain, png
from tests.support.figures import model_files
from tests.support.waiting import wait_for


@pytest.fixture
def environment(tmp_path, isolated_home, models):
    """The variables of an environment whose release has code and a model."""
    config = isolated_home / "dvc/config"
    config.parent.mkdir()
    config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path / 'remote'}\n")
    checkout = tmp_path / "checkout"
    for name in ("face_attributes", "drawn_faces"):
        shutil.copytree(
            ROOT / "src" / name, checkout / "src" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    repository = Repository(checkout)
    repository.git("init", "-q", "-b", "main")

    def dvc(*arguments):
        subprocess.run(["dvc", *arguments], cwd=checkout, check=True, capture_output=True, timeout=120)

    dvc("init", "-q")
    stage = {"cmd": f"mkdir -p models && cp {models[ONE]} {MODEL}", "outs": [MODEL]}
    (checkout / "dvc.yaml").write_text(json.dumps({"stages": {"export": stage}}))
    dvc("repro", "-q")
    dvc("push", "-q")
    figures = json.loads(model_files("a")["metrics/evaluation.json"])
    figures["model_sha256"] = hashlib.sha256(models[ONE].read_bytes()).hexdigest()
    (checkout / "metrics").mkdir()
    (checkout / "metrics/evaluation.json").write_text(json.dumps(figures))
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "Model", env=repository.identity())
    origin = Repository.clone(str(checkout), tmp_path / "origin.git", "--bare")
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    release = origin.resolve("main")
    (tmp_path / "bundles/release").mkdir(parents=True)
    serving_file.write(
        tmp_path / "bundles/release",
        serving_file.Serving(environment="dev", commit=release, declared=release),
    )
    return os.environ | {
        "VISAGE_ENVIRONMENT": "dev",
        "VISAGE_HOME": str(tmp_path / "home"),
        "SERVING_PORT": str(port.unused()),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "bundles"),
        # It needs no database
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/none",
        "AIRFLOW_CONN_GIT_DEFAULT": json.dumps({"conn_type": "git", "host": str(origin.path)}),
    }


@pytest.fixture
def process(environment, tmp_path):
    """The running command; its output goes to a file."""
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen([sys.executable, "-m", "serving"], env=environment, stderr=log)
    yield started
    started.kill()
    started.wait()


def test_it_answers_with_the_release_of_its_environment(environment, process, tmp_path):
    url = f"http://127.0.0.1:{environment['SERVING_PORT']}"

    def ready():
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return requests.get(f"{url}/readyz", timeout=10).ok
        except requests.ConnectionError:
            return False

    wait_for(ready, seconds=240)
    done = requests.post(f"{url}/predict", files={"files": png(plain(255))}, timeout=60).json()
    (photograph,) = done["photographs"]
    release = serving_file.read(tmp_path / "bundles/release").commit
    assert (photograph["release"], photograph["error"]) == (release, None)
    assert photograph["faces"][0]["attributes"]["Red"]["present"] is True
    workers = psutil.Process(process.pid).children(recursive=True)
    assert any("online" in worker.cmdline() for worker in workers)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert not any(worker.is_running() for worker in workers)
    assert not any((tmp_path / "home/serving").glob(f"{release[:12]}*")), "its checkout is gone"


@pytest.mark.parametrize(
    ("changes", "arguments", "reason"),
    [
        ({}, ["--host", "0.0.0.0"], "VISAGE_SERVING_TOKENS must name a file of tokens"),
        ({"VISAGE_SERVING_TOKENS": "/none"}, [], "/none: cannot be read"),
        ({"SERVING_QUEUE": "0"}, [], "SERVING_QUEUE"),
        ({"VISAGE_HOME": None}, [], "VISAGE_HOME: not set"),
        ({"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": None}, [], "STORAGE_PATH: not set"),
    ],
)
def test_it_does_not_start_without_what_it_needs(tmp_path, changes, arguments, reason):
    variables = {
        "VISAGE_ENVIRONMENT": "dev",
        "VISAGE_HOME": str(tmp_path),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path),
    }
    known = {key: value for key, value in (os.environ | variables | changes).items() if value is not None}
    command = [sys.executable, "-m", "serving", *arguments]
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    line, following = done.stderr.splitlines()
    assert line.startswith("Cannot start the service: ")
    assert following == "Next: .venv/bin/python -m serving --help"
    assert reason in line
