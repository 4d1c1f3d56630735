"""The releases that the page can compare with: those that main declares, and that may run."""

from serving import cli
from tests.dashboard.world import World


def test_the_releases_that_main_declares(tmp_path, monkeypatch):
    world = World(tmp_path, "staging", monkeypatch.setenv)
    released = world.release("first", 0.95)
    newer = world.train("second", 0.96)
    world.serve()
    found = cli.declared(world.storage / "release")
    assert found == {newer: ["dev"], released: ["staging"]}


def test_a_rejected_release_is_not_among_them(tmp_path, monkeypatch):
    world = World(tmp_path, "staging", monkeypatch.setenv)
    world.release("first", 0.95)
    rejected = world.release("second", 0.96, "rejected")
    world.serve()
    assert rejected not in {
        commit for commit, names in cli.declared(world.storage / "release").items() if "staging" in names
    }
