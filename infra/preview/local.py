"""A preview on the local engine: an engine of its own in `.visage/previews/<name>`, with one environment.

Its processes run in a place in which they can write to the folders of the preview alone. The rest of the
machine is read-only, home folders and the checkout with `.visage` are empty, but for the models and data of
the DVC remote, which they can read.
"""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from gitops import isolation
from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.release.keys import PrivateKey
from infra.local import files, port, variables
from infra.local.engine import Engine
from infra.local.errors import BusyError, EngineError
from infra.local.instance import Instance
from infra.local.layout import Layout
from infra.local.lock import exclusive
from infra.local.origin import Origin
from infra.local.screen import Screen, Step
from infra.local.service import Service
from infra.local.variables import Address
from infra.preview import record, release
from infra.preview.host import Running
from infra.preview.record import Preview, name_of
from infra.preview.release import Place

_CODE = Path(__file__).resolve().parents[2]
_PAUSE = 30
_HOUR = 3600


class LocalHost:
    """The previews of a checkout, and the process that takes them down when their time is over.

    Args:
        main: The folders of the engine of the checkout.
        shell: The variables of the user's shell.

    """

    def __init__(self, main: Layout, shell: Mapping[str, str]) -> None:
        self.main = main
        self._shell = shell
        log = main.logs / "previews.log"
        self.keeper = Service("previews", main.state, main.records / "previews.json", log)

    def up(self, branch: str, commit: str, hours: float, step: Step) -> Running:
        """Start the preview of a branch at a commit, or bring it to that commit."""
        name = name_of(branch)
        place = LocalPreview(self.main, name, self._shell)
        with self._locked(f"gitops preview up {name}"):
            known = record.read(place.layout.checkout)
            if known is not None and known.hours == 0:
                self._end(known, step)  # its removal was interrupted
                known = None
            number = known.port if known else port.unused(100)
            now = datetime.now(UTC)
            preview = Preview(branch=branch, commit=commit, port=number, since=now, hours=hours)
            # First, so that whatever is left of an interrupted start is taken down in time.
            record.write(place.layout.checkout, preview)
            self.provide()
            url = place.up(preview, step)
        return Running(preview, url, "up", f"password in {place.layout.access}")

    def down(self, branch: str, screen: Screen) -> bool:
        """Take the preview of a branch down with its data. Return whether there was one."""
        with self._locked("gitops preview down"):
            preview = record.read(self.main.previews / name_of(branch))
            if preview is not None:
                with screen.step(f"Take {preview.name} down") as step:
                    self._end(preview, step)
            return preview is not None

    def all(self, now: datetime) -> list[Running]:
        """Return all previews."""
        return [self._running(preview, now) for preview in record.read_all(self.main.previews)]

    def provide(self) -> None:
        """Start the process that takes previews down, where it does not run and there are previews."""
        if not record.read_all(self.main.previews) or self.keeper.find() is not None:
            return
        own = {**variables.inherit(self._shell), "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-P", "-m", "infra.preview.local", str(self.main.checkout)]
        self.keeper.start(command, own, self.main.state)

    def stop(self, step: Step) -> list[str]:
        """Stop the processes of all previews, and keep their data. Return the names of the processes."""
        stopped = ["previews"] if self.keeper.stop() else []
        with self._locked("make down"):
            # By its folder: a record that cannot be read must not prevent a stop.
            for folder in sorted(path for path in self.main.previews.iterdir() if path.is_dir()):
                stopped += LocalPreview(self.main, folder.name, {}).stop(step)
        return stopped

    def tend(self, hours: float, now: datetime, screen: Screen) -> None:
        """Count hours that have passed, and take the previews down whose time is over.

        Raises:
            BusyError: Another command works on previews.

        """
        with self._locked("the end of a preview"):
            for known in record.read_all(self.main.previews):
                preview = known.model_copy(update={"lived": known.lived + hours})
                record.write(self.main.previews / preview.name, preview)
                if preview.is_over(now):
                    with screen.step(f"Take {preview.name} down") as step:
                        self._end(preview, step)

    @contextlib.contextmanager
    def _locked(self, command: str) -> Generator[None]:
        with exclusive(self.main.previews / "lock", command):
            yield

    def _end(self, preview: Preview, step: Step) -> None:
        place = LocalPreview(self.main, preview.name, {})
        # From now on it is over, for whoever finds it half removed.
        record.write(place.layout.checkout, preview.model_copy(update={"hours": 0.0}))
        place.stop(step)
        place.remove()

    def _running(self, preview: Preview, now: datetime) -> Running:
        place = LocalPreview(self.main, preview.name, {})
        state = "ending" if preview.is_over(now) else "up" if place.alive() else "down"
        return Running(preview, Address(f"{preview.name}.localhost", preview.port).web, state)


