"""An environment that a Docker engine has up, and what a user does with it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitops.airflow.client import Access
from gitops.release import file as release_file
from infra.local.task import ENDED, Runs
from infra.local.variables import USERNAME
from tests.support.command import captured
from tests.support.waiting import wait_for

PASSWORDS = "/opt/visage/private/passwords.json"


@dataclass(frozen=True)
class Stack:
    """An environment of a checkout, under a name and on a port that nobody else has."""

    checkout: Path
    variables: dict[str, str]
    environment: str
    port: int

    @property
    def project(self) -> str:
        """The name that its containers and volumes begin with."""
        return self.variables["COMPOSE_PROJECT_NAME"]

    def run(self, *command: str, seconds: float = 600, **variables: str) -> str:
        """Run a command in the checkout and return what it printed."""
        found = captured(
            command,
            cwd=self.checkout,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
        assert found.returncode == 0, f"{command}\n{found.stdout[-4000:]}\n{found.stderr[-4000:]}"
        return found.stdout

    def compose(self, *command: str, seconds: float = 600, **variables: str) -> str:
        """Run docker compose."""
        settings = ["--env-file", f"environments/{self.environment}/settings.env"]
        named = settings if self.environment != "dev" else []
        return self.run("docker", "compose", *named, *command, seconds=seconds, **variables)

    def inside(self, *command: str) -> str:
        """Run a command where the guide runs those of Airflow."""
        return self.compose("exec", "-T", "airflow-scheduler", *command)

    def airflow(self, *command: str) -> str:
        """Run a command of Airflow as the guide does."""
        return self.inside("airflow", *command)

    @cached_property
    def access(self) -> Access:
        """Where its web interface is, with the password that it was given or made up."""
        known = json.loads(self.compose("exec", "-T", "airflow-webserver", "cat", PASSWORDS))
        return Access(url=f"http://127.0.0.1:{self.port}", username=USERNAME, password=known[USERNAME])

    @contextmanager
    def rest(self) -> Iterator[Runs]:
        """Talk to its REST interface."""
        with Runs(self.access, timeout=30) as found:
            yield found

    def states(self) -> dict[str, str]:
        """Service -> its health, or its state where it has none."""
        lines = self.compose("ps", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines]
        return {one["Service"]: one["Health"] or one["State"] for one in found}

    def finish(self, dag: str, run: str, seconds: float = 1800) -> None:
        """Wait for a run that is to succeed."""
        with self.rest() as airflow:
            wait_for(lambda: airflow.run(dag, run).state in ENDED, seconds=seconds, pause=2)
            tasks = [(task.name, task.state, task.attempt) for task in airflow.tasks(dag, run)]
            assert airflow.run(dag, run).state == "success", tasks

    def declared(self) -> str:
        """The commit that main says it runs."""
        self.run("git", "fetch", "--quiet", "compose")
        if self.environment == "dev":
            return self.run("git", "rev-parse", "compose/main").strip()
        content = self.run("git", "show", f"compose/main:{release_file.path_of(self.environment)}")
        commit = release_file.parse(content.encode(), self.environment).commit
        assert commit is not None
        return commit

    def await_release(self, commit: str) -> None:
        """Wait until it runs a commit, and has said that the commit is good."""
        tag = f"refs/tags/verified/{self.environment}/{commit[:12]}"
        with self.rest() as airflow:
            wait_for(lambda: airflow.running() == commit, seconds=300, pause=1)
        wait_for(lambda: tag in self.run("git", "ls-remote", "compose", tag), seconds=900, pause=2)
