"""A preview with Docker Compose: a project of its own, with files in `.compose/previews/<name>`.

It gets a repository, a database, keys and passwords of its own. The store of models and data is that of the
other environments, read-only. Of `.env` it gets the lines that hold no secret; with a bucket of your own, the
keys that may only read it.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values

from gitops.git.repository import Repository
from gitops.release import settings
from infra.local import files, port
from infra.local.errors import EngineError
from infra.local.lock import exclusive
from infra.local.screen import Screen, Step
from infra.preview import record, release
from infra.preview.host import Running, Tool
from infra.preview.record import Preview, name_of
from infra.preview.release import Place

COMPOSE = "compose"
"""The git remote of this engine."""
_PLAIN = ("AIRFLOW_UID", "CELEBA_DIR", "POSTGRES_IMAGE", "VISAGE_IMAGE")
_BUCKET = ("DVC_REMOTE_URL", "AWS_ENDPOINT_URL_S3")
_READER = "PREVIEW_"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_GIT = '{"conn_type": "git", "host": "git://git/origin.git"}'
_ENGINE = ("infra/compose", "infra/git")
_TOOL = Tool("docker compose", "see https://docs.docker.com/engine/install/", "docker info")


class ComposeHost:
    """The previews of a checkout on a server with Docker.

    Args:
        checkout: The checkout.

    """

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._previews = checkout / ".compose" / "previews"

    def up(self, branch: str, commit: str, hours: float, step: Step) -> Running:
        """Start the preview of a branch at a commit, or bring it to that commit."""
        with exclusive(self._previews / "lock", "gitops preview up"):
            self._sweep(datetime.now(UTC), step)
            folder = self._previews / name_of(branch)
            known = record.read(folder)
            number = known.port if known else port.unused(100)
            now = datetime.now(UTC)
            preview = Preview(branch=branch, commit=commit, port=number, since=now, hours=hours)
            values = self.variables(preview, folder)
            record.write(folder, preview)
            repository = Repository(self._checkout)
            origin = folder / ".compose" / "origin.git"
            if not origin.is_dir():
                Repository(folder).git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
            release.declare(repository, preview, None, Place(str(origin)))
            self._write(repository, preview, values)
            self._give(folder, values)
            step.transient("database and keys")
            self._compose(preview, "run", "--rm", "airflow-init")
            step.transient("containers")
            self._compose(preview, "up", "--detach", "--wait", "--no-build", "--wait-timeout", "300")
        return self._running(preview, "up")

    def down(self, branch: str, screen: Screen) -> bool:
        """Take the preview of a branch down with its data. Return whether there was one."""
        with exclusive(self._previews / "lock", "gitops preview down"):
            preview = record.read(self._previews / name_of(branch))
            if preview is not None:
                with screen.step(f"Take {preview.name} down") as step:
                    self._end(preview, step)
            return preview is not None

    def all(self, now: datetime) -> list[Running]:
        """Return all previews. Those whose time is over have ended, and are removed first."""
        with exclusive(self._previews / "lock", "gitops preview list"):
            self._sweep(now, None)
            found = record.read_all(self._previews)
            return [self._running(one, "up" if self._alive(one) else "down") for one in found]

    def variables(self, preview: Preview, folder: Path) -> dict[str, str]:
        """Return the variables of the project: the lines of its `.env`.

        Raises:
            EngineError: There is no `.env`, or no key that may only read the bucket of the environments.

        """
        path = self._checkout / ".env"
        if not path.is_file():
            raise EngineError(f"{path}: missing", command="scripts/init_airflow.sh")
        own = {key: value or "" for key, value in dotenv_values(path, interpolate=False).items()}
        before = folder / ".env"
        known = dotenv_values(before, interpolate=False) if before.is_file() else {}
        made = {
            name: known.get(name) or secrets.token_hex(24)
            for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", *_KEYS)
        }
        if own.get(_BUCKET[0]):
            if missing := [_READER + name for name in _KEYS if not own.get(_READER + name)]:
                problem = f"not set; a preview needs a key that may only read {own[_BUCKET[0]]}"
                raise EngineError(f"{path}: {missing[0]}: {problem}")
            made |= {name: own[_READER + name] for name in _KEYS}
            made |= {name: own[name] for name in _BUCKET if name in own}
        return {
            **{name: own[name] for name in _PLAIN if own.get(name)},
            **made,
            "AIRFLOW_CONN_GIT_DEFAULT": _GIT,
            "PREVIEW_SECONDS": str(round(preview.hours * 3600)),
            "PREVIEW_STORE": str(self._checkout / ".compose" / "store"),
            "VISAGE_ENVIRONMENT": preview.name,
        }

    def _write(self, repository: Repository, preview: Preview, values: Mapping[str, str]) -> None:
        """Write the files of the project: those of this checkout, and those of the preview."""
        folder = self._previews / preview.name
        for name in _ENGINE:
            shutil.copytree(self._checkout / name, folder / name, dirs_exist_ok=True)
        for path, content in release.files(repository, preview, None).items():
            if content is not None:
                files.write(folder / path, content.decode())
        files.write(folder / ".env", "".join(f"{key}={value}\n" for key, value in values.items()))
        (folder / ".compose" / "celeba").mkdir(parents=True, exist_ok=True)

    def _give(self, folder: Path, values: Mapping[str, str]) -> None:
        """Let the user of the containers read and write the repository of the preview."""
        if os.geteuid() == 0:
            owner = f"{values['AIRFLOW_UID']}:0"
            subprocess.run(
                ["chown", "-R", owner, str(folder / ".compose" / "origin.git")], check=True, timeout=60
            )

    def _end(self, preview: Preview, step: Step) -> None:
        folder = self._previews / preview.name
        if (folder / ".env").is_file() and (folder / settings.path_of(preview.name)).is_file():
            step.transient("containers and volumes")
            self._compose(preview, "down", "--volumes", "--remove-orphans")
        # The record goes last: whoever finds it finishes the removal.
        for path in sorted(folder.iterdir(), key=lambda path: path.name == record.FILE):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        folder.rmdir()

    def _sweep(self, now: datetime, step: Step | None) -> None:
        from rich.console import Console

        for preview in record.read_all(self._previews):
            if preview.is_over(now):
                self._end(preview, step or Step(Screen(Console(stderr=True)), "Remove"))

    def _running(self, preview: Preview, state: Literal["up", "down"]) -> Running:
        url = f"http://{preview.name}.localhost:{preview.port}"
        project = f"docker compose -p visage-{preview.name}"
        shown = f"{project} exec airflow-webserver cat /opt/visage/private/passwords.json"
        return Running(preview, url, state, f"password: {shown}")

    def _alive(self, preview: Preview) -> bool:
        listed = self._compose(preview, "ps", "--status", "running", "--services")
        return "airflow-webserver" in listed.split()

    def command(self, preview: Preview, *arguments: str) -> list[str]:
        """Return a command of Docker Compose for the project of a preview."""
        folder = self._previews / preview.name
        program = ["docker", "compose"]
        if subprocess.run([*program, "version"], capture_output=True, timeout=30, check=False).returncode:
            program = ["docker-compose"]
        return [
            *program,
            *("--project-name", f"visage-{preview.name}", "--project-directory", str(folder)),
            *("--env-file", str(folder / ".env"), "--env-file", str(folder / settings.path_of(preview.name))),
            *("--file", str(folder / "infra/compose/services.yml")),
            *("--file", str(folder / "infra/compose/preview.yml")),
            *arguments,
        ]

    def _compose(self, preview: Preview, *arguments: str) -> str:
        plain = {name: os.environ[name] for name in ("DOCKER_HOST", "HOME", "PATH") if name in os.environ}
        return _TOOL.run(self.command(preview, *arguments), env=plain)
