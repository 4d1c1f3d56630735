"""Refusals: each has a status of HTTP, and a message of one line with the problem and the remedy."""

from gitops.errors import GitopsError


class RefusedError(Exception):
    """A request that gets no answer of the model.

    Attributes:
        status: Of HTTP.
        wait: Seconds after which the client may try again, if that helps.

    """

    def __init__(self, status: int, message: str, wait: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.wait = wait


class StartError(GitopsError):
    """The service cannot start with these settings, or at this address."""


class WorkerError(Exception):
    """The process that runs the release's code ended, or never started."""
