"""The keys of an engine's own environments, on main of its own origin."""

import pytest

from gitops.errors import VerdictError
from gitops.git.repository import Repository
from gitops.release.enrol import enrol
from gitops.release.keys import path_of
from gitops.release.signatures import SIGNERS, Trust, configured_root
from tests.support.lab import Lab

NAMES = ("dev", "staging", "prod")


def listed(lab: Lab, name: str, root: str | None) -> frozenset[bytes]:
    found = Trust(lab.origin, lab.tip, NAMES, root).lists.keys(name)
    return frozenset() if found is None else found.keys


def test_keys_are_listed_once_beside_those_that_a_team_has(lab: Lab) -> None:
    """A checkout of a team's repository has the keys of other machines; the trust root adds one's own."""
    own = {name: lab.key(f"own-{name}") for name in NAMES}
    before = lab.tip
    root = enrol(lab.origin, own, None)
    assert lab.tip == root != before
    assert lab.origin.resolve("main^") == before
    for name in NAMES:
        assert listed(lab, name, root) == {lab.key(name).public, own[name].public}
        assert listed(lab, name, None) == {lab.key(name).public}
    assert enrol(lab.origin, own, root) == root == lab.tip


def test_the_trust_root_stays_where_it_can(lab: Lab) -> None:
    root = enrol(lab.origin, {}, None)
    assert root == lab.tip
    assert enrol(lab.origin, {"canary": lab.key("canary")}, root) == root != lab.tip
    # It moves to the first list of people, so that no new machine has to trust the first one that it sees.
    lab.land({SIGNERS: lab.key("ann").line("ann")})
    assert enrol(lab.origin, {}, root) == lab.tip


def test_the_trust_root_never_moves_over_what_nobody_signed(lab: Lab) -> None:
    root = enrol(lab.origin, {}, None)
    lab.land({path_of("prod"): lab.key("eve").line("prod")})
    with pytest.raises(VerdictError, match=r"^environments/prod/verifiers: nobody who may sign it"):
        enrol(lab.origin, {"dev": lab.key("other")}, root)
    lab.origin.git("update-ref", "refs/heads/main", lab.origin.commit_files(None, {"x": b""}, "Mine"))
    with pytest.raises(VerdictError, match="did not grow out of its trust root"):
        enrol(lab.origin, {}, root)


def test_the_trust_root_of_a_checkout_belongs_to_its_remote(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert configured_root(lab.clone, lab.remote) is None
    lab.clone.git("config", "remote.origin.trustRoot", lab.tip)
    assert configured_root(lab.clone, lab.remote) == lab.tip
    assert configured_root(lab.clone, None) is None
    assert lab.state().lists.problem is None
    lab.clone.git("config", "remote.origin.trustRoot", "a" * 40)
    assert "there is no commit aaaaaaaaaaaa here" in (lab.state().lists.problem or "")
    for wrong in ("main", "/nowhere"):
        monkeypatch.setenv("VISAGE_TRUST_ROOT", wrong)
        problem = Trust.load(Repository(lab.clone.path), lab.tip, ()).lists.problem or ""
        assert problem.startswith(f"VISAGE_TRUST_ROOT: {wrong}: ")
