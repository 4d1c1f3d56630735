"""A copy of a checkout, with an origin, a DVC remote and an Airflow for each environment, in one folder."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gitops.git.repository import Repository
from gitops.paths import MAIN
from gitops.release import file as release_file
from gitops.release.environments import Environments
from infra.local import port, process, secret, variables
from infra.local.errors import EngineError
from infra.local.instance import Instance
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.variables import Address, Own

_AIRFLOW = (sys.executable, "-m", "airflow")


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    status: int
    seconds: float
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


class Sandbox:
    """The environments of one checkout, without any process that outlives a command."""

    def __init__(self, source: Path, folder: Path) -> None:
        """Copy the files of `source` that git knows or would add, as they are now, to the empty `folder`."""
        self.layout = Layout(folder / "checkout")
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        _copy(source, self.layout.checkout)
        self.environments = Environments.of_folder(self.layout.checkout)
        self.origin = Origin(self.layout)
        self.origin.prepare()
        self.origin.configure_dvc()
        self.land({})
        self._migrated: Path | None = None

    def data(self, environment: str) -> Path:
        """Return VISAGE_HOME of an environment."""
        return self.layout.place(environment).data

    def land(self, files: Mapping[str, bytes], *, on: str = MAIN) -> str:
        """Put a commit with `files` on main, past all checks, and let every environment run it; return it."""
        repository = self.origin.repository
        commit = repository.commit_files(repository.resolve(on), files, "Smoke test")
        declared = {
            release_file.path_of(name): release_file.render(release_file.Release(commit=commit), name)
            for name in self.environments.promotable
        }
        tip = repository.commit_files(commit, declared, "Run it everywhere")
        repository.git("update-ref", MAIN, tip)
        return commit

    def test(
        self,
        environment: str,
        dag: str,
        *,
        conf: Mapping[str, object] | None = None,
        extra: Mapping[str, str] | None = None,
        seconds: float = 900,
    ) -> Ran:
        """Run a DAG by `airflow dags test` with the settings of an environment; `extra` goes before them."""
        own = {**self._variables(environment), **(extra or {})}
        self._migrate(environment, own)
        options = ["--conf", json.dumps(conf)] if conf else []
        return self._airflow(environment, own, "dags", "test", dag, *options, seconds=seconds)

    def run(self, command: list[str], *, seconds: float = 600) -> None:
        """Run a command of the checkout's own Python.

        :raises EngineError: when it fails.
        """
        root = self.environments.root
        own = {**self._variables(root), "PYTHONPATH": str(self.layout.checkout / "src")}
        ran = self._call(root, own, [sys.executable, *command], "command", seconds)
        if ran.status != 0:
            raise EngineError(f"{' '.join(command)}: exit status {ran.status}\n{ran.output[-2000:]}")

    def close(self) -> None:
        """End whatever still runs."""
        process.end(process.belonging(self.layout.state), grace=0)

    def _variables(self, environment: str) -> dict[str, str]:
        place = self.layout.place(environment)
        own = variables.derive(
            self.layout,
            environment,
            Own({}, {}),
            Address("localhost", port.unused()),
            secret.load(place.secrets),
            f"sqlite:///{place.root / 'airflow.db'}",
        )
        # A retry would wait for what cannot get better here.
        return own | {"TASK_RETRIES": "0", process.INSTANCE: str(self.layout.state)}

    def _migrate(self, environment: str, own: Mapping[str, str]) -> None:
        place = self.layout.place(environment)
        database = place.root / "airflow.db"
        if database.exists():
            return
        Instance(self.layout, environment, Address("localhost", 0)).configure("smoke-test")
        if self._migrated is None:
            ran = self._airflow(environment, own, "db", "migrate", seconds=300)
            if ran.status != 0:
                raise EngineError(f"airflow db migrate: exit status {ran.status}\n{ran.output[-2000:]}")
            self._migrated = self.logs.parent / "empty.db"
            shutil.copy(database, self._migrated)
        else:
            shutil.copy(self._migrated, database)

    def _airflow(self, environment: str, own: Mapping[str, str], *arguments: str, seconds: float) -> Ran:
        command = [*_AIRFLOW, *arguments]
        return self._call(environment, own, command, "-".join(arguments[:3]), seconds)

    def _call(
        self, environment: str, own: Mapping[str, str], command: list[str], name: str, seconds: float
    ) -> Ran:
        number = len(list(self.logs.iterdir())) + 1
        log = self.logs / f"{number:02}-{environment}-{name}.log"
        began = time.monotonic()
        with log.open("wb") as output:
            started = subprocess.Popen(
                command,
                cwd=self.layout.state,
                env={**variables.inherit({}), **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = started.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                output.write(f"\nno end within {seconds:.0f} s\n".encode())
                status = -signal.SIGKILL
            finally:
                self.close()
        return Ran(status, time.monotonic() - began, log)


@contextmanager
def sandbox(source: Path, folder: Path) -> Iterator[Sandbox]:
    """Make a sandbox in an empty folder; nothing of it runs any more in the end."""
    made = Sandbox(source, folder)
    try:
        yield made
    finally:
        made.close()


def _copy(source: Path, target: Path) -> None:
    """Make a repository with one commit: what git knows or would add of `source`, as it is now."""
    target.mkdir(parents=True)
    listed = Repository(source).git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():  # a file that was removed is still listed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    repository = Repository(target)
    repository.git("init", "--quiet", "--initial-branch=main", "--template=", ".")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--no-verify", "-m", "As it is now", env=repository.identity())
