"""Deployments on GitHub, of the verdicts of environments."""

from gitops.forge.deployments import Deployment, keep, of_state
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from tests.support.forge import Forge
from tests.support.forge_server import client
from tests.support.lab import Lab


def test_each_environment_shows_its_verdict_on_the_declared_release(lab: Lab) -> None:
    lab.train("a", 0.9, verified=False)
    assert list(of_state(lab.state())) == []
    lab.verify("dev", lab.tip)
    first = lab.release("staging")
    second = lab.train("b", 0.95)
    # A change of documents is no other release.
    lab.land({"README.md": b"News\n"})
    shown = {one.environment: one for one in of_state(lab.state())}
    assert {name: one.commit for name, one in shown.items()} == {"dev": second, "staging": first}
    assert {one.state for one in shown.values()} == {"success"}
    assert "dev verified it: mean accuracy 0.9000 on 2000 images" in shown["dev"].text
    assert not shown["staging"].last

    lab.promote("staging")
    lab.merge("promote/staging")
    assert "staging" not in {one.environment for one in of_state(lab.state())}, "it has not judged it yet"
    lab.verify("staging", second, "rejected")
    (rejected,) = (one for one in of_state(lab.state()) if one.environment == "staging")
    assert (rejected.commit, rejected.state) == (second, "failure")
    state = lab.state()
    back = rollback(lab.clone, state, "staging", "origin", reason="slow")
    push(lab.clone, "origin", back)
    lab.merge(back.branch)
    (again,) = (one for one in of_state(lab.state()) if one.environment == "staging")
    assert (again.commit, again.state) == (first, "success")


def test_the_newest_deployment_is_kept_and_one_after_a_rollback_is_new(forge: Forge) -> None:
    github = client(forge, deployments="write")
    start = forge.sha("main")
    later = forge.repository.commit_files(start, {"b": b"b"}, "More")
    forge.repository.git("update-ref", "refs/heads/main", later)

    def wanted(commit: str, state: str = "success") -> Deployment:
        return Deployment("prod", commit, state, "x" * 300, last=True)  # pyright: ignore[reportArgumentType]

    assert keep(github, wanted(start))
    assert not keep(github, wanted(start))
    assert keep(github, wanted(later, "failure"))
    assert keep(github, wanted(later))
    assert keep(github, wanted(start)), "back again"
    made = [(one["sha"], [status["state"] for status in one["statuses"]]) for one in forge.deployments]
    assert made == [(start, ["success"]), (later, ["failure", "success"]), (start, ["success"])]
    assert all(one["production_environment"] for one in forge.deployments)
