"""The references that the board of all environments needs, in the bundle's copy of the repository.

The bundle itself fetches main and the verdicts of its own environment, and decides by nothing else. These
references are kept apart, and only the page reads them.
"""

import time
from collections.abc import Mapping

import structlog

from gitops.errors import GitError
from gitops.git.repository import Repository
from gitops.paths import MAIN

REMOTE = "board"
"""The name under which they are kept."""

_EVERY = 60.0
_TIMEOUT = 30.0
_TAGS = ("verified", "rejected", "approved")
log = structlog.get_logger(__name__)


class BoardReferences:
    """Fetches the verdicts and approvals of all environments and the proposals, once a minute."""

    def __init__(self) -> None:
        self._next = 0.0

    def fetch(self, bare: Repository, url: str, env: Mapping[str, str] | None) -> None:
        """Fetch them if it is time. A failure is logged, and the board shows the last ones."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        space = bare.namespace(REMOTE)
        specs = [f"+refs/tags/{kind}/*:{space}/tags/{kind}/*" for kind in _TAGS]
        proposals = f"+refs/heads/promote/*:{space}/heads/promote/*"
        try:
            bare.fetch_refs(url, *specs, proposals, env=env, timeout=_TIMEOUT)
            # The main that this environment accepted, which may be an earlier one than that of the remote.
            bare.git("update-ref", bare.branch_ref(REMOTE, "main"), MAIN)
        except GitError as error:
            log.warning("The board of all environments is not up to date: %s", error)
