"""The command line: `python -m serving` starts the service of an environment.

The environment's settings and folders come from the variables that its Airflow has too.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer
import uvicorn
import uvloop

from gitops import isolation
from gitops.airflow import task_context
from gitops.errors import ReleaseError
from gitops.git.repository import Repository
from gitops.git.workspace import workspace
from gitops.model import download
from gitops.paths import MAIN
from gitops.release.load import load_state
from gitops.release.settings import Settings
from gitops.text import brand
from gitops.text.command_line import Command
from gitops.training import shadowing, vouched
from serving import app as web
from serving.addresses import Addresses
from serving.canary import Canary, PrepareModel, Share
from serving.clients import Clients, Token, TokenFile, is_loopback
from serving.errors import StartError
from serving.kept import Kept
from serving.limits import BoundedProtocol
from serving.others import Others
from serving.queue import Queue
from serving.releases import Prepare, Prepared, Releases
from serving.search import Search

TOKENS = "VISAGE_SERVING_TOKENS"
_STORAGE = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"
_PATIENCE = 30.0  # seconds
_CONNECTIONS = 512


class _Command(Command):
    program = ".venv/bin/python -m serving"
    actions: ClassVar = {"": "start the service"}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
log = logging.getLogger(__name__)


@app.command(cls=_Command)
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port", show_default="SERVING_PORT")] = None,
) -> None:
    """Answer photographs with the release of this environment.

    Outside of this machine every client needs a token: VISAGE_SERVING_TOKENS names a file with a line
    `client token` for each.
    """
    isolation.hide()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        settings = Settings.from_environ()
        tokens = TokenFile(Path(os.environ[TOKENS])) if os.environ.get(TOKENS) else dict[str, Token]
        if not tokens() and not is_loopback(host):
            raise ValueError(f"{host}: others can reach this address; {TOKENS} must name a file of tokens")
        home, environment = task_context.home(), task_context.environment()
        storage = os.environ.get(_STORAGE)
        if not storage:
            raise ValueError(f"{_STORAGE}: not set; the service runs with the variables of its Airflow")
    except ValueError as error:
        raise StartError(str(error)) from None
    keep = ["--keep", str(home / "scored")] if settings.serving_keep_days else []
    releases = Releases(Path(storage) / "release", prepare(home), ["--scores", str(home / "scores"), *keep])
    queue = Queue(releases.respond, settings.serving_budget_ms / 1000, settings.serving_queue, _PATIENCE)
    clients = Clients(tokens, settings.serving_rate, max(web.FILES, round(10 * settings.serving_rate)))
    others = Others(lambda: declared(Path(storage) / "release"), prepare(home, answers=False))
    canary = Canary(
        lambda: declared_canary(settings),
        releases,
        prepare_model(home),
        ["--scores", str(home / "scores"), *keep],
        home / "shadows",
    )
    service = web.Service(
        environment,
        releases,
        queue,
        clients,
        settings.serving_sample,
        others,
        Search(home, releases),
        brand.css(theme()),
        canary,
        Addresses(settings.serving_fetch_hosts),
    )
    kept = Kept(home / "scored", settings.serving_keep_days)
    try:
        listener = listen(host, port or settings.serving_port)
    except OSError as error:
        taken = f"{host}, port {port or settings.serving_port}: {error.strerror}; choose another with --port"
        raise StartError(taken) from None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_service(service, listener, kept))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; port 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_CONNECTIONS)


class _Server(uvicorn.Server):
    """Ends at a signal and returns; uvicorn's own sends itself the signal again, which ends the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_service(service: web.Service, listener: socket.socket, kept: Kept) -> None:
    """Answer until a signal comes, then let requests and the worker end."""
    config = uvicorn.Config(
        web.make(service),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=round(_PATIENCE),
        log_config=None,
    )
    server = _Server(config)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    tasks = [
        asyncio.create_task(part)
        for part in (
            server.serve([listener]),
            service.releases.watch(),
            service.queue.run(),
            service.others.expire(),
            service.canary.watch(),
            kept.expire(),
        )
    ]
    try:
        # If one of them fails, the service ends, and whoever runs it starts it again
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await service.others.close()
        await service.canary.close()
        await service.releases.close()


def theme() -> object:
    """Return the theme of the environment's Airflow."""
    try:
        return json.loads(os.environ.get("AIRFLOW__API__THEME", "{}"))
    except ValueError:
        return {}


def declared(bundle: Path) -> dict[str, list[str]]:
    """Return the releases that main declares and that may run, each with the names of its environments.

    Raises:
        GitopsError: The copy of the repository in the folder of the bundle cannot be read.

    """
    state = load_state(Repository(bundle / "bare"), main=MAIN)
    if state.main_fault is not None:
        return {}
    found: dict[str, list[str]] = {}
    for environment in state.environments:
        try:
            commit = state.declared(environment).commit
        except ReleaseError:
            continue  # the page Visage of that environment shows the problem
        if commit is not None and state.may_run(environment, commit) is None:
            found.setdefault(commit, []).append(environment)
    return found


def declared_canary(settings: Settings) -> Share | None:
    """Return the canary that main declares and that counts in this environment; None without one.

    Raises:
        GitopsError: The repository cannot be read, and there is no copy of it.

    """
    declaration = shadowing.declared(
        task_context.origin(),
        task_context.environment(),
        mirror=task_context.mirror(),
        signed=settings.require_signed_releases,
        waits=False,
    )
    release = declaration.release if declaration else None
    if release is None or release.canary is None or release.share is None:
        return None
    return Share(release.canary, release.share)


def prepare_model(home: Path) -> PrepareModel:
    """Return a function that checks out a release, and fetches the model of another commit for its code."""

    @contextmanager
    def prepared(release: str, model_of: str) -> Iterator[Prepared]:
        with _prepared(home, release, model_of, (home / "scores", home / "scored")) as found:
            yield found

    return prepared


@contextmanager
def _prepared(home: Path, commit: str, model_of: str, written: tuple[Path, ...]) -> Iterator[Prepared]:
    origin = task_context.origin()
    vouched.require(origin, model_of, mirror=task_context.mirror())
    model = download.fetch_model(origin, model_of, cache=home / "models")
    # The bundle has admitted the release that it serves, and `declared` the others
    with (
        workspace(replace(origin, admit=None), commit, home / "serving") as space,
        isolate(space.path, model, written) as release,
    ):
        yield release


def prepare(home: Path, *, answers: bool = True) -> Prepare:
    """Return a function that fetches and checks out a release.

    Args:
        home: The data folder of the environment.
        answers: Whether the release may write its answers there.

    """
    written = (home / "scores", home / "scored") if answers else ()

    @contextmanager
    def prepared(commit: str) -> Iterator[Prepared]:
        with _prepared(home, commit, commit, written) as release:
            yield release

    return prepared


@contextmanager
def isolate(checkout: Path, model: Path, written: tuple[Path, ...]) -> Iterator[Prepared]:
    """Provide the place in which a release runs: it reads its code and its model, and writes to `written`."""
    for folder in written:
        folder.mkdir(parents=True, exist_ok=True)
    variables = {"PYTHONPATH": str(checkout / "src"), "PYTHONUNBUFFERED": "1"}
    with isolation.isolated(isolation.Place(written, (checkout, model)), variables) as place:
        yield Prepared(checkout, model, place)
