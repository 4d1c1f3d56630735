"""The schedule of the engine: the process that saves a backup each week, and tries to restore it."""

import sys
from collections.abc import Mapping
from pathlib import Path

from infra.local import variables
from infra.local.drill import Drill
from infra.local.layout import Layout
from infra.local.service import Service


class Schedule:
    """The process of the weekly backup."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        record, log = layout.records / "weekly.json", layout.logs / "weekly.log"
        # When it is asked to end, it first ends the scratch database of a drill.
        self.service = Service("weekly", layout.state, record, log, grace=60)

    def provide(self, folder: str | None, shell: Mapping[str, str]) -> None:
        """Start the process if there is a folder for backups, and stop it if there is none.

        Args:
            folder: The folder, relative to the checkout.
            shell: The variables of the user's shell.

        """
        if folder is None:
            self.service.stop()
            return
        target = str((self.layout.checkout / folder).resolve())
        running = self.service.find()
        if running is not None and running.cmdline()[-1:] == [target]:
            return
        self.service.stop()
        own = {**variables.inherit(shell), "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-P", "-m", "infra.local.weekly", str(self.layout.checkout), target]
        self.service.start(command, own, self.layout.state)

    def last(self) -> Drill | None:
        """Return the result of the last backup; None before the first, or if no process is to make one."""
        return Drill.read(self.layout.weekly) if self.service.record.exists() else None
