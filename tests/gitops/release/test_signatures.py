"""Signed releases, with real keys."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops.airflow.bundle import ReleaseBundle
from gitops.errors import RuleError
from gitops.promotion.check import check
from gitops.promotion.proposals import promote, push, rollback, unhold
from gitops.release import signatures
from gitops.release.signatures import SIGNERS
from tests.gitops.airflow.test_bundle import Make, lines, make, storage, version  # noqa: F401, fixtures
from tests.support.lab import Lab

pytestmark = pytest.mark.system("ssh-keygen")

PROD = "environments/prod/settings.env"
STAGING = "environments/staging/settings.env"
FILE = "environments/staging/release.yaml"


@pytest.fixture
def key(tmp_path: Path) -> Callable[[str], Path]:
    def create(name: str) -> Path:
        file = tmp_path / f"key-{name}"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        return file

    return create


def listed(*keys: Path) -> bytes:
    return "".join(
        f"{file.name}@example.com {file.with_suffix('.pub').read_text()}" for file in keys
    ).encode()


def use(lab: Lab, key: Path | None) -> None:
    """Let the user of the clone sign what they commit, or not."""
    lab.clone.git("config", "gpg.format", "ssh")
    lab.clone.git("config", "user.signingKey", str(key))
    lab.clone.git("config", "commit.gpgSign", "true" if key else "false")


def asked_for(lab: Lab, *paths: str) -> dict[str, bytes]:
    return {
        path: (lab.origin.read("main", path) or b"").replace(b"RELEASES=false", b"RELEASES=true")
        for path in paths
    }


def signed_commit(lab: Lab, files: dict[str, bytes], *, on: str | None = None) -> str:
    lab.clone.fetch(lab.remote)
    commit = lab.clone.commit_files(on or lab.tip, files, "Signed", sign=True)
    lab.clone.push(lab.remote, {"refs/heads/signed": commit}, leases={"refs/heads/signed": None})
    lab.origin.git("update-ref", "-d", "refs/heads/signed")
    return commit


@pytest.fixture
def team(lab: Lab, key: Callable[[str], Path]) -> dict[str, Path]:
    """Ann is listed, Eve is not; staging asks for signatures, and runs a model."""
    keys = {name: key(name) for name in ("ann", "bob", "eve")}
    lab.land(asked_for(lab, STAGING, PROD) | {SIGNERS: listed(keys["ann"])})
    lab.train("a")
    use(lab, keys["ann"])
    lab.release("staging")
    return keys


def test_a_signed_promotion_goes_all_the_way(lab: Lab, team: dict[str, Path], make: Make) -> None:  # noqa: F811
    bundle = make()
    first = version(bundle)
    assert bundle.serving is not None
    assert bundle.serving.refused is None
    lab.train("b")
    second = lab.release("staging")
    bundle.refresh()
    assert version(bundle) == second != first

    state = lab.state()
    push(state, lab.remote, rollback(state, "staging", lab.remote))
    lab.merge("rollback/staging")
    bundle.refresh()
    assert version(bundle) == first
    assert bundle.serving.refused is None
    state = lab.state()
    push(state, lab.remote, unhold(state, "staging", lab.remote))
    lab.merge("unhold/staging")
    bundle.refresh()
    assert bundle.serving.refused is None


@pytest.mark.parametrize("who", [None, "eve"])
def test_what_nobody_listed_signed_is_refused(
    lab: Lab,
    team: dict[str, Path],
    make: Make,  # noqa: F811
    lines: list[str],  # noqa: F811
    who: str | None,
) -> None:
    bundle = make()
    first = version(bundle)
    second = lab.train("b")
    use(lab, team[who] if who else None)
    content = {FILE: f"commit: {second}\n".encode()}
    commit = signed_commit(lab, content) if who else lab.commit(content)
    lab.origin.git("update-ref", "refs/heads/main", commit)
    bundle.refresh()
    assert version(bundle) == first
    reason = "has no valid signature of a listed signer" if who else "is not signed with an SSH key"
    assert f"{FILE}: {commit[:12]} {reason}" in lines[-1]
    assert "\n" not in lines[-1]
    fresh = ReleaseBundle(name="fresh", environment="staging", refresh_interval=10)
    fresh.initialize()
    assert version(fresh) == first


def test_check_says_it_before_the_merge(lab: Lab, team: dict[str, Path]) -> None:
    lab.train("b")
    use(lab, None)
    lab.promote("staging")
    with pytest.raises(RuleError, match="is not signed with an SSH key; sign it: git config"):
        lab.merge("promote/staging")
    use(lab, team["ann"])
    again = lab.promote("staging")
    assert again.known is False
    assert signatures.signed(lab.clone, again.commit)
    lab.merge("promote/staging")


def test_an_old_signature_cannot_be_used_again(
    lab: Lab,
    team: dict[str, Path],
    make: Make,  # noqa: F811
) -> None:
    old = lab.state().declared("staging")
    lab.train("b")
    second = lab.release("staging")
    bundle = make()
    tree = lab.commit({FILE: lab.origin.read(old.by, FILE)})
    merge = lab.origin.git(
        *("commit-tree", "-p", lab.tip, "-p", f"{old.by}^2", "-m", "Back", f"{tree}^{{tree}}"),
        env=lab.origin.identity(),
    )
    lab.origin.git("update-ref", "refs/heads/main", merge)
    bundle.refresh()
    assert version(bundle) == second
    assert bundle.serving is not None
    assert "not signed" in (bundle.serving.refused or "")


def test_the_list_changes_only_by_those_on_it(lab: Lab, team: dict[str, Path]) -> None:
    lab.land({SIGNERS: listed(team["eve"])})
    lab.land({SIGNERS: None})
    assert signatures.trusted(lab.origin, lab.tip) == listed(team["ann"])
    both = listed(team["ann"], team["bob"])
    lab.origin.git("update-ref", "refs/heads/main", signed_commit(lab, {SIGNERS: both}))
    assert signatures.trusted(lab.origin, lab.tip) == both
    lab.branch("list", {SIGNERS: listed(team["eve"])})
    assert [finding.subject for finding in check(lab.state(), lab.origin.resolve("list")).findings] == [
        SIGNERS
    ]


def test_main_cannot_take_the_demand_back(
    lab: Lab,
    team: dict[str, Path],
    make: Make,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUIRE_SIGNED_RELEASES", "true")
    bundle = make()
    first = version(bundle)
    off = (lab.origin.read("main", STAGING) or b"").replace(b"RELEASES=true", b"RELEASES=false")
    lab.land({STAGING: off, FILE: f"commit: {lab.train('b')}\n".encode()})
    bundle.refresh()
    assert version(bundle) == first


def test_nobody_can_make_a_signed_environment_follow_main(
    lab: Lab,
    team: dict[str, Path],
    make: Make,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even a commit of main that somebody listed signed for another reason is no release there."""
    monkeypatch.setenv("REQUIRE_SIGNED_RELEASES", "true")
    bundle = make()
    first = version(bundle)
    off = (lab.origin.read("main", STAGING) or b"").replace(b"RELEASES=true", b"RELEASES=false")
    lab.land(
        {
            STAGING: off,
            FILE: b"follow: main\n",
            "environments/staging/environment.yaml": b"title: Staging\ncolor: violet\n",
            "environments/dev/environment.yaml": b"title: Development\ncolor: teal\nafter: [staging]\n",
            "environments/dev/release.yaml": b"commit: null\n",
        }
    )
    lab.train("b", verified=False)
    lab.origin.git("update-ref", "refs/heads/main", signed_commit(lab, {"README.md": b"signed\n"}))
    assert lab.state().environments.root == "staging"
    bundle.refresh()
    assert version(bundle) == first
    assert bundle.serving is not None
    assert "staging follows main, but asks for signed releases" in (bundle.serving.refused or "")


