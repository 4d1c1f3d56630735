"""The runtime of a release file: promoted with the release, and rolled back with it."""

from importlib.metadata import version
from pathlib import Path

import pytest

from gitops.airflow.bundle import ReleaseBundle
from gitops.diff.diff import between_runtimes
from gitops.errors import NothingToDoError, RuleError
from gitops.forge.promotions import describe, plan
from gitops.git.workspace import Origin
from gitops.promotion.holds import hold, unhold
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import Proposal, push
from gitops.promotion.rollbacks import rollback
from gitops.release.runtimes import VARIABLE, Runtime
from gitops.release.verdicts import Verdict
from gitops.report.collect import gather
from gitops.report.render import render
from gitops.text.instructions import LOCAL
from gitops.training import verification
from tests.support.bundles import Make, serving
from tests.support.bundles import version as version_of
from tests.support.lab import Lab

OLD, NEW, OTHER = (f"sha256:{digit * 64}" for digit in "abc")


def runtime(name: str) -> Runtime:
    return Runtime.present().model_copy(update={"name": name})


def verify(lab: Lab, environment: str, commit: str, name: str, *, again: bool = False) -> None:
    lab.verify(environment, commit, runtime=runtime(name), again=again)


def move(lab: Lab, proposal: Proposal) -> None:
    push(lab.clone, lab.remote, proposal)
    lab.merge(proposal.branch)


def present(lab: Lab, environment: str) -> tuple[str | None, str | None]:
    release = lab.state().present(environment)
    return release.commit, release.runtime


def refusal(lab: Lab, environment: str, content: str) -> str:
    path = f"environments/{environment}/release.yaml"
    commit = lab.branch("by-hand", {path: content.encode()})
    return "; ".join(map(str, check(lab.clone, lab.state(), commit).findings))


@pytest.fixture
def upgraded(lab: Lab) -> tuple[str, str]:
    """A release that staging and prod run on the old runtime, and a newer one from dev on a new one."""
    first = lab.train("a", verified=False)
    verify(lab, "dev", first, OLD)
    for environment in ("staging", "prod"):
        move(lab, lab.promote(environment))
        verify(lab, environment, first, OLD)
    second = lab.train("b", verified=False)
    verify(lab, "dev", second, NEW)
    return first, second


def test_a_runtime_goes_with_its_release_from_environment_to_environment(
    lab: Lab, upgraded: tuple[str, str]
) -> None:
    first, second = upgraded
    assert present(lab, "prod") == (first, OLD)
    proposal = lab.promote("staging")
    assert "Runtime: sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb" in proposal.message
    assert "runtime changes: `sha256:aaaaaaaaaaaa` -> `sha256:bbbbbbbbbbbb`." in describe(
        lab.clone, lab.state(), proposal, LOCAL
    )
    lab.merge(proposal.branch)
    assert present(lab, "staging") == (second, NEW)
    # staging still has the old one when it verifies the release
    verify(lab, "staging", second, OLD)
    with pytest.raises(RuleError, match=r"staging has not verified .* on the runtime sha256:bbbb"):
        promote(lab.clone, lab.state(), "prod", lab.remote)
    verify(lab, "staging", second, NEW, again=True)
    move(lab, lab.promote("prod"))
    assert present(lab, "prod") == (second, NEW)
    move(lab, hold(lab.clone, lab.state(), "prod", lab.remote, "freeze"))
    move(lab, unhold(lab.clone, lab.state(), "prod", lab.remote))
    assert present(lab, "prod") == (second, NEW)
    move(lab, rollback(lab.clone, lab.state(), "prod", lab.remote))
    assert present(lab, "prod") == (first, OLD)
    assert refusal(lab, "prod", f"commit: {second}\nruntime: {OTHER}\nhold: x\n").startswith(
        f"environments/prod/release.yaml: prod never ran {second[:12]} on the runtime sha256:cccccccccccc"
    )


