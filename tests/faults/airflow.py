"""One real Airflow, of one environment, that runs the real training pipeline on a model of a few lines."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import sqlalchemy as sql
from pydantic import SecretStr
from rich.console import Console

from gitops.airflow.client import Access, Run
from gitops.git.repository import Repository
from infra.local import port, process, secret, variables
from infra.local.database import Embedded
from infra.local.instance import Instance, wait
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.screen import Screen, Step
from infra.local.task import ENDED, Runs, log_of, readable
from infra.local.training import DAG
from infra.local.variables import Address, UserConfig
from tests.faults.damage import assert_undamaged
from tests.support.figures import COMPARISON
from tests.support.waiting import wait_for, working_in

ROOT = Path(__file__).parents[2]

_STAGES = {
    "collect": "data/raw",
    "prepare": "data/holdout.parquet",
    "tune": "search/best.json",
    "train": "models/model.pt",
    "export": "models/model.onnx",
    "evaluate": "plots/worst.jpg",
    "card": "plots/card.md",
    "reference": "data/reference.parquet",
}
# Each stage reads what the one before it made
_PIPELINE = "stages:\n" + "".join(
    f"  {stage}:\n    cmd: python -m face_attributes {stage}\n    deps: [src, {', '.join(deps)}]\n"
    f"    params: [seed]\n    outs: [{out}]\n"
    for (stage, out), deps in zip(
        _STAGES.items(), [["data/labelled"], *([out] for out in _STAGES.values())], strict=False
    )
).replace(
    "outs: [plots/worst.jpg]\n",
    "outs: [plots/worst.jpg]\n    metrics:\n"
    "      - metrics/evaluation.json: {cache: false}\n      - metrics/export.json: {cache: false}\n",
)
_PACKAGE = """\
import hashlib, json, os, re, subprocess, sys, time
from pathlib import Path

OUTS, HOME, (command, *rest) = __OUTS__, Path(os.environ["VISAGE_HOME"]), sys.argv[1:]
params = Path("params.yaml").read_text()


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


if command == "compare":
    given = dict(zip(rest[::2], rest[1::2]))
    found = json.loads(r'''__COMPARISON__''')
    found["model_sha256"], found["incumbent_sha256"] = digest(given["--model"]), digest(given["--incumbent"])
    found["holdout_sha256"] = digest(given.get("--holdout", "data/holdout.parquet"))
    Path(given["--out"]).write_text(json.dumps(found))
    sys.exit()
if command == "score":
    Path(rest[rest.index("--out") + 1]).write_text("scores")
    sys.exit()
if command == "append":
    shard = Path("data/labelled") / f"{Path(rest[0]).name}.parquet"
    shard.write_text(Path(rest[0], "list_attr_celeba.txt").read_text())
    sys.exit(subprocess.run(["dvc", "add", "--quiet", str(shard)]).returncode)
stages = list(OUTS)
before = OUTS[stages[stages.index(command) - 1]] if command != "collect" else "data/labelled"
inputs = sorted(Path(before).iterdir()) if Path(before).is_dir() else [Path(before)]
made = hashlib.sha256(b"".join(path.read_bytes() for path in inputs) + params.encode()).hexdigest()
out = Path(OUTS[command])
out.parent.mkdir(exist_ok=True)
out.write_text(made)
if command == "train":
    (HOME / "training").touch()
    while (HOME / "hold").exists():
        time.sleep(0.05)
if command == "evaluate":
    accuracy = float(re.search("accuracy: (.+)", params)[1])
    common = {"model_sha256": digest("models/model.onnx"), "profile": "full", "samples": 2000}
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/evaluation.json").write_text(json.dumps(
        common | {"mean_accuracy": accuracy, "majority_accuracy": 0.8}))
    Path("metrics/export.json").write_text(json.dumps(
        common | {"max_difference": 0, "tolerance": 1, "decisions_changed": 0, "variant": "int8",
                  "accuracy_loss": 0, "max_accuracy_loss": 0.1}))
