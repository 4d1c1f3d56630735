"""A tiny pipeline on a real origin and a real DVC remote, whose training waits as long as a test wants."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gitops.git.repository import Repository
from tests.faults.damage import assert_undamaged
from tests.support.waiting import wait_for, working_in

PIPELINE = """\
stages:
  prepare:
    cmd: python -m tiny prepare
    deps: [src/tiny.py]
    outs: [prepared]
  train:
    cmd: python -m tiny train
    deps: [prepared, src/tiny.py]
    outs: [model]
"""
# Eight files of 400 kB each: something to push for a while
TINY = """\
import os, random, sys, time
from pathlib import Path

HOME, stage = Path(os.environ["VISAGE_HOME"]), sys.argv[1]
out = Path({"prepare": "prepared", "train": "model"}[stage])
out.mkdir()
for number in range(8):
    (out / str(number)).write_bytes(random.Random(stage + str(number)).randbytes(400_000))
if stage == "train":
    (HOME / "training").touch()
    while (HOME / "hold").exists():
        time.sleep(0.05)
"""
WORKER = """\
import json, logging, sys
from pathlib import Path
from gitops.errors import GitopsError
from gitops.step import run_stage
from gitops.workspace import Origin

logging.basicConfig(level="INFO", stream=sys.stderr)
url, commit, stage, branch, spaces = sys.argv[1:]
try:
    print(json.dumps({"commit": run_stage(Origin(url), commit, stage, branch=branch, home=Path(spaces))}))
except (GitopsError, OSError) as error:
    print(json.dumps({"error": str(error)}))
"""


class Faults:
    """The tiny pipeline, and workers that run its steps, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spaces, self.store = folder, folder / "spaces", folder / "store" / "bucket"
        self.store.mkdir(parents=True)
        (folder / "checkout" / "src").mkdir(parents=True)
        (folder / "checkout" / "dvc.yaml").write_text(PIPELINE)
        (folder / "checkout" / "src" / "tiny.py").write_text(TINY)
        checkout = Repository(folder / "checkout")
        checkout.git("init", "--quiet", "--initial-branch=main")
        subprocess.run(["dvc", "init", "--quiet"], cwd=checkout.path, check=True, timeout=60)
        checkout.git("add", "--all")
        checkout.git("commit", "--quiet", "--message=Start", env=checkout.identity())
        self.origin = Repository.clone(str(checkout.path), folder / "origins" / "origin.git", "--bare")
        self.origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self.url = str(self.origin.path)
        self.variables = {**os.environ, "VISAGE_HOME": str(folder)}
        self.configure_dvc(f"url = {self.store}")

    @property
    def start(self) -> str:
        return self.origin.resolve("main")

    def configure_dvc(self, *remote: str, cache: Path | None = None) -> None:
        config = Path(os.environ["DVC_GLOBAL_CONFIG_DIR"]) / "config"
        config.parent.mkdir(exist_ok=True)
        lines = ["[core]", "remote = storage", "analytics = false", "['remote \"storage\"']", *remote]
        where = cache or self.folder / "cache"
        lines += ["[cache]", f"dir = {where}", 'type = "hardlink,symlink"']
        config.write_text("\n".join(lines) + "\n")

    def begin(
        self, commit: str, stage: str, *, branch: str = "run/one", inside: str = ""
    ) -> subprocess.Popen[str]:
        """Start a worker; `inside` is a shell script that ends with "$@" and runs it in a namespace."""
        command = [sys.executable, "-c", WORKER, self.url, commit, stage, branch, str(self.spaces)]
        if inside:
            command = ["unshare", "--map-root-user", "--mount", "sh", "-ec", inside, "sh", *command]
        log = (self.folder / "worker.log").open("a")
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.variables)

    def end(self, worker: subprocess.Popen[str], seconds: float = 170) -> Mapping[str, str]:
        """Wait for a worker, and return the commit or the error that it came to."""
        said, _ = worker.communicate(timeout=seconds)
        lines = said.splitlines()
        assert lines, f"the worker said nothing; its log:\n{(self.folder / 'worker.log').read_text()[-3000:]}"
        return json.loads(lines[-1])

    def run(self, commit: str, stage: str, **options: str) -> Mapping[str, str]:
        return self.end(self.begin(commit, stage, **options))

    def commit_of(self, commit: str, stage: str, **options: str) -> str:
        """Run a step that is to succeed, and return its commit."""
        result = self.run(commit, stage, **options)
        assert "commit" in result, result
        return result["commit"]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the training from ending."""
        hold = self.folder / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def await_training(self) -> int:
        """Return the process id of a training that has begun since this was last asked."""
        note = self.folder / "training"
        wait_for(note.exists, seconds=60)
        note.unlink()
        # Its own number is another one, in its namespace.
        return max(process.pid for process in working_in(self.spaces) if _trains(process))

    def assert_undamaged(self) -> None:
        assert_undamaged(self.origin, self.store, self.spaces)


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    faults = Faults(tmp_path)
    yield faults
    for process in working_in(faults.spaces):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _trains(process: psutil.Process) -> bool:
    command = process.cmdline()
    return command[1:] == ["-m", "tiny", "train"]