def test_settings_and_list_go_together(lab: Lab, key: Callable[[str], Path]) -> None:
    lab.branch("settings", asked_for(lab, PROD))
    lab.branch("list", {SIGNERS: listed(key("ann"))})
    lab.branch("both", asked_for(lab, PROD) | {SIGNERS: listed(key("bob"))})
    lab.branch("dev", asked_for(lab, "environments/dev/settings.env"))
    said = {
        name: "\n".join(map(str, check(lab.state(), lab.origin.resolve(name)).findings))
        for name in ("settings", "list", "both", "dev")
    }
    assert "asks for signed releases, but there is no environments/allowed_signers" in said["settings"]
    assert "write REQUIRE_SIGNED_RELEASES=true" in said["list"]
    assert said["both"] == ""
    assert "dev follows main, signed or not; write false" in said["dev"]


def test_without_a_list_nothing_is_taken(lab: Lab, make: Make) -> None:  # noqa: F811
    lab.land(asked_for(lab, STAGING))
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    bundle = make()
    assert bundle.serving is not None
    assert bundle.serving.commit is None
    assert "lists nobody who may sign it" in (bundle.serving.refused or "")


def test_promotions_are_signed_only_where_the_user_wants_it(lab: Lab, key: Callable[[str], Path]) -> None:
    lab.train("a")
    assert not signatures.signed(lab.clone, promote(lab.state(), "staging", lab.remote).commit)
    use(lab, key("ann"))
    assert signatures.signed(lab.clone, promote(lab.state(), "staging", lab.remote).commit)