@pytest.mark.long
def test_a_runtime_alone_is_promoted_and_rolled_back(lab: Lab, upgraded: tuple[str, str]) -> None:
    first, _ = upgraded
    lab.land(
        {"params.yaml": lab.origin.read(first, "params.yaml"), "dvc.lock": lab.origin.read(first, "dvc.lock")}
    )
    again = lab.train("a", verified=False)
    verify(lab, "dev", again, NEW, again=True)
    state = lab.state()
    assert state.same(first, again)
    assert plan(lab.clone, state, "staging", lab.remote).state == "open"
    move(lab, lab.promote("staging"))
    commit, name = present(lab, "staging")
    assert (lab.state().same(commit, first), name) == (True, NEW)
    assert plan(lab.clone, lab.state(), "staging", lab.remote).state == "over"
    verify(lab, "staging", str(commit), NEW, again=True)
    with pytest.raises(NothingToDoError, match="already has"):
        rollback(lab.clone, lab.state(), "staging", lab.remote, to=commit, keep_runtime=True)
    move(lab, rollback(lab.clone, lab.state(), "staging", lab.remote))
    assert present(lab, "staging") == (first, OLD)
    with pytest.raises(RuleError, match="no older one to return to"):
        rollback(lab.clone, lab.state(), "staging", lab.remote)


@pytest.mark.long
def test_a_release_file_keeps_its_runtime(lab: Lab, upgraded: tuple[str, str]) -> None:
    first, second = upgraded
    assert "names no runtime any more; keep `runtime: sha256:aaaa" in refusal(
        lab, "staging", f"commit: {second}\n"
    )
    assert "has not verified" in refusal(lab, "staging", f"commit: {second}\nruntime: {OTHER}\n")
    assert refusal(lab, "staging", f"commit: {second}\nruntime: {NEW}\n") == ""
    assert "has not verified" in refusal(lab, "staging", f"commit: {first}\nruntime: {OTHER}\n")


