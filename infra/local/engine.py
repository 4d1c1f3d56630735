"""The engine of a checkout: its state, its database and its Airflows."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitops.airflow.ask import collect
from gitops.airflow.client import Airflow, load_access
from gitops.airflow.status import EnvironmentStatus
from gitops.errors import AirflowError
from gitops.release import settings
from gitops.release.environments import Environments
from gitops.release.load import load_state
from infra.airflow import prepare
from infra.local import (
    credentials_file,
    database,
    files,
    machine,
    port,
    process,
    secret,
    supervisor,
    variables,
    waiting,
)
from infra.local.errors import EngineError
from infra.local.instance import PROCESSES, Instance, wait
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.schedule import Schedule
from infra.local.screen import Step
from infra.local.service import Service
from infra.local.supervisor import Supervisor
from infra.local.variables import Address, UserConfig

_SECONDS = 5
"""How many seconds a stop waits for an Airflow to list its runs."""


_FIRST = 3
"""How many environments start by default."""


@dataclass(frozen=True)
class _Prepared:
    """An environment with its files and tables.

    Attributes:
        instance: Its processes.
        variables: Those of its processes.
        key: The key of their fingerprints.

    """

    instance: Instance
    variables: dict[str, str]
    key: str


class Engine:
    """The implementation of `up`, `down` and `clean`."""

    def __init__(self, layout: Layout, shell: Mapping[str, str], prefix: tuple[str, ...] = ()) -> None:
        """Run the processes of `layout` with variables of `shell`, and with `prefix` before each command."""
        self.layout = layout
        self.shell = shell
        self._prefix = prefix
        self.origin = Origin(layout)
        self.schedule = Schedule(layout)
        self._prepared: dict[str, _Prepared] = {}
        self._launched: set[str] = set()

    @cached_property
    def user_config(self) -> UserConfig:
        """The user's configuration on this machine. It is read when needed, so it never prevents a stop."""
        return UserConfig.read(self.layout.checkout, self.shell)

    @cached_property
    def database(self) -> database.Database:
        return database.of(self.layout, self.user_config.engine)

    @cached_property
    def environments(self) -> Environments:
        """The environments of the checkout."""
        return Environments.from_folder(self.layout.checkout)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The environments that make up starts, in order: the chosen and the running environments.

        Raises:
            EngineError: The user chose an unknown environment.

        """
        chosen = _chosen(self.user_config.engine.get(variables.CHOSEN, ""), self.environments)
        return tuple(name for name in self.environments if name in chosen or self._alive(name))

    def check(self, step: Step) -> None:
        """Check the machine and the checkout, without changing anything.

        Raises:
            EngineError: Something is missing. The message names it.

        """
        step.done(machine.check(self.layout.checkout))
        if count := machine.uncommitted(self.layout.checkout):
            files_are = "file is" if count == 1 else "files are"
            step.say(f"{count} {files_are} not committed, so not part of the release: a release is a commit")
        if ignored := self.user_config.ignored:
            step.say(f"not passed on from your shell: {', '.join(ignored)}; use settings.env or .env instead")

    def addresses(self) -> dict[str, Address]:
        """Choose where the web interfaces are, and remember it.

        Raises:
            EngineError: When a port is taken by another program.

        """
        declared = {name: settings.load(name, self.layout.checkout) for name in self.names}
        remembered = files.read_json(self.layout.ports) or {}
        ports = port.choose(
            {name: one.web_port for name, one in declared.items()}, self.user_config.engine, remembered
        )
        chosen = {name: Address(one.web_host, ports[name]) for name, one in declared.items()}
        for name, address in chosen.items():
            server = Instance(self.layout, name, address).services["api-server"].find()
            if server is None or not port.listens(server, address.port):
                port.require(address.port, name)
        files.write_json(self.layout.ports, ports)
        return chosen

    def prepare_origin(self, step: Step) -> None:
        """Make origin, the DVC remote, the checkout's remote `visage`, and the keys of the environments."""
        made = self.origin.prepare()
        head = self.origin.repository.resolve("main")
        self.origin.enrol(self.names)
        self.origin.register()
        self.origin.configure_dvc()
        if made:
            step.done(f"main is your commit {head[:12]}, with the keys of {_some(self.names)}")
        elif head := self.origin.unpushed():
            step.done("was there")
            step.say(f"your commit {head[:12]} is not part of its main; to propose it:")
            step.say("$ git push visage HEAD:my-change")
            step.say("$ .venv/bin/gitops train my-change --wait   # if it changes parameters, code or data")
            step.say("$ .venv/bin/gitops merge my-change")
        else:
            step.done("was there")

    def prepare(self, addresses: Mapping[str, Address], step: Step) -> None:
        """Start the database, and make the tables, the accounts and the files of all environments.

        All before the first Airflow starts: a database in use cannot be copied.

        Raises:
            EngineError: The database does not start, or a command of Airflow fails.

        """
        step.transient("database")
        if self.database.start() == "dead":
            step.say("the database had died: restarted")
        secrets = {name: secret.load(self.layout.paths_of(name).secrets) for name in self.names}
        passwords = {
            name: settings.load(name, self.layout.checkout).default_password or secrets[name].password
            for name in self.names
        }
        first = self.names[0]
        for name in self.names:
            url = self.database.url(name)
            own = variables.derive(self.layout, name, self.user_config, addresses[name], secrets[name], url)
            instance = Instance(self.layout, name, addresses[name], self._prefix)
            self._prepared[name] = _Prepared(instance, own, secrets[name].fingerprint_key)
            instance.configure(passwords[name], own.get(prepare.USERS, ""))
            step.transient(f"{name}: database tables")
            instance.migrate(own, self.database, like=None if name == first else first)
            instance.provide_pools(own)
            instance.provide_accounts(own)
        credentials_file.write(self.layout.access, addresses, passwords)
        self.schedule.provide(self.user_config.engine.get(variables.BACKUPS), self.shell)

    def launch(self, names: Iterable[str], report: Callable[[str], None]) -> None:
        """Start the processes of prepared environments without waiting for them; again, bring them further.

        Args:
            names: The environments.
            report: Prints a line.

        Raises:
            EngineError: A process does not start, or has ended.

        """
        for name in names:
            prepared = self._prepared[name]
            if name in self._launched:
                prepared.instance.advance()
                continue
            started = prepared.instance.start(prepared.variables, self.shell, key=prepared.key)
            self._launched.add(name)
            if started.changed:
                report(f"{name}: {_some(started.changed)} changed: restarted")
            if started.found_dead:
                report(f"{name}: {', '.join(started.found_dead)} had died: restarted")

    def start(self, names: Sequence[str], step: Step) -> None:
        """Start prepared environments, and wait until they answer.

        Raises:
            EngineError: An Airflow does not start.

        """
        for name in names:
            step.transient(f"{name}: processes")
            self.launch([name], step.say)
        instances = [self._prepared[name].instance for name in names]
        wait(instances, step)
        # The first answer of an Airflow takes seconds, because it loads modules for it.
        known = load_access(self.layout.access)
        for name in names:
            step.transient(f"{name}: first answer")
            with Airflow(known[name], timeout=60) as airflow:
                airflow.running()
        width = max(8, *map(len, names))
        for instance in instances:
            service = f"http://127.0.0.1:{instance.address.serving}"
            step.say(
                f"{instance.environment:{width}} {instance.address.web}  service: {service}  "
                f"logs: {instance.paths.logs}"
            )

    def _started(self) -> list[str]:
        """Return all environments that were ever started here, even if they were removed since."""
        return sorted(
            {
                path.name.removesuffix(f"-{command}.json")
                for command in PROCESSES
                for path in self.layout.records.glob(f"*-{command}.json")
            }
        )

    def _alive(self, environment: str) -> bool:
        """Whether any process of an environment's Airflow is running."""
        return bool(Instance(self.layout, environment, Address("", 0)).alive())

    def runs(self, environment: str) -> bool:
        """Whether all processes of an environment's Airflow are running."""
        instance = Instance(self.layout, environment, Address("", 0))
        return len(instance.alive()) == len(instance.services)

    def variables_of(self, environment: str) -> dict[str, str]:
        """Return the environment variables for a command of Airflow in a running environment.

        Raises:
            EngineError: There is no such environment, or it is not running.

        """
        if environment not in self.environments:
            there = ", ".join(self.environments)
            raise EngineError(f"{environment}: no such environment; there are {there}")
        ports = files.read_json(self.layout.ports)
        if ports is None:
            raise EngineError(
                f"{environment}: nothing was started in {self.layout.checkout}", command="make up"
            )
        if environment not in ports:
            start = f"{variables.CHOSEN}={','.join([*ports, environment])} make up"
            raise EngineError(f"{environment}: not started in {self.layout.checkout}", command=start)
        address = Address(settings.load(environment, self.layout.checkout).web_host, ports[environment])
        instance = Instance(self.layout, environment, address)
        instance.require()
        secrets = secret.load(instance.paths.secrets)
        url = self.database.url(environment)
        return {
            **variables.inherit(self.shell),
            **variables.derive(self.layout, environment, self.user_config, address, secrets, url),
            # Without this, each command of Airflow prints a warning about graphviz.
            "PYTHONWARNINGS": "ignore:Could not import graphviz:UserWarning",
            # The mark by which make down finds the command.
            process.INSTANCE: str(self.layout.state),
            process.SERVICE: f"{environment}/airflow",
        }

    def await_agreement(self, step: Step, seconds: float = 90) -> None:
        """Wait until each environment runs or has rejected its declared release, at most `seconds`."""
        rows: list[EnvironmentStatus] = []

        def settled() -> bool:
            repository = self.origin.repository
            status = collect(repository, load_state(repository), load_access(self.layout.access))
            rows[:] = [row for row in status if row.environment in self.names]
            return all(row.agree or row.verified is False for row in rows)

        waiting.wait_until(settled, seconds=seconds, pause=1)
        behind = [row.environment for row in rows if not row.agree]
        step.done(f"out of sync: {', '.join(behind)}" if behind else "all in sync")

    def ended(self) -> list[str]:
        """Return lines about each process that ended since make up started it."""
        return [line for service in self._services() for line in service.report()]

    def is_incomplete(self) -> bool:
        """Whether a process that make up started is down now."""
        return any(service.died() for service in self._services())

    def _services(self) -> list[Service]:
        """Return all services that were started here and not stopped since."""
        environments = [
            service
            for name in self._started()
            for service in Instance(self.layout, name, Address("", 0)).services.values()
        ]
        own = (database.Embedded(self.layout).service, self.schedule.service)
        return [service for service in (*own, *environments) if service.record.exists()]

    def at_work(self) -> list[str]:
        """Return a line for each run that a stop interrupts, and for each Airflow that does not answer.

        Errors are returned as lines, because they must not prevent a stop.
        """
        try:
            known = load_access(self.layout.access)
        except AirflowError as error:
            return [f"the runs in progress are unknown: {error}"]
        lines = []
        for name in known:
            if "api-server" not in Instance(self.layout, name, Address("", 0)).alive():
                continue
            try:
                with Airflow(known[name], timeout=_SECONDS, retry=False) as airflow:
                    lines += [f"{name}: {dag} {run}" for dag, run in airflow.at_work()]
            except AirflowError as error:
                lines.append(f"{name}: the runs in progress are unknown: {error}")
        return lines

    def stop(self, step: Step) -> list[str]:
        """Stop all processes, and return their names.

        Raises:
            EngineError: A process is still running after that.

        """
        stopped = []
        services = [
            self.schedule.service,
            *(
                service
                for name in self._started()
                for service in Instance(self.layout, name, Address("", 0)).services.values()
            ),
        ]
        step.transient("asking all processes to end")
        for service in services:
            if service.ask():
                stopped.append(service.name)
        for service in services:
            if service.stop() and service.name not in stopped:
                stopped.append(f"leftovers of {service.name}")
        # Tasks, and perhaps their children, have their own process groups.
        rest = [
            other
            for other in process.belonging(self.layout.state)
            if process.service_of(other) not in (database.SERVICE, supervisor.SERVICE)
        ]
        stopped += [f"process {other.pid}, left by {process.service_of(other)}" for other in rest]
        process.end(rest)
        if database.Embedded(self.layout).stop():
            stopped.append(database.SERVICE)
        Supervisor(self.layout.state).end()
        if left := process.belonging(self.layout.state):
            numbers = ", ".join(str(other.pid) for other in left)
            raise EngineError(f"process {numbers}: still running", command="make down")
        return stopped

    def remove(self) -> list[str]:
        """Remove the state folder and the git remote. Return the names of the removed things."""
        removed = []
        if self.origin.unregister():
            removed.append("the git remote visage")
        state = self.layout.state
        if state.is_symlink():
            raise EngineError(
                f"{state}: this is a link, so its target was not removed; remove the link by hand"
            )
        if state.is_dir():
            # rmtree removes a link but never its target.
            shutil.rmtree(state)
            removed.append(str(state))
        return removed


def of(checkout: Path) -> Engine:
    """Return the engine of a checkout, with the variables of this process's shell."""
    return Engine(Layout(checkout.resolve()), dict(os.environ))


def _chosen(value: str, environments: Environments) -> tuple[str, ...]:
    if not value:
        return environments.names[:_FIRST]
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in names:
        if name not in environments:
            there = ", ".join(environments)
            raise EngineError(f"{variables.CHOSEN}: {name}: no such environment; there are {there}")
    if not names:
        raise EngineError(f"{variables.CHOSEN}: names no environment; there are {', '.join(environments)}")
    return names


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
