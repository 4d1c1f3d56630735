"""The story of two promotions: what dev verified goes to staging, and what staging verified to prod."""

import pytest

from tests.support.figures import model_files
from tests.support.forge import Pull, Refusal
from tests.support.lab import PIPELINE
from tests.workflows.conftest import ROOT, World

ROWS = [line.split() for line in (ROOT / ".github/CODEOWNERS").read_text().splitlines()]
(OWNER, *_) = next(row[1:] for row in ROWS if row[:1] == ["*"])


def released(world: World) -> str:
    """Put a model on main, as the merge of a candidate does, and let dev run it."""
    commit = world.commit(model_files("first", 0.9) | {"dvc.yaml": PIPELINE}, "Merge candidate/manual-1")
    world.forge.push("refs/heads/main", commit)
    return commit


def pulls(world: World, environment: str) -> list[Pull]:
    return [one for one in world.forge.pulls.values() if one.branch == f"promote/{environment}"]


def open_pull(world: World, environment: str) -> Pull | None:
    found = [one for one in pulls(world, environment) if one.state == "open"]
    assert len(found) < 2
    return found[0] if found else None


@pytest.mark.long
def test_two_promotions_that_end_in_prod(world: World) -> None:
    forge = world.forge
    release = released(world)
    assert world.happen() == {"model": "success", "promote": "success"}, world.log("promote")
    assert "staging: dev has not verified" in world.log("promote")
    assert forge.pulls == {}

    world.verify("dev", release)
    expected = ("event", "promote", "pull request", "verdict")
    assert world.happen("event", "promote", "pull request", "verdict") == dict.fromkeys(expected, "success")
    pull = open_pull(world, "staging")
    assert pull is not None
    assert pull.title == f"Promote {release[:12]} to staging"
    assert pull.author == "visage[bot]"
    assert f"`verified/dev/{release[:12]}`" in pull.body
    assert "It is the first release of staging" in pull.body
    assert forge.repository.changed(forge.sha("main"), forge.head(pull)) == [
        "environments/staging/release.yaml"
    ]
    (comment,) = pull.comments
    assert "staging gets a first release" in forge.comments[comment]["body"]
    token = next(one for one in forge.tokens.values() if one.actor == "visage[bot]")
    assert token.permissions == {"contents": "write", "pull-requests": "write"}
    # News on main that are no release: the open one is brought up to date in place, and checked again.
    forge.push("refs/heads/main", world.commit({"README.md": b"news\n"}, "Write"))
    assert world.happen("event", "promote", "pull request", "verdict")["verdict"] == "success"
    assert open_pull(world, "staging") is pull
    assert forge.repository.is_ancestor(forge.sha("main"), forge.head(pull))

    forge.merge(pull.number, approved_by="somebody")
    assert world.happen() == {"promote": "success"}
    staged = world.declared("staging").partition("commit: ")[2].strip()
    assert "prod: staging has not verified" in world.log("promote")

    world.verify("staging", staged)
    assert world.happen("event", "promote", "pull request", "verdict")["verdict"] == "success"
    assert open_pull(world, "staging") is None
    pull = open_pull(world, "prod")
    assert pull is not None
    assert pull.title == f"Promote {staged[:12]} to prod"
    with pytest.raises(Refusal, match="at least 1 approving review"):
        forge.merge(pull.number)
    with pytest.raises(Refusal, match=f"waiting for the review of {OWNER}"):
        forge.merge(pull.number, approved_by="somebody")
    # An owner who pushes to it cannot be the one who approves
    forge.push("refs/heads/promote/prod", forge.head(pull), actor=OWNER)
    with pytest.raises(Refusal, match="pushed last"):
        forge.merge(pull.number, approved_by=OWNER)
    forge.push("refs/heads/promote/prod", forge.head(pull), actor="visage[bot]")
    forge.events.clear()
    forge.merge(pull.number, approved_by=OWNER)
    assert world.happen() == {"promote": "success"}
    assert f"commit: {staged}" in world.declared("prod")
    assert [one for one in forge.pulls.values() if one.state == "open"] == []
    world.verify("prod", staged)
    assert world.happen("event", "promote")["promote"] == "success"
    shown = {one["environment"]: (one["sha"], one["statuses"][-1]["state"]) for one in forge.deployments}
    assert shown == {"dev": (release, "success"), **dict.fromkeys(("staging", "prod"), (staged, "success"))}
    assert [one["environment"] for one in forge.deployments if one["production_environment"]] == ["prod"]
    writes = [(one.method, one.path) for one in forge.requests if one.actor == "visage[bot]" and one.body]
    # Opened once each, and changed in place when main moved.
    assert [one for one in writes if one[0] == "POST"] == [("POST", "/repos/acme/visage/pulls")] * 2
    assert {path for method, path in writes if method == "PATCH"} <= {
        f"/repos/acme/visage/pulls/{one.number}" for one in forge.pulls.values()
    }
