"""The engine of one checkout: its state, its database and its Airflows."""

import os
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from gitops.airflow.client import Airflow, load_access
from gitops.airflow.status import Row, collect
from gitops.errors import AirflowError
from gitops.release import settings
from gitops.release.environments import Environments
from gitops.release.state import Ledger
from infra.local import credentials_file, database, files, machine, port, process, secret, variables, waiting
from infra.local.errors import EngineError
from infra.local.instance import COMMANDS, Instance, wait
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.local.screen import Step
from infra.local.variables import Address, Own

_SECONDS = 5
"""How long a stop waits for an Airflow to say what it is at."""


_FIRST = 3
"""How many environments start where nobody chose them."""


class Engine:
    """What `up`, `down` and `clean` act on."""

    def __init__(self, layout: Layout, shell: Mapping[str, str]) -> None:
        self.layout = layout
        self.shell = shell
        self.origin = Origin(layout)

    @cached_property
    def own(self) -> Own:
        """What the user said on this machine. Read when it is needed: stopping never fails for it."""
        return Own.read(self.layout.checkout, self.shell)

    @cached_property
    def database(self) -> database.Database:
        return database.of(self.layout, self.own.engine)

    @cached_property
    def environments(self) -> Environments:
        """The environments of the checkout."""
        return Environments.of_folder(self.layout.checkout)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The environments that make up starts, in order: the chosen ones, and those that run already.

        :raises EngineError: when the user chose one that there is not.
        """
        chosen = _chosen(self.own.engine.get(variables.CHOSEN, ""), self.environments)
        return tuple(name for name in self.environments if name in chosen or self._alive(name))

    def check(self, step: Step) -> None:
        """Look at the machine and the checkout, and change nothing.

        :raises EngineError: naming the first thing that is missing.
        """
        step.done(machine.check(self.layout.checkout))
        if count := machine.uncommitted(self.layout.checkout):
            files_are = "file is" if count == 1 else "files are"
            step.say(f"{count} {files_are} not committed, and no part of what runs: a release is a commit")
        if ignored := self.own.ignored:
            step.say(
                f"not passed on from your shell: {', '.join(ignored)}; settings.env or .env says such things"
            )

    def addresses(self) -> dict[str, Address]:
        """Choose where the web interfaces are, and remember it.

        :raises EngineError: when a port is taken by another program.
        """
        declared = {name: settings.load(name, self.layout.checkout) for name in self.names}
        remembered = files.read_json(self.layout.ports) or {}
        ports = port.choose(
            {name: one.web_port for name, one in declared.items()}, self.own.engine, remembered
        )
        found = {name: Address(one.web_host, ports[name]) for name, one in declared.items()}
        for name, address in found.items():
            server = Instance(self.layout, name, address).services["api-server"].find()
            if server is None or not port.listens(server, address.port):
                port.require(address.port, name)
        files.write_json(self.layout.ports, ports)
        return found

    def prepare_origin(self, step: Step) -> None:
        """Make origin, the DVC remote, and the checkout's remote `visage`."""
        made = self.origin.prepare()
        self.origin.register()
        self.origin.configure_dvc()
        if made:
            step.done(f"main is your commit {self.origin.repository.resolve('main')[:12]}")
        elif head := self.origin.unpushed():
            step.done("was there")
            step.say(f"your commit {head[:12]} is not part of its main; to propose it:")
            step.say("$ git push visage HEAD:my-change")
            step.say("$ .venv/bin/gitops train my-change --wait   # if it changes parameters, code or data")
            step.say("$ .venv/bin/gitops merge my-change")
        else:
            step.done("was there")

    def start(self, addresses: Mapping[str, Address], step: Step) -> None:
        """Bring the database and the Airflows up.

        :raises EngineError: when one does not come up.
        """
        step.passing("database")
        if self.database.start() == "dead":
            step.say("found the database dead: started again")
        secrets = {name: secret.load(self.layout.place(name).secrets) for name in self.names}
        passwords = {
            name: settings.load(name, self.layout.checkout).default_password or secrets[name].password
            for name in self.names
        }
        urls = {name: self.database.url(name) for name in self.names}
        first = self.names[0]
        like = urls[first] if isinstance(self.database, database.Embedded) else None
        instances = [Instance(self.layout, name, addresses[name]) for name in self.names]
        own = {
            name: variables.derive(self.layout, name, self.own, addresses[name], secrets[name], urls[name])
            for name in self.names
        }
        # All tables before the first Airflow: a database in use cannot be copied.
        for instance in instances:
            name = instance.environment
            instance.configure(passwords[name])
            step.passing(f"{name}: database tables")
            instance.migrate(own[name], like=None if name == first else like)
            instance.provide_pools(own[name])
        for instance in instances:
            name = instance.environment
            step.passing(f"{name}: processes")
            started = instance.start(own[name], self.shell, key=secrets[name].fingerprint_key)
            if started.changed:
                step.say(f"{name}: {_some(started.changed)} changed: started it again")
            if started.found_dead:
                step.say(f"{name}: found {', '.join(started.found_dead)} dead: started again")
        credentials_file.write(self.layout.access, addresses, passwords)
        wait(instances, step)
        # The first answer of an Airflow takes seconds, as it loads what it needs then.
        for name, known in load_access(self.layout.access).items():
            step.passing(f"{name}: first answer")
            with Airflow(known, timeout=60) as airflow:
                airflow.running()
        width = max(8, *map(len, self.names))
        for instance in instances:
            step.say(f"{instance.environment:{width}} {instance.address.web}  logs: {instance.place.logs}")

    def _started(self) -> list[str]:
        """Return the environments that were ever started here, whatever the checkout declares now."""
        return sorted(
            {
                path.name.removesuffix(f"-{command}.json")
                for command in COMMANDS
                for path in self.layout.records.glob(f"*-{command}.json")
            }
        )

    def _alive(self, environment: str) -> bool:
        """Whether any process of an environment's Airflow runs."""
        return bool(Instance(self.layout, environment, Address("", 0)).alive())

    def runs(self, environment: str) -> bool:
        """Whether all processes of an environment's Airflow run."""
        instance = Instance(self.layout, environment, Address("", 0))
        return len(instance.alive()) == len(instance.services)

    def variables_of(self, environment: str) -> dict[str, str]:
        """Return the variables with which a command of Airflow reaches a running environment.

        :raises EngineError: when there is no such environment, or it does not run.
        """
        if environment not in self.environments:
            there = ", ".join(self.environments)
            raise EngineError(f"{environment}: no such environment; there are {there}")
        ports = files.read_json(self.layout.ports)
        if ports is None:
            raise EngineError(f"{environment}: nothing was started in {self.layout.checkout}; run make up")
        if environment not in ports:
            start = f"{variables.CHOSEN}={','.join([*ports, environment])} make up"
            raise EngineError(f"{environment}: not started in {self.layout.checkout}; run {start}")
        address = Address(settings.load(environment, self.layout.checkout).web_host, ports[environment])
        instance = Instance(self.layout, environment, address)
        instance.require()
        secrets = secret.load(instance.place.secrets)
        url = self.database.url(environment)
        return {
            **variables.inherit(self.shell),
            **variables.derive(self.layout, environment, self.own, address, secrets, url),
            # Airflow's command line would say with each command that it cannot draw.
            "PYTHONWARNINGS": "ignore:Could not import graphviz:UserWarning",
            # make down ends what is still at work then.
            process.INSTANCE: str(self.layout.state),
            process.SERVICE: f"{environment}/airflow",
        }

    def await_agreement(self, step: Step, seconds: float = 90) -> None:
        """Return when each environment runs, or has rejected, what `main` declares, or time is up."""
        rows: list[Row] = []

        def settled() -> bool:
            found = collect(Ledger(self.origin.repository), load_access(self.layout.access))
            rows[:] = [row for row in found if row.environment in self.names]
            return all(row.agree or row.verified is False for row in rows)

        waiting.wait_until(settled, seconds=seconds, pause=1)
        behind = [row.environment for row in rows if not row.agree]
        step.done(f"not so: {', '.join(behind)}" if behind else "all of them do")

    def at_work(self) -> list[str]:
        """Return a line for each run that a stop cuts off, and for each Airflow that does not tell.

        Whoever wants to stop everything must be able to, so nothing that is wrong here raises.
        """
        try:
            known = load_access(self.layout.access)
        except AirflowError as error:
            return [f"which runs are at work is not known: {error}"]
        lines = []
        for name in known:
            if "api-server" not in Instance(self.layout, name, Address("", 0)).alive():
                continue
            try:
                with Airflow(known[name], timeout=_SECONDS, patient=False) as airflow:
                    lines += [f"{name}: {dag} {run}" for dag, run in airflow.at_work()]
            except AirflowError as error:
                lines.append(f"{name}: which runs are at work is not known: {error}")
        return lines

    def stop(self, step: Step) -> list[str]:
        """Stop everything, and return what was stopped.

        :raises EngineError: when something is still alive after that.
        """
        stopped = []
        services = [
            service
            for name in self._started()
            for service in Instance(self.layout, name, Address("", 0)).services.values()
        ]
        step.passing("asking everything to end")
        for service in services:
            if service.ask():
                stopped.append(service.name)
        for service in services:
            if service.stop() and service.name not in stopped:
                stopped.append(f"what {service.name} left")
        # Tasks run in groups of their own, and so may what they started.
        rest = [
            other
            for other in process.belonging(self.layout.state)
            if process.service_of(other) != database.SERVICE
        ]
        stopped += [f"process {other.pid}, left by {process.service_of(other)}" for other in rest]
        process.end(rest)
        if database.Embedded(self.layout).stop():
            stopped.append(database.SERVICE)
        if left := process.belonging(self.layout.state):
            numbers = ", ".join(str(other.pid) for other in left)
            raise EngineError(f"process {numbers}: still alive; run make down again")
        return stopped

    def remove(self) -> list[str]:
        """Remove the state and what the checkout's git knows of it; return what was removed."""
        removed = []
        if self.origin.unregister():
            removed.append("the git remote visage")
        state = self.layout.state
        if state.is_symlink():
            raise EngineError(f"{state}: a link, so what it points to stays; remove it by hand")
        if state.is_dir():
            # rmtree removes a link itself and never what it points to.
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
