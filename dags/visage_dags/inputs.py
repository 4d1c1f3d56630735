"""What the DAGs read from around them, each with its type and default: settings, places, connections.

Airflow Variables are not among them: a setting belongs to `environments/<env>/settings.env`, where a pull
request changes it, and a secret to a connection.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class From(StrEnum):
    """Who says it."""

    SETTINGS = "environments/<env>/settings.env"
    ENGINE = "what runs Airflow: the local launcher, Docker Compose or Kubernetes"
    USER = "the git-ignored .env, or the shell"


class Required:
    """Stands for a default that there is not."""


@dataclass(frozen=True)
class Input(Generic[T]):
    """A variable of the process."""

    name: str
    source: From
    parse: Callable[[str], T]
    default: T | Required
    meaning: str

    def read(self) -> T:
        """Return its value here.

        :raises LookupError: when it is required and not set.
        :raises ValueError: when it is set to what its type does not allow.
        """
        text = os.environ.get(self.name)
        if text is None:
            if isinstance(self.default, Required):
                raise LookupError(f"{self.name}: not set; {self.source} says it")
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}; {self.source} says it") from error


@dataclass(frozen=True)
class Connection:
    """An Airflow connection; where none is needed, the DAGs go without and say so in the log."""

    name: str
    type: str
    needed: bool
    meaning: str


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


VISAGE_ENVIRONMENT = Input("VISAGE_ENVIRONMENT", From.SETTINGS, str, Required(), "dev, staging or prod")
ACTIVE_DAGS = Input("ACTIVE_DAGS", From.SETTINGS, _names, (), "the DAGs that do not start paused")
ACCURACY_THRESHOLD = Input(
    "ACCURACY_THRESHOLD", From.SETTINGS, float, 0.85, "the mean accuracy below which monitoring trains again"
)
MAX_PERFORMANCE_LOSS = Input(
    "MAX_PERFORMANCE_LOSS",
    From.SETTINGS,
    float,
    0.02,
    "how far the accuracy on late labels may be below the release's own evaluation",
)
NOTIFY_EMAIL = Input("NOTIFY_EMAIL", From.SETTINGS, _names, (), "who gets the notices by e-mail")
TASK_RETRIES = Input("TASK_RETRIES", From.SETTINGS, int, 2, "how often a task that fails is tried again")
TASK_RETRY_SECONDS = Input(
    "TASK_RETRY_SECONDS", From.SETTINGS, float, 30.0, "the wait before the first retry; it doubles with each"
)
VISAGE_HOME = Input("VISAGE_HOME", From.ENGINE, Path, Required(), "the data folder of the environment")
CELEBA_DIR = Input("CELEBA_DIR", From.USER, str, "", "the photographs' folder, for data.source celeba")

VARIABLES: tuple[Input[Any], ...] = (
    VISAGE_ENVIRONMENT,
    ACTIVE_DAGS,
    ACCURACY_THRESHOLD,
    MAX_PERFORMANCE_LOSS,
    NOTIFY_EMAIL,
    TASK_RETRIES,
    TASK_RETRY_SECONDS,
    VISAGE_HOME,
    CELEBA_DIR,
)

GIT = Connection("git_default", "git", True, "the repository that releases come from")
FILES = Connection("fs_default", "fs", True, "the files of this machine, for FileSensor")
SMTP = Connection("smtp_default", "smtp", False, "the mail server of the notices")
SLACK = Connection("slack_default", "slackwebhook", False, "the incoming webhook of the notices")

CONNECTIONS = (GIT, FILES, SMTP, SLACK)
