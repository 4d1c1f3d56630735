"""The processes of an environment: those of Airflow (api-server, scheduler, ...), and the online service."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import requests

from infra.airflow import clean, prepare
from infra.local import files, port, variables, waiting
from infra.local.database import Database, pools, revision
from infra.local.errors import EngineError
from infra.local.layout import EnvironmentPaths, Layout
from infra.local.screen import Step
from infra.local.service import Service
from infra.local.variables import Address

COMMANDS = {
    "api-server": ("api-server",),
    # The api-server reads the logs from the same folder; a log server would listen on all interfaces.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
SERVING = "serving"
"""The online service, which is no part of Airflow."""
CLEAN = "clean"
"""The process that deletes old records and logs once a day."""
PROCESSES = (*COMMANDS, SERVING, CLEAN)
# The name of each process in Airflow's health report
_REPORTED_AS = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
POOLS = Path(__file__).parents[1] / "pools.json"
"""The pools that the DAGs use. Airflow never starts a task of a missing pool."""
_AIRFLOW = (sys.executable, "-m", "airflow")
_CLEAN_AFTER = 1800
"""How many seconds after its start the first clean-up begins: the start keeps all cores busy."""


@dataclass(frozen=True)
class StartResult:
    """The result of starting an environment."""

    missing: tuple[str, ...]
    """The processes that had to be started."""
    found_dead: tuple[str, ...]
    """The missing processes that had ended without being stopped."""
    changed: tuple[str, ...]
    """The changed variables that made a restart of running processes necessary."""


class Instance:
    """The Airflow of one environment."""

    def __init__(
        self, layout: Layout, environment: str, address: Address, prefix: tuple[str, ...] = ()
    ) -> None:
        """Run an environment at an address, with the words of `prefix` before each command."""
        self.environment = environment
        self.address = address
        self._prefix = prefix
        self.paths: EnvironmentPaths = layout.paths_of(environment)
        self.services = {
            name: Service(
                f"{environment}/{name}",
                layout.state,
                layout.records / f"{environment}-{name}.json",
                self.paths.logs / f"{name}.log",
            )
            for name in PROCESSES
        }
        self._variables: Mapping[str, str] = {}
        self._launched: list[str] = []

    def alive(self) -> dict[str, psutil.Process]:
        """Return the running processes, by name."""
        processes = {name: service.find() for name, service in self.services.items()}
        return {name: process for name, process in processes.items() if process is not None}

    def require(self) -> None:
        """Check that all processes are running, or are about to start again.

        Raises:
            EngineError: Processes ended, and nobody starts them again. The message names them.

        """
        if dead := [name for name, service in self.services.items() if service.lost()]:
            raise EngineError(
                f"{self.environment}: {', '.join(dead)} ended; make up restarts and continues from here "
                f"(logs: {self.paths.logs})"
            )

    def provide_accounts(self, env: Mapping[str, str]) -> None:
        """Create the users of FAB's auth manager, if the settings choose it.

        Raises:
            EngineError: The command fails.

        """
        if env.get("AIRFLOW__CORE__AUTH_MANAGER"):
            self._run(env, "accounts", [sys.executable, prepare.__file__, "accounts"])

    def migrate(self, env: Mapping[str, str], database: Database, *, like: str | None = None) -> bool:
        """Migrate the environment's database to this Airflow version. Return whether a migration was needed.

        `like` is an environment with a migrated database. A missing database is created as a copy.

        Raises:
            EngineError: The command fails.

        """
        url = env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        database.provide(self.environment, like=like)
        airflow, known = version("apache-airflow"), files.read_json(self.paths.schema)
        present = revision(url)
        if (
            like is not None
            and known is None
            and present is not None
            and present == revision(database.url(like))
        ):
            # The other environment may have no tables of this auth manager.
            known = {"airflow": airflow, "revision": present, "auth_manager": ""}
            files.write_json(self.paths.schema, known)
        manager = env.get("AIRFLOW__CORE__AUTH_MANAGER", "")
        if present is not None and known == {
            "airflow": airflow,
            "revision": present,
            "auth_manager": manager,
        }:
            return False
        self._stop_services()
        self._run_airflow(env, "db", "migrate")
        state = {"airflow": airflow, "revision": revision(url), "auth_manager": manager}
        files.write_json(self.paths.schema, state)
        return True

    def provide_pools(self, env: Mapping[str, str]) -> bool:
        """Import the pools of `POOLS` if they differ from the database. Return whether they were imported.

        Raises:
            EngineError: The command fails.

        """
        declared = {name: pool["slots"] for name, pool in json.loads(POOLS.read_text()).items()}
        if declared.items() <= pools(env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).items():
            return False
        self._run_airflow(env, "pools", "import", str(POOLS))
        return True

    def configure(self, password: str, users: str = "") -> None:
        """Write the files that Airflow reads from its home folder.

        Args:
            password: The password of the user airflow.
            users: The setting with the names and roles of all users.

        Raises:
            EngineError: A user in the setting has no role.

        """
        for folder in (self.paths.data, self.paths.bundles, self.paths.logs):
            folder.mkdir(parents=True, exist_ok=True)
        for asset in sorted(variables.ASSETS.rglob("*.py")):
            target = self.paths.airflow / asset.relative_to(variables.ASSETS)
            files.write(target, asset.read_text())
        # Airflow would print the passwords that it generates itself in a log.
        known = files.read_json(self.paths.passwords) or {}
        try:
            names = prepare.declared_users(users)
        except ValueError as error:
            raise EngineError(f"{self.environment}: {error}") from error
        wanted = {**prepare.with_passwords(known, names), variables.USERNAME: password}
        # The api-server of a preview sees the file that was there at its start, and no other in its place.
        if wanted != known:
            files.write_json(self.paths.passwords, wanted)

    def start(self, env: Mapping[str, str], shell: Mapping[str, str], *, key: str) -> StartResult:
        """Start missing processes. Restart all of them if their environment changed.

        The scheduler starts later, in `advance`, once the api-server answers, because tasks report to it.
        `key` is the key of the fingerprints.

        Raises:
            EngineError: Another program uses the port, or a process cannot be started.

        """
        dead = tuple(name for name, service in self.services.items() if service.died())
        alive = self.alive()
        now = variables.fingerprints(env, key)
        before = files.read_json(self.paths.started_with) or {}
        changed = tuple(variables.changed(now, before)) if alive else ()
        if changed:
            self._stop_services()
            alive = {}
        missing = tuple(name for name in PROCESSES if name not in alive)
        # Stopped and dead processes must not count as processes that end from now on.
        self._launched = [name for name in self._launched if name in alive]
        if "api-server" in missing:
            port.require(self.address.port, self.environment)
        if SERVING in missing:
            port.require(self.address.serving, self.environment)
        files.write_json(self.paths.started_with, now)
        self._variables = {**variables.inherit(shell), **env}
        for name in missing:
            if name != "scheduler":
                self._launch(name)
        return StartResult(missing, dead, changed)

    def advance(self) -> str | None:
        """Start the scheduler if the api-server answers. Return why the Airflow is not healthy yet, or None.

        Raises:
            EngineError: A process has ended.

        """
        for name in self._launched:
            service = self.services[name]
            if service.find() is None or service.restarts():
                last = "\n".join(f"    {line}" for line in service.last_lines())
                raise EngineError(f"{service.name} ended; its log is {service.log}, its last lines:\n{last}")
        trouble = self.trouble()
        if trouble and self.services["scheduler"].find() is None and self._health() is not None:
            self._launch("scheduler")
        return trouble

    def _launch(self, name: str) -> None:
        service = self.services[name]
        cleaned = ["--daily", str(self.paths.cleaned), "--after", str(_CLEAN_AFTER)]
        programs = {
            SERVING: [sys.executable, "-m", SERVING],
            CLEAN: [sys.executable, clean.__file__, *cleaned, "database", "logs"],
        }
        program = programs.get(name) or [*_AIRFLOW, *COMMANDS[name]]
        service.start([*self._prefix, *program], self._variables, self.paths.root)
        self._launched.append(name)

    def trouble(self) -> str | None:
        """Return why this Airflow is not healthy, or None if it is."""
        health = self._health()
        if health is None:
            return "api-server is starting"
        if health.get("metadatabase", {}).get("status") != "healthy":
            return "the database does not answer"
        alive = self.alive()
        for name in PROCESSES:
            if name not in alive:
                return f"{name} is starting"
        if not port.listens(alive[SERVING], self.address.serving):
            return f"{SERVING} is starting"
        for name, reported in _REPORTED_AS.items():
            part = health.get(reported, {})
            beat = part.get(f"latest_{reported}_heartbeat")
            # A heartbeat from before the start belongs to an earlier process.
            if (
                part.get("status") != "healthy"
                or beat is None
                or datetime.fromisoformat(beat).timestamp() < alive[name].create_time()
            ):
                return f"{name} has not reported yet"
        return None

    def _health(self) -> dict[str, Any] | None:
        """Return the health report of the api-server, or None if it does not answer."""
        server = self.services["api-server"].find()
        # Without this check, another program at this port might answer that it is healthy.
        if server is None or not port.listens(server, self.address.port):
            return None
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.get(f"{self.address.url}/api/v2/monitor/health", timeout=10)
                return dict(answer.json()) if answer.ok else None
            except (requests.RequestException, ValueError):
                return None

    def _stop_services(self) -> None:
        for service in self.services.values():
            service.ask()
        for service in self.services.values():
            service.stop()

    def _run_airflow(self, env: Mapping[str, str], *arguments: str) -> None:
        self._run(
            env, f"{arguments[0]}-{arguments[1]}", [*_AIRFLOW, *arguments], " ".join(["airflow", *arguments])
        )

    def _run(self, env: Mapping[str, str], name: str, command: list[str], shown: str = "") -> None:
        shown = shown or name
        log = self.paths.logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                done = subprocess.run(
                    command,
                    env={**variables.inherit({}), **env},
                    cwd=self.paths.root,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=600,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise EngineError(f"{self.environment}: no end of {shown} within 600 s; see {log}") from error
        if done.returncode != 0:
            last = (files.tail(log, 1) or ["no output"])[0]
            raise EngineError(f"{self.environment}: {shown} failed: {last} (see {log})")


def wait(instances: Iterable[Instance], step: Step, seconds: float = 300) -> None:
    """Wait until all `instances` are healthy.

    Raises:
        EngineError: A process ends, or an instance is not healthy in time. The message has the reason.

    """
    pending = list(instances)
    troubles: dict[str, str] = {}

    def settled() -> bool:
        for instance in list(pending):
            trouble = instance.advance()
            if trouble is None:
                pending.remove(instance)
                step.transient(f"{instance.environment}: up")
            elif troubles.get(instance.environment) != trouble:
                troubles[instance.environment] = trouble
                step.transient(f"{instance.environment}: {trouble}")
        return not pending

    if not waiting.wait_until(settled, seconds=seconds):
        ill = pending[0]
        trouble = troubles[ill.environment]
        raise EngineError(f"{ill.environment}: {trouble}, after {seconds:.0f} s; see {ill.paths.logs}")
