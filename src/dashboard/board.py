"""The board of all environments, from the bundle's copy of the repository.

Reading it takes many calls of git, so it is kept until a reference changes. It is read again after some
minutes too, since holds and calendars depend on the time.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard.errors import DashboardError
from gitops.airflow.board import REMOTE
from gitops.airflow.board import repository as board_repository
from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.history import board_page, page
from gitops.history.board import Board
from gitops.history.load import load_board
from gitops.history.page import Frame
from gitops.release.load import load_state

_FRESH = timedelta(minutes=5)
POLICY = page.policy(scripts=True)
"""The Content-Security-Policy of the page."""


@dataclass(frozen=True)
class _Read:
    references: str
    board: Board


class Boards:
    """Reads the board, and keeps the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: _Read | None = None
        self._repository: Repository | None = None

    def read(self, bare: Repository, now: datetime) -> Board:
        """Return the board, by the bundle's copy of the repository.

        Raises:
            DashboardError: The repository cannot be read, or has nothing of other environments yet.

        """
        with self._lock:
            repository, last = board_repository(bare), self._last
            if self._repository is not None and self._repository.path == repository.path:
                repository = self._repository  # it knows the user's configuration of git
            self._repository, space = repository, repository.namespace(REMOTE)
            try:
                if not (repository.path / "HEAD").is_file():
                    raise DashboardError(
                        "no board yet. The dag-processor fetches it within a minute after its start"
                    )
                references = repository.git("for-each-ref", "--format=%(objectname) %(refname)", f"{space}/")
                if last and last.references == references and timedelta() <= now - last.board.at < _FRESH:
                    return last.board
                state = load_state(repository, remote=REMOTE)
                board = load_board(repository, state, REMOTE, now)
            except GitopsError as error:
                raise DashboardError(str(error)) from error
            self._last = _Read(references, board)
            return board


def render(board: Board, title: str) -> str:
    """Return the page."""
    return board_page.render(board, Frame(title, "../"))
