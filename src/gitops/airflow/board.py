"""The references that the board of all environments needs, in a repository of their own.

The bundle itself fetches main and the verdicts of its own environment, and decides by nothing else. These
references are kept apart, and only the page reads them. More people may push them, so their content has a
limit, in a folder that can be deleted at any time: it borrows the objects of main from the bundle's copy.
"""

import shutil
import time
from collections.abc import Mapping

import structlog

from gitops.errors import GitError
from gitops.git import incoming
from gitops.git.repository import Repository
from gitops.paths import MAIN

REMOTE = "board"
"""The name under which they are kept."""

MOST = 256 * 1024**2
"""The bytes that they may take on the disk."""

_EVERY = 60.0
_TIMEOUT = 30.0
_TAGS = ("verified", "rejected", "approved")
log = structlog.get_logger(__name__)


def repository(bare: Repository) -> Repository:
    """Return the repository of the board beside the bundle's copy."""
    return Repository(bare.path.with_name("board.git"))


class BoardReferences:
    """Fetches the verdicts and approvals of all environments and the proposals, once a minute.

    Args:
        most: The bytes that they may take on the disk.

    """

    def __init__(self, most: int = MOST) -> None:
        self._next = 0.0
        self._most = most

    def fetch(self, bare: Repository, url: str, env: Mapping[str, str] | None) -> None:
        """Fetch them if it is time. A failure is logged, and the board shows the last ones."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        board = repository(bare)
        space = board.namespace(REMOTE)
        specs = [f"+refs/tags/{kind}/*:{space}/tags/{kind}/*" for kind in _TAGS]
        proposals = f"+refs/heads/promote/*:{space}/heads/promote/*"
        try:
            self._prepare(board, bare)
            # The main that this environment accepted, which may be an earlier one than that of the remote.
            # First, so that the remote does not send its commits again.
            board.git("update-ref", board.branch_ref(REMOTE, "main"), bare.resolve(MAIN))
            board.fetch_refs(url, *specs, proposals, env=env, timeout=_TIMEOUT, most=self._most)
        except (GitError, OSError) as error:
            log.warning("The board of all environments is not up to date: %s", error)

    def _prepare(self, board: Repository, bare: Repository) -> None:
        if incoming.size(board.path) > self._most:
            shutil.rmtree(board.path)
        borrowed = board.path / "objects" / "info" / "alternates"
        if borrowed.is_file():
            return
        board.path.mkdir(parents=True, exist_ok=True)
        board.git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", ".")
        borrowed.parent.mkdir(exist_ok=True)
        borrowed.write_text(f"{(bare.path / 'objects').resolve()}\n")
