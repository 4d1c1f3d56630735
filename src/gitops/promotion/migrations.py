"""Migrations: another version of Airflow, whose schedulers change the database of an environment."""

from dataclasses import dataclass

from gitops.release.file import Release
from gitops.release.state import ReleaseState
from gitops.text import instructions


@dataclass(frozen=True)
class Migration:
    """The change of the version of Airflow in an environment.

    Attributes:
        environment: The environment.
        before: The version that it has.
        after: The version that it gets.
        runtime: The name of the runtime that it gets.

    """

    environment: str
    before: str
    after: str
    runtime: str | None = None

    @property
    def goes_back(self) -> bool:
        """Whether the database is newer than the version that comes."""
        return _parts(self.after) < _parts(self.before)

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands to run before: a backup, and to go back also the change of the database."""
        saved = instructions.back_up(self.environment, self.runtime)
        if not self.goes_back:
            return saved
        return (*saved, instructions.downgrade(self.environment, self.after, self.runtime))

    def __str__(self) -> str:
        text = f"{self.environment} goes from Airflow {self.before} to {self.after}"
        if self.goes_back:
            return f"{text}: its database was migrated; change it back, or restore a backup, before you merge"
        return f"{text}: the database is migrated; going back needs a backup"


def migration(state: ReleaseState, environment: str, before: Release, after: Release) -> Migration | None:
    """Return the migration that a change of a release brings; None without one, or if a version is not known.

    Verdicts name the version of Airflow in each runtime.
    """
    if after.runtime is None or after.runtime == before.runtime:
        return None
    present = state.verdicts.airflow(before.runtime)
    if present is None and (runtime := state.verdicts.runtime(environment)):
        present = runtime.airflow
    coming = state.verdicts.airflow(after.runtime)
    if present is None or coming is None or present == coming:
        return None
    return Migration(environment, present, coming, after.runtime)


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