"""


def _make(path: Path) -> None:
    path.mkdir()
    for name in ("dags", "environments"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    # A test starts its runs itself
    _replace(path / "dags/ml_pipeline_dag.py", '"@daily"', "None")
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, path)
    for name in ("src/face_attributes", "data/labelled"):
        (path / name).mkdir(parents=True)
    (path / "src/face_attributes/__init__.py").touch()
    package = _PACKAGE.replace("__OUTS__", repr(_STAGES)).replace("__COMPARISON__", json.dumps(COMPARISON))
    (path / "src/face_attributes/__main__.py").write_text(package)
    (path / "data/labelled/.gitignore").write_text("*.parquet\n")
    (path / "dvc.yaml").write_text(_PIPELINE)
    (path / "params.yaml").write_text(params(0))
    (path / "params.small.yaml").write_text("profile: small\n")
    repository = Repository(path)
    repository.git("init", "--quiet", "--initial-branch=main", ".")
    subprocess.run(["dvc", "init", "--quiet"], cwd=path, check=True, timeout=60)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "-m", "Start", env=repository.identity())


def _replace(file: Path, old: str, new: str) -> None:
    assert file.read_text().count(old) == 1, f"{file}: {old}"
    file.write_text(file.read_text().replace(old, new))


def params(seed: int, accuracy: float = 0.9) -> str:
    return f"profile: full\ndata: {{source: synthetic}}\nseed: {seed}\naccuracy: {accuracy}\n"


class Environment:
    """The Airflow, and the origin, the DVC remote and the data folder that it works with."""

    def __init__(
        self, folder: Path, name: str = "dev", *, enrolled: Sequence[str] = (), **settings: str
    ) -> None:
        """Start it. Main lists new keys of the environments `enrolled`, or of this one.

        `folder` is empty, or has a repository `checkout`, and a DVC remote `store`, to begin with.
        """
        self.name = name
        checkout = folder / "checkout"
        if not checkout.exists():
            _make(checkout)
        self.layout = Layout(checkout)
        bare = Origin(self.layout)
        bare.prepare()
        bare.configure_dvc()
        if (folder / "store").is_dir():
            shutil.copytree(folder / "store", self.layout.dvc_remote, dirs_exist_ok=True)
        bare.enrol(enrolled or [name])
        self.origin = bare.repository
        if name != "dev":
            self.declare(self.origin.resolve("main"))
        self.database = Embedded(self.layout)
        self.database.start()
        self.address = address = Address("localhost", port.unused())
        self.instance = Instance(self.layout, name, address)
        secrets = secret.load(self.instance.paths.secrets)
        url = self.database.url(name)
        self.variables = (
            variables.derive(self.layout, name, UserConfig({}, {}), address, secrets, url)
            | {
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
                "ACTIVE_DAGS": "",
                "TASK_RETRY_SECONDS": "1",
            }
            | settings
        )
        self.instance.configure("password")
        self.instance.migrate(self.variables, self.database)
        self.instance.provide_pools(self.variables)
        self.start()
        self.airflow = Runs(
            Access(url=address.url, username="airflow", password=SecretStr("password")), timeout=60
        )
        self.home = self.instance.paths.data

    def start(self) -> None:
        """Start those of its processes that do not run, as `make up` does."""
        self.instance = Instance(self.layout, self.name, self.address)
        self.instance.start(self.variables, os.environ, key="key")
        wait([self.instance], Step(Screen(Console(file=io.StringIO())), "Start"), seconds=150)

    def land(self, **files: str) -> str:
        """Change files on main (`params_yaml` stands for params.yaml); dev follows."""
        content = {name.replace("_", "."): text.encode() for name, text in files.items()}
        commit = self.origin.commit_files("main", dict(content), "Change")
        return self.move_main(commit)

    def move_main(self, commit: str) -> str:
        self.origin.git("update-ref", "refs/heads/main", commit)
        if self.name == "dev":
            self.await_release(commit)
        return commit

    def declare(self, commit: str) -> None:
        """Say in the release file on main that this environment runs a commit."""
        content = f"commit: {commit}\n".encode()
        self.move_main(
            self.origin.commit_files("main", {f"environments/{self.name}/release.yaml": content}, "Promote")
        )

    def await_release(self, commit: str) -> None:
        wait_for(lambda: {dag["bundle_version"] for dag in self.airflow.dags()} == {commit}, seconds=120)

    def trigger(self) -> str:
        wait_for(lambda: any(dag["dag_id"] == DAG for dag in self.airflow.dags()), seconds=120)
        self.airflow.unpause(DAG)
        return self.airflow.trigger(DAG)

    def finish(self, run: str, seconds: float = 400) -> Run:
        """Wait for the end of a run."""
        wait_for(lambda: self.airflow.run(DAG, run).state in ENDED, seconds=seconds)
        return self.airflow.run(DAG, run)

    def succeed(self, run: str) -> Run:
        """Wait for the end of a run that is to succeed."""
        found = self.finish(run)
        assert found.state == "success", self.airflow.failure(DAG, run, self.instance.paths)
        return found

    def attempts(self, run: str) -> dict[str, int]:
        return {task.id: task.attempt for task in self.airflow.tasks(DAG, run)}

    def states(self, run: str) -> dict[str, str]:
        return {task.id: task.state for task in self.airflow.tasks(DAG, run)}

    def due(self, run: str) -> tuple[datetime, datetime]:
        """Return when a run is due, and when it was queued last, as Airflow has written it down."""
        statement = sql.text(
            "SELECT deadline_time, queued_at FROM deadline JOIN dag_run ON dagrun_id = dag_run.id "
            "WHERE run_id = :run"
        )
        with sql.create_engine(self.database.url(self.name)).connect() as connection:
            due, queued = connection.execute(statement, {"run": run}).one()
        return due, queued

    def log(self, run: str, name: str) -> str:
        """Return what the log of a task's latest attempt says."""
        [task] = [task for task in self.airflow.tasks(DAG, run) if task.id == name]
        return "\n".join(readable(log_of(self.instance.paths, DAG, run, task), 500))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the training from ending."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "hold").touch()
        try:
            yield
        finally:
            (self.home / "hold").unlink()

    def await_training(self, run: str) -> int:
        """Return the process id of a training of the run that has begun since this was last asked."""
        note = self.home / "training"

        def begun() -> bool:
            failed = self.airflow.run(DAG, run).state == "failed"
            assert not failed, self.airflow.failure(DAG, run, self.instance.paths)
            return note.exists()

        wait_for(begun, seconds=300)
        note.unlink()
        # Its own number is another one, in its namespace.
        working = working_in(self.home / "workspaces")
        return max(one.pid for one in working if one.cmdline()[1:] == ["-m", "face_attributes", "train"])

    def results(self, commit: str) -> dict[str, object]:
        return json.loads(self.origin.read(commit, "metrics/evaluation.json") or b"null")

    def assert_undamaged(self) -> None:
        assert_undamaged(self.origin, self.layout.dvc_remote, self.home / "workspaces")


@contextmanager
def environment(
    folder: Path, name: str = "dev", *, enrolled: Sequence[str] = (), **settings: str
) -> Iterator[Environment]:
    """Bring it up in a folder, and end all of it in the end."""
    made: list[Environment] = []
    try:
        made.append(Environment(folder, name, enrolled=enrolled, **settings))
        yield made[0]
    finally:
        process.end(process.belonging(folder / "checkout" / ".visage"), grace=0)
        for one in made:
            one.database.stop()