class LocalPreview:
    """The engine of one preview.

    Args:
        main: The folders of the engine that it belongs to.
        name: The name of its environment.
        shell: The variables of the user's shell, of which it gets those that hold no secret.

    """

    def __init__(self, main: Layout, name: str, shell: Mapping[str, str]) -> None:
        self.main = main
        self.name = name
        self.layout = Layout(main.previews / name)
        self._home = self.layout.state / "home"
        passed = {key: shell[key] for key in isolation.PASSED_ON if key in shell and key != "VISAGE_HOME"}
        self._shell = passed | {"HOME": str(self._home), "TMPDIR": str(self._home)}

    def up(self, preview: Preview, step: Step) -> str:
        """Start it, or bring it to another commit of its branch; return the address of its web interface.

        Raises:
            EngineError: It does not start.
            GitopsError: The branch cannot be used.

        """
        if not isolation.namespaces():
            raise EngineError(
                "a preview needs user namespaces of Linux, which keep it from the data of other "
                "environments; allow them, or use the preview of Docker Compose"
            )
        origin = Origin(self.layout)
        origin.make_empty()
        key = PrivateKey.create(self.layout.paths_of(self.name).verifier_key)
        origin.configure_dvc(self.main.dvc_remote)
        repository = Repository(self.main.checkout)
        place = Place(str(self.layout.origin), self.prefix())
        commit = release.declare(repository, preview, key.line(self.name), place)
        if not self.layout.trust_root.exists():
            files.write(self.layout.trust_root, f"{commit}\n")
        for path, content in release.files(repository, preview, key.line(self.name)).items():
            if content is not None:
                files.write(self.layout.checkout / path, content.decode())
        engine = self.engine()
        addresses = engine.addresses()
        engine.prepare(addresses, step)
        engine.start(engine.names, step)
        return addresses[self.name].web

    def engine(self) -> Engine:
        """Return the engine that runs it."""
        return Engine(self.layout, self._shell, self.prefix())

    def alive(self) -> bool:
        """Whether all of its processes run."""
        instance = Instance(self.layout, self.name, Address("", 0))
        return len(instance.alive()) == len(instance.services)

    def stop(self, step: Step) -> list[str]:
        """Stop its processes, and return their names."""
        return Engine(self.layout, {}).stop(step)

    def remove(self) -> None:
        """Remove its folder: the record last, so that an interrupted removal can be finished."""
        for path in sorted(self.layout.checkout.iterdir(), key=lambda path: path.is_file()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.layout.checkout.rmdir()

    def prefix(self) -> tuple[str, ...]:
        """Return the words before each command of it, which keep it from the rest of the machine."""
        layout, paths = self.layout, self.layout.paths_of(self.name)
        if not paths.passwords.exists():
            files.write_json(paths.passwords, {})
        # Nothing else: programs outside of its place follow links in these folders, or run files of them.
        folders = (
            *(paths.data, paths.bundles, paths.airflow, self._home),
            *(layout.origin, layout.dvc_cache, layout.dvc_site_cache),
        )
        for folder in (*folders, layout.records):
            folder.mkdir(parents=True, exist_ok=True)
        checkout = self.main.checkout
        readable = (
            *(_CODE / "infra", _CODE / "src"),
            *(paths.root, layout.records, layout.dvc_config, layout.trust_root, self.main.dvc_remote),
        )
        place = isolation.Place((*folders, paths.passwords), readable, (checkout,))
        return isolation.service_prefix(place, self._home)


def main(checkout: Path) -> None:
    """Tend the previews of a checkout for ever."""
    os.umask(0o077)
    host, screen = LocalHost(Layout(checkout), {}), Screen(Console(highlight=False))
    before = time.monotonic()
    while True:
        time.sleep(_PAUSE)
        now = time.monotonic()
        try:
            host.tend((now - before) / _HOUR, datetime.now(UTC), screen)
        except BusyError:
            continue  # the next time it counts these seconds too
        except (EngineError, GitopsError) as error:
            screen.print(f"{error}; tried again in {_PAUSE} s")
        before = now


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]))
