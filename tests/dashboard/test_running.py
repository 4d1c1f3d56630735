import pytest

from dashboard import running
from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from gitops.release.holds import Hold
from tests.dashboard.world import World


def read(world: World) -> running.Running:
    world.serve()
    return running.read(EnvironmentPaths.here())


def test_no_release_yet(world: World) -> None:
    found = read(world)
    assert (found.commit, found.declared, found.refused, found.change) == (None, None, None, None)
    assert found.way_back is None


def test_a_verified_release_its_request_and_the_way_back(world: World) -> None:
    first = world.release("first")
    assert read(world).way_back is None, "it verified nothing before"
    second = world.release("second", 0.92)
    found = read(world)
    assert (found.commit, found.declared, found.refused) == (second, second, None)
    assert found.verdict.release == second
    assert found.change.request == "41"
    assert found.change.subject == "Merge pull request #41 from visage/promote/staging"
    assert found.change.commit == world.lab.tip
    assert str(found.change.people) == f"proposed and merged by {world.lab.clone.author()}"
    assert found.back == first
    assert found.way_back.splitlines() == [
        "export GITOPS_REMOTE=origin",
        ".venv/bin/gitops rollback staging --push",
        ".venv/bin/gitops merge rollback/staging",
        ".venv/bin/gitops status",
    ]


def test_since_is_the_first_of_the_same_release_in_a_row(world: World) -> None:
    world.release("first")
    before = world.lab.tip
    again = world.lab.land({"README.md": b"changed\n"})
    world.lab.declare("staging", f"commit: {again}\n")
    world.lab.declare("staging", f"commit: {again}\nhold: not now\n")
    found = read(world)
    assert (found.commit, found.change.commit, found.holds) == (again, before, (Hold("not now"),))


def test_a_rejected_release_is_said_and_the_last_verified_runs(world: World) -> None:
    first = world.release("first")
    world.serve()
    second = world.release("second", verdict="rejected")
    found = read(world)
    assert (found.commit, found.declared, found.back) == (first, second, first)
    assert "staging rejected " in found.refused
    assert found.rejection.tag == f"rejected/staging/{second[:12]}"
    assert found.rejection.line.startswith("rejected in staging: mean accuracy 0.9000 measured")
    assert found.verdict.release == first


def test_a_release_file_that_is_not_valid(world: World) -> None:
    first = world.release("first")
    world.serve()
    world.lab.declare("staging", "commit: nonsense\n")
    found = read(world)
    assert (found.commit, found.declared) == (first, None)
    assert "not a full commit id" in found.refused


def test_dev_reverts_on_main(make_world) -> None:
    world = make_world("dev")
    assert read(world).way_back is None, "there is nothing before the first commit"
    commit = world.release("first")
    found = read(world)
    assert (found.commit, found.change.commit, found.change.request) == (commit, commit, "5")
    assert f"git revert --no-edit {commit[:12]} && git push" in found.way_back
    assert f".venv/bin/gitops merge revert-{commit[:12]}\n.venv/bin/gitops status" in found.way_back


def test_dev_reverts_a_merge_to_its_first_parent(make_world) -> None:
    world = make_world("dev")
    world.lab.branch("change", {"params.yaml": b"profile: small\n"})
    merged = world.lab.merge("change")
    assert f"git revert --no-edit -m 1 {merged[:12]} && git push" in read(world).way_back


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("https://github.com/team/visage.git", "https://github.com/team/visage/pull/41"),
        # pragma: allowlist nextline secret
        ("https://x:secret@github.com/team/visage", "https://github.com/team/visage/pull/41"),
        ("git@github.com:team/visage.git", "https://github.com/team/visage/pull/41"),
        (
            "ssh://git@github.example.com/team/visage.git",
            "https://github.example.com/team/visage/pull/41",
        ),
        ("https://elsewhere.example/visage.git", None),
        ("/srv/visage.git", None),
    ],
)
def test_where_a_forge_shows_the_request(world: World, origin: str, shown: str | None) -> None:
    world.release("first")
    world.serve()
    running.repository(EnvironmentPaths.here()).git("remote", "set-url", "origin", origin)
    assert running.read(EnvironmentPaths.here()).change.url == shown


def test_a_bundle_that_is_not_there_or_not_readable(world: World) -> None:
    with pytest.raises(DashboardError, match=r"release\.json does not exist"):
        running.read(EnvironmentPaths.here())
    world.serve()
    (world.storage / "release/bare").rename(world.storage / "gone")
    with pytest.raises(DashboardError, match="bare: not found"):
        running.read(EnvironmentPaths.here())
    (world.storage / "release/bare").mkdir()
    with pytest.raises(DashboardError, match="has no branch refs/heads/main"):
        running.read(EnvironmentPaths.here())
