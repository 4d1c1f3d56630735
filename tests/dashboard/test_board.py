"""The board of all environments, from the copy that the bundle of one of them keeps."""

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dashboard import app, board
from dashboard.access import may_read
from dashboard.board import Boards
from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from dashboard.running import repository
from gitops.airflow.board import REMOTE, BoardReferences
from gitops.airflow.board import repository as board_repository
from gitops.git import incoming
from gitops.git.repository import Repository
from tests.dashboard.world import NOW, World


@pytest.fixture
def reader(world: World) -> TestClient:
    """A reader of staging, whose release dev has and prod waits for."""
    commit = world.release("first")
    world.lab.verify("dev", commit)
    world.lab.promote("prod")
    made = app.make()
    made.dependency_overrides[may_read] = lambda: None
    return TestClient(made)


def test_each_environment_shows_all_of_them(reader: TestClient, world: World) -> None:
    world.serve()
    answer = reader.get("/board/")
    assert answer.status_code == 200, answer.text[-1500:]
    assert answer.headers["Content-Security-Policy"] == board.POLICY
    assert "script-src 'self'" in board.POLICY
    assert "'unsafe" not in board.POLICY
    for name in ("dev", "staging", "prod"):
        assert '<article class="card' in answer.text
        assert f'id="{name}"' in answer.text
    assert answer.text.count('<strong class="verified">verified</strong>') == 2, "of dev too"
    assert "Proposed by " in answer.text, "the branch promote/prod"
    assert 'href="#staging..dev"' in answer.text
    assert "ada@example.org" not in answer.text
    assert 'src="../static/times.js"' in answer.text
    assert 'href="board/"' in reader.get("/").text


def test_git_works_once_until_something_changes(
    reader: TestClient, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.serve()
    bare, boards = repository(EnvironmentPaths.here()), Boards()
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE", str(trace))

    def processes() -> int:
        before = trace.read_text().count("built-in: git ") if trace.exists() else 0
        shown = boards.read(bare, NOW)
        assert len(shown.places) == 3
        return trace.read_text().count("built-in: git ") - before

    assert processes() > 10
    assert processes() == 1
    world.lab.verify("prod", world.lab.tip, "rejected")
    world.serve()
    assert processes() > 10
    monkeypatch.delenv("GIT_TRACE")


@pytest.mark.usefixtures("reader")
def test_a_fetch_that_fails_leaves_the_last_board(world: World) -> None:
    world.serve()
    bare = repository(EnvironmentPaths.here())
    kept = board_repository(bare)
    before = kept.git("for-each-ref")
    assert "refs/gitops/board/tags/verified/dev/" in before
    BoardReferences().fetch(bare, str(world.home / "nowhere"), None)
    assert kept.git("for-each-ref") == before
    kept.git("update-ref", "-d", "refs/gitops/board/heads/main")
    with pytest.raises(DashboardError, match="has no branch main"):
        Boards().read(bare, NOW)
    empty = Repository(world.home / "empty")
    empty.path.mkdir()
    empty.git("init", "--quiet", "--bare", ".")
    with pytest.raises(DashboardError, match="no board yet"):
        Boards().read(empty, NOW)


@pytest.mark.usefixtures("reader")
def test_a_large_branch_fills_no_disk_and_reaches_nothing_that_decides(world: World) -> None:
    world.serve()
    bare = repository(EnvironmentPaths.here())
    kept, decides = board_repository(bare), bare.git("for-each-ref")
    shown = kept.git("for-each-ref")
    most = 1024**2
    url = str(world.lab.origin.path)
    world.lab.branch("promote/junk", {"junk": os.urandom(3 * most)})
    for _ in range(3):
        BoardReferences(most).fetch(bare, url, None)
        assert incoming.size(kept.path) < 2 * most
    assert kept.git("for-each-ref") == shown
    # One after the other, each small enough
    for _ in range(4):
        world.lab.branch("promote/junk", {"junk": os.urandom(most // 2)}, on=world.lab.tip)
        BoardReferences(most).fetch(bare, url, None)
        assert incoming.size(kept.path) < 2 * most
    assert kept.has(f"{kept.namespace(REMOTE)}/heads/promote/junk")
    assert Boards().read(bare, NOW).places
    assert bare.git("for-each-ref") == decides
    assert not [*bare.path.rglob("tmp_*")]
