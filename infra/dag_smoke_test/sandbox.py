"""A copy of a checkout in a folder, with an origin, a DVC remote and an Airflow for each environment."""

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
from infra.local.variables import Address, UserConfig

_AIRFLOW = (sys.executable, "-m", "airflow")


@dataclass(frozen=True)
class CommandResult:
    """The result of a command."""

    status: int
    seconds: float
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


class Sandbox:
    """The environments of a checkout. No process outlives a command."""

    def __init__(self, source: Path, folder: Path) -> None:
        """Copy the tracked and untracked files of `source`, except ignored files, to the empty `folder`."""
        self.layout = Layout(folder / "checkout")
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        _copy(source, self.layout.checkout)
        self.environments = Environments.from_folder(self.layout.checkout)
        self.origin = Origin(self.layout)
        self.origin.prepare()
        self.origin.enrol(self.environments)
        self.origin.configure_dvc()
        self.land({})
        self._migrated: Path | None = None

    def data(self, environment: str) -> Path:
        """Return VISAGE_HOME of an environment."""
        return self.layout.paths_of(environment).data

    def land(self, files: Mapping[str, bytes]) -> str:
        """Add a commit with `files` to main without checks, and make every environment run it. Return it."""
        repository = self.origin.repository
        commit = repository.commit_files(repository.resolve(MAIN), files, "Smoke test")
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
    ) -> CommandResult:
        """Run a DAG with `airflow dags test` and the settings of an environment. `extra` overrides them."""
        env = {**self._variables(environment), **(extra or {})}
        self._migrate(environment, env)
        options = ["--conf", json.dumps(conf)] if conf else []
        return self._airflow(environment, env, "dags", "test", dag, *options, seconds=seconds)

    def run(self, command: list[str], *, seconds: float = 600) -> None:
        """Run a command with the Python of the checkout.

        Raises:
            EngineError: The command fails.

        """
        root = self.environments.root
        env = {**self._variables(root), "PYTHONPATH": str(self.layout.checkout / "src")}
        result = self._call(root, env, [sys.executable, *command], "command", seconds)
        if result.status != 0:
            raise EngineError(f"{' '.join(command)}: exit status {result.status}\n{result.output[-2000:]}")

    def close(self) -> None:
        """End all processes that are still running."""
        process.end(process.belonging(self.layout.state), grace=0)

    def _variables(self, environment: str) -> dict[str, str]:
        paths = self.layout.paths_of(environment)
        env = variables.derive(
            self.layout,
            environment,
            UserConfig({}, {}),
            Address("localhost", port.unused()),
            secret.load(paths.secrets),
            f"sqlite:///{paths.root / 'airflow.db'}",
        )
        # Retries would only take time, because nothing changes between them.
        return env | {"TASK_RETRIES": "0", process.INSTANCE: str(self.layout.state)}

    def _migrate(self, environment: str, env: Mapping[str, str]) -> None:
        paths = self.layout.paths_of(environment)
        database = paths.root / "airflow.db"
        if database.exists():
            return
        Instance(self.layout, environment, Address("localhost", 0)).configure("smoke-test")
        if self._migrated is None:
            result = self._airflow(environment, env, "db", "migrate", seconds=300)
            if result.status != 0:
                raise EngineError(f"airflow db migrate: exit status {result.status}\n{result.output[-2000:]}")
            self._migrated = self.logs.parent / "empty.db"
            shutil.copy(database, self._migrated)
        else:
            shutil.copy(self._migrated, database)

    def _airflow(
        self, environment: str, env: Mapping[str, str], *arguments: str, seconds: float
    ) -> CommandResult:
        command = [*_AIRFLOW, *arguments]
        return self._call(environment, env, command, "-".join(arguments[:3]), seconds)

    def _call(
        self, environment: str, env: Mapping[str, str], command: list[str], name: str, seconds: float
    ) -> CommandResult:
        number = len(list(self.logs.iterdir())) + 1
        log = self.logs / f"{number:02}-{environment}-{name}.log"
        began = time.monotonic()
        with log.open("wb") as output:
            started = subprocess.Popen(
                command,
                cwd=self.layout.state,
                env={**variables.inherit({}), **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = started.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                output.write(f"\ndid not end within {seconds:.0f} s\n".encode())
                status = -signal.SIGKILL
            finally:
                self.close()
        return CommandResult(status, time.monotonic() - began, log)


@contextmanager
def sandbox(source: Path, folder: Path) -> Iterator[Sandbox]:
    """Yield a sandbox in an empty folder, and end its processes afterwards."""
    environments = Sandbox(source, folder)
    try:
        yield environments
    finally:
        environments.close()


def _copy(source: Path, target: Path) -> None:
    """Make a repository with one commit of the files of `source` that git does not ignore."""
    target.mkdir(parents=True)
    listed = Repository(source).git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():  # git lists removed files too
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    repository = Repository(target)
    repository.git("init", "--quiet", "--initial-branch=main", "--template=", ".")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--no-verify", "-m", "As it is now", env=repository.identity())