def test_an_environment_waits_for_the_runtime_of_its_release(
    lab: Lab, upgraded: tuple[str, str], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = upgraded
    monkeypatch.setenv(VARIABLE, OLD)
    bundle: ReleaseBundle = make()
    assert (version_of(bundle), serving(bundle).refused) == (first, None)
    lab.merge(lab.promote("staging").branch)
    bundle.refresh()
    assert version_of(bundle) == first
    assert serving(bundle).refused == (
        f"environments/staging/release.yaml: {second[:12]} is for the runtime sha256:bbbbbbbbbbbb, and this "
        "Airflow has sha256:aaaaaaaaaaaa; roll that runtime out"
    )
    monkeypatch.setenv(VARIABLE, NEW)
    bundle = make()
    assert (version_of(bundle), serving(bundle).refused) == (second, None)
    # Back, while the new runtime is still there: the release that it verified itself runs on it too
    move(lab, rollback(lab.clone, lab.state(), "staging", lab.remote))
    bundle.refresh()
    assert version_of(bundle) == second
    verify(lab, "staging", first, NEW, again=True)
    bundle.refresh()
    assert version_of(bundle) == first
    # An engine that names no runtime takes each
    monkeypatch.delenv(VARIABLE)
    assert serving(make()).refused is None


def airflow(lab: Lab, environment: str, commit: str, name: str, version: str, *, again: bool = False) -> None:
    lab.verify(
        environment, commit, runtime=runtime(name).model_copy(update={"airflow": version}), again=again
    )


def test_a_promotion_to_another_airflow_names_the_migration(lab: Lab) -> None:
    first = lab.train("a", verified=False)
    airflow(lab, "dev", first, OLD, "3.1.0")
    move(lab, lab.promote("staging"))
    airflow(lab, "staging", first, OLD, "3.1.0")
    second = lab.train("b", verified=False)
    airflow(lab, "dev", second, NEW, "3.3.2")
    proposal = lab.promote("staging")
    line = "staging goes from Airflow 3.1.0 to 3.3.2: the database is migrated; going back needs a backup"
    dump = 'pg_dump --format=custom --file=staging.dump --dbname="$DATABASE_URL"'
    assert f"{line}\n    {dump}" in proposal.message
    assert "scripts/backup.sh staging" in proposal.message
    assert [str(one) for one in proposal.judgement.migrations] == [line]
    assert f"**{line}.** Before you merge:" in describe(lab.clone, lab.state(), proposal, LOCAL)
    # The check of the pull request, which reads main and the branch alone.
    push(lab.clone, lab.remote, proposal)
    judgement = check(lab.clone, lab.state(), proposal.commit)
    assert (judgement.findings, [str(one) for one in judgement.migrations]) == ((), [line])
    inputs = gather(lab.clone, lab.state(), proposal.commit)
    assert line in render(inputs)
    lab.merge(proposal.branch)
    airflow(lab, "staging", second, NEW, "3.3.2")
    back = rollback(lab.clone, lab.state(), "staging", lab.remote)
    assert back.after.runtime == OLD
    assert "its database was migrated; change it back, or restore a backup, before you merge" in back.message
    assert "airflow db downgrade --to-version 3.1.0 --yes" in back.message
    # The same Airflow in another image migrates nothing.
    kept = rollback(lab.clone, lab.state(), "staging", lab.remote, keep_runtime=True, to=first)
    assert "Airflow" not in kept.message


def test_a_difference_lists_the_runtimes(lab: Lab) -> None:
    commit = lab.train("a", verified=False)
    airflow(lab, "dev", commit, OLD, "3.1.0")
    airflow(lab, "dev", commit, NEW, "3.3.2", again=True)
    for environment, name in (("prod", OLD), ("staging", NEW)):
        lab.declare(environment, f"commit: {commit}\nruntime: {name}\n")
    section = between_runtimes(lab.state(), "prod", "staging")
    assert [str(change) for change in section.changes] == [
        "runtime: sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb",
        "Airflow: 3.1.0 -> 3.3.2",
    ]
    assert between_runtimes(lab.state(), "prod", "prod").changes == ()


def test_the_version_of_airflow_is_no_other_runtime() -> None:
    present = runtime(OLD)
    assert present.airflow == version("apache-airflow-core")
    before = present.model_copy(update={"airflow": None})
    assert (present.same(before), present.digest) == (True, before.digest)
    assert not present.same(runtime(NEW))


def test_a_release_that_fails_on_another_runtime_alone_comes_back_with_its_own(
    lab: Lab, upgraded: tuple[str, str], make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A new ONNX Runtime changes its decisions: that is no reason against it on the old one."""
    first, _ = upgraded
    monkeypatch.setenv(VARIABLE, OLD)
    packages = Runtime.present().packages
    moved = runtime(NEW).model_copy(update={"packages": packages[::-1]})
    lab.declare("staging", f"commit: {first}\nruntime: {NEW}\n")
    verdict = lab.verdict("staging", first, "rejected", runtime=moved)

    def publish(verdict: Verdict) -> Verdict:
        origin = Origin(str(lab.origin.path))
        return verification.publish(origin, verdict, mirror=tmp_path / "mirror", key=lab.key("staging"))

    pushed = publish(verdict)
    assert pushed.tag == f"rejected/staging/{first[:12]}-{moved.digest}"
    assert lab.state().verdicts.rejected("staging", first), "it is the last verdict"
    # The way back brings the release and its runtime, and nothing refuses it.
    move(lab, rollback(lab.clone, lab.state(), "staging", lab.remote))
    assert present(lab, "staging") == (first, OLD)
    # On the old runtime it runs, and is verified once more.
    bundle: ReleaseBundle = make()
    assert (version_of(bundle), serving(bundle).refused, serving(bundle).unverified) == (first, None, True)
    again = lab.verdict("staging", first, runtime=runtime(OLD))
    publish(again)
    assert lab.state().verdicts.rejected("staging", first) is None
    bundle.refresh()
    assert not serving(bundle).unverified
    # A rejection on the runtime on which it was verified counts everywhere.
    worse = lab.verdict("staging", first, "rejected", runtime=runtime(OLD))
    pushed = publish(worse)
    assert pushed.tag == f"rejected/staging/{first[:12]}"
    assert lab.state().on("staging", NEW).verdicts.rejected("staging", first)
