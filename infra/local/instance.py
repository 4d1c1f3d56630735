"""One environment's Airflow: api-server, scheduler, dag-processor and triggerer, a process each."""

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

from infra.local import database, files, port, variables, waiting
from infra.local.errors import EngineError
from infra.local.layout import Layout, Place
from infra.local.process import Service
from infra.local.screen import Step
from infra.local.variables import Address

COMMANDS = {
    "api-server": ("api-server",),
    # The api-server reads the tasks' logs in the same folder; a server for them would listen everywhere.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# What the health of each process is called in Airflow's own report.
_REPORTED_AS = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
POOLS = Path(__file__).parents[1] / "pools.json"
"""The pools that the DAGs name; an Airflow never starts a task whose pool it does not have."""
_AIRFLOW = (sys.executable, "-m", "airflow")
_KEPT_LOG_BYTES = 20 * 1024**2


@dataclass(frozen=True)
class Started:
    """What starting an environment came to."""

    anew: tuple[str, ...]
    """The processes that had to be started."""
    found_dead: tuple[str, ...]
    """Those of them that had ended without having been stopped."""
    changed: tuple[str, ...]
    """The variables that made a restart of running processes necessary."""


class Instance:
    """The Airflow of one environment."""

    def __init__(self, layout: Layout, environment: str, address: Address) -> None:
        self.environment = environment
        self.address = address
        self.place: Place = layout.place(environment)
        self.services = {
            name: Service(
                f"{environment}/{name}",
                layout.state,
                layout.records / f"{environment}-{name}.json",
                self.place.logs / f"{name}.log",
            )
            for name in COMMANDS
        }
        self._variables: Mapping[str, str] = {}
        self._launched: list[str] = []

    def alive(self) -> dict[str, psutil.Process]:
        """Return the processes that run, by name."""
        found = {name: service.find() for name, service in self.services.items()}
        return {name: process for name, process in found.items() if process is not None}

    def require(self) -> None:
        """Return if all its processes run.

        :raises EngineError: naming those that do not.
        """
        alive = self.alive()
        if dead := [name for name in COMMANDS if name not in alive]:
            raise EngineError(
                f"{self.environment}: {', '.join(dead)} ended; make up starts it again and goes on from here "
                f"(logs: {self.place.logs})"
            )

    def migrate(self, own: Mapping[str, str], *, like: str | None = None) -> bool:
        """Bring the database to this Airflow's tables; return whether that took a migration.

        `like` is the URL of a database that has them: a missing one starts as its copy.

        :raises EngineError: when it fails.
        """
        url = own["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        database.create(url, like=like)
        airflow, known = version("apache-airflow"), files.read_json(self.place.schema)
        revision = database.revision(url)
        if (
            like is not None
            and known is None
            and revision is not None
            and revision == database.revision(like)
        ):
            known = {"airflow": airflow, "revision": revision}
            files.write_json(self.place.schema, known)
        if revision is not None and known == {"airflow": airflow, "revision": revision}:
            return False
        self._stop_services()
        self._run_airflow(own, "db", "migrate")
        files.write_json(self.place.schema, {"airflow": airflow, "revision": database.revision(url)})
        return True

    def provide_pools(self, own: Mapping[str, str]) -> bool:
        """Make the pools of `POOLS` where one is missing or has other slots; return whether one was.

        :raises EngineError: when it fails.
        """
        declared = {name: pool["slots"] for name, pool in json.loads(POOLS.read_text()).items()}
        if declared.items() <= database.pools(own["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).items():
            return False
        self._run_airflow(own, "pools", "import", str(POOLS))
        return True

    def configure(self, password: str) -> None:
        """Write what Airflow reads from its home folder."""
        for folder in (self.place.data, self.place.bundles, self.place.logs):
            folder.mkdir(parents=True, exist_ok=True)
        for asset in sorted(variables.ASSETS.rglob("*.py")):
            target = self.place.airflow / asset.relative_to(variables.ASSETS)
            files.write(target, asset.read_text())
        # Airflow makes up the passwords of other users, and adds them to the same file.
        known = files.read_json(self.place.passwords) or {}
        text = json.dumps({**known, variables.USERNAME: password})
        files.write(self.place.passwords, text + "\n")

    def start(self, own: Mapping[str, str], shell: Mapping[str, str], *, key: str) -> Started:
        """Start what does not run; start all anew when what they were started with has changed.

        The scheduler follows in `advance`, once the api-server answers: a task reports to it, and would fail.
        `key` is the key of the fingerprints.

        :raises EngineError: when the port is another program's, or a process cannot be started.
        """
        dead = tuple(name for name, service in self.services.items() if service.died())
        alive = self.alive()
        now = variables.fingerprints(own, key)
        before = files.read_json(self.place.started_with) or {}
        changed = tuple(variables.changed(now, before)) if alive else ()
        if changed:
            self._stop_services()
            alive = {}
        missing = tuple(name for name in COMMANDS if name not in alive)
        # What was stopped or found dead is not one that ends from now on.
        self._launched = [name for name in self._launched if name in alive]
        if "api-server" in missing:
            port.require(self.address.port, self.environment)
        files.write_json(self.place.started_with, now)
        self._variables = {**variables.inherit(shell), **own}
        for name in missing:
            if name != "scheduler":
                self._launch(name)
        return Started(missing, dead, changed)

    def advance(self) -> str | None:
        """Start the scheduler when its time has come; return why all is not well yet, or None when it is.

        :raises EngineError: when a process has ended.
        """
        for name in self._launched:
            service = self.services[name]
            if service.find() is None:
                last = "\n".join(f"    {line}" for line in service.last_lines())
                raise EngineError(f"{service.name} ended; its log is {service.log}, its last lines:\n{last}")
        trouble = self.trouble()
        if trouble and self.services["scheduler"].find() is None and self._health() is not None:
            self._launch("scheduler")
        return trouble

    def _launch(self, name: str) -> None:
        service = self.services[name]
        if service.log.exists() and service.log.stat().st_size > _KEPT_LOG_BYTES:
            service.log.replace(service.log.with_suffix(".log.1"))
        service.start([*_AIRFLOW, *COMMANDS[name]], self._variables, self.place.root)
        self._launched.append(name)

    def trouble(self) -> str | None:
        """Return why this Airflow is not well, or None when it is."""
        health = self._health()
        if health is None:
            return "api-server starts"
        if health.get("metadatabase", {}).get("status") != "healthy":
            return "the database does not answer"
        alive = self.alive()
        for name in COMMANDS:
            if name not in alive:
                return f"{name} starts"
        for name, reported in _REPORTED_AS.items():
            part = health.get(reported, {})
            beat = part.get(f"latest_{reported}_heartbeat")
            # A heartbeat from before the start is that of an earlier process.
            if (
                part.get("status") != "healthy"
                or beat is None
                or datetime.fromisoformat(beat).timestamp() < alive[name].create_time()
            ):
                return f"{name} has not reported yet"
        return None

    def _health(self) -> dict[str, Any] | None:
        """Ask the api-server how all are; None where it does not answer."""
        server = self.services["api-server"].find()
        # Another program at this port would be asked otherwise, and may well answer that it is healthy.
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

    def _run_airflow(self, own: Mapping[str, str], *arguments: str) -> None:
        shown = " ".join(["airflow", *arguments])
        log = self.place.logs / f"{arguments[0]}-{arguments[1]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                done = subprocess.run(
                    [*_AIRFLOW, *arguments],
                    env={**variables.inherit({}), **own},
                    cwd=self.place.root,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=600,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise EngineError(f"{self.environment}: no end of {shown} within 600 s; see {log}") from error
        if done.returncode != 0:
            last = (files.tail(log, 1) or ["it said nothing"])[0]
            raise EngineError(f"{self.environment}: {shown} failed: {last} (see {log})")


def wait(instances: Iterable[Instance], step: Step, seconds: float = 300) -> None:
    """Return when all `instances` are well.

    :raises EngineError: when a process ends, or one is not well in time, with the reason.
    """
    pending = list(instances)
    troubles: dict[str, str] = {}

    def settled() -> bool:
        for instance in list(pending):
            trouble = instance.advance()
            if trouble is None:
                pending.remove(instance)
                step.passing(f"{instance.environment}: up")
            elif troubles.get(instance.environment) != trouble:
                troubles[instance.environment] = trouble
                step.passing(f"{instance.environment}: {trouble}")
        return not pending

    if not waiting.wait_until(settled, seconds=seconds):
        ill = pending[0]
        trouble = troubles[ill.environment]
        raise EngineError(f"{ill.environment}: {trouble}, after {seconds:.0f} s; see {ill.place.logs}")
