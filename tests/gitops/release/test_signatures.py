"""Signed releases, with real keys."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops.airflow.bundle import ReleaseBundle
from gitops.errors import RuleError
from gitops.git.repository import Repository
from gitops.promotion.holds import unhold
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from gitops.release import signatures
from gitops.release.keys import path_of
from gitops.release.load import fetch_state
from gitops.release.signatures import SIGNERS, Trust
from gitops.release.verdicts import record
from tests.support.bundles import UNCHECKED, Make, version
from tests.support.lab import Lab

# git verifies with it. Where it is there, these attacks are tried in `make test` too.
pytestmark = [] if shutil.which("ssh-keygen") else pytest.mark.system("ssh-keygen")

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


def refusals(lab: Lab, commit: str) -> str:
    return "; ".join(map(str, check(lab.clone, lab.state(), commit).findings))


@pytest.fixture
def team(lab: Lab, key: Callable[[str], Path]) -> dict[str, Path]:
    """Ann is listed, Eve is not; staging asks for signatures, and runs a model."""
    keys = {name: key(name) for name in ("ann", "bob", "eve")}
    lab.land(asked_for(lab, STAGING, PROD) | {SIGNERS: listed(keys["ann"])})
    lab.train("a")
    use(lab, keys["ann"])
    lab.release("staging")
    return keys


def test_a_signed_promotion_goes_all_the_way(lab: Lab, team: dict[str, Path], make: Make) -> None:
    bundle = make()
    first = version(bundle)
    assert bundle.serving is not None
    assert bundle.serving.refused is None
    lab.train("b")
    second = lab.release("staging")
    bundle.refresh()
    assert version(bundle) == second != first

    state = lab.state()
    push(lab.clone, lab.remote, rollback(lab.clone, state, "staging", lab.remote))
    lab.merge("rollback/staging")
    bundle.refresh()
    assert version(bundle) == first
    assert bundle.serving.refused is None
    state = lab.state()
    push(lab.clone, lab.remote, unhold(lab.clone, state, "staging", lab.remote))
    lab.merge("unhold/staging")
    bundle.refresh()
    assert bundle.serving.refused is None


@pytest.mark.parametrize("who", [None, "eve"])
def test_what_nobody_listed_signed_is_refused(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
    lines: list[str],
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
    fresh = ReleaseBundle(name="fresh", environment="staging", refresh_interval=10, **UNCHECKED)
    fresh.initialize()
    assert version(fresh) == first


def test_check_says_it_before_the_merge(lab: Lab, team: dict[str, Path]) -> None:
    lab.train("b")
    use(lab, None)
    lab.promote("staging")
    with pytest.raises(RuleError, match="is not signed with an SSH key; sign it, then propose"):
        lab.merge("promote/staging")
    use(lab, team["ann"])
    again = lab.promote("staging")
    assert again.known is False
    assert signatures.signed(lab.clone, again.commit)
    lab.merge("promote/staging")


def test_only_who_is_listed_promotes_outside_of_the_calendar(lab: Lab, team: dict[str, Path]) -> None:
    lab.train("b")
    freeze = b"windows: [{rule: deny, reason: freeze, start: 2020-01-01, end: 2099-01-01}]\n"
    demand = lab.origin.read("main", STAGING) or b""
    lab.land(
        {"environments/calendar.yaml": freeze, STAGING: demand.replace(b"RELEASES=true", b"RELEASES=false")}
    )
    lab.verify("dev", lab.tip)
    use(lab, None)
    with pytest.raises(
        RuleError, match="staging: an override must be signed, and git signs no commits here; set"
    ):
        promote(lab.clone, lab.state(), "staging", lab.remote, override="incident 42")
    # Eve's own commit, past the command
    use(lab, team["eve"])
    proposal = promote(lab.clone, lab.state(), "staging", lab.remote, override="incident 42")
    assert "Outside of the calendar: incident 42" in proposal.message
    assert "no valid signature of a listed signer" in refusals(lab, proposal.commit)
    use(lab, team["ann"])
    proposal = promote(lab.clone, lab.state(), "staging", lab.remote, override="incident 42")
    assert refusals(lab, proposal.commit) == ""


def test_without_a_list_nobody_promotes_outside_of_the_calendar(lab: Lab, key: Callable[[str], Path]) -> None:
    lab.train("a")
    use(lab, key("ann"))
    proposal = promote(lab.clone, lab.state(), "staging", lab.remote, override="incident 42")
    assert f"override: there is no {SIGNERS}" in refusals(lab, proposal.commit)


def test_only_those_on_the_list_take_the_demand_back(lab: Lab, team: dict[str, Path]) -> None:
    lowered = {
        STAGING: (lab.origin.read("main", STAGING) or b"").replace(b"RELEASES=true", b"RELEASES=false")
    }
    lab.branch("unsigned", lowered)
    (finding,) = check(lab.clone, lab.state(), lab.origin.resolve("unsigned")).findings
    assert str(finding).startswith(f"{STAGING}: ")
    assert "is not signed with an SSH key; sign it, then propose" in str(finding)
    use(lab, team["ann"])
    lab.origin.git("update-ref", "refs/heads/signed-change", signed_commit(lab, lowered))
    assert check(lab.clone, lab.state(), lab.origin.resolve("signed-change")).findings == ()
    # Other settings need nobody's signature.
    lab.branch("retries", {STAGING: (lab.origin.read("main", STAGING) or b"") + b"# more\n"})
    assert check(lab.clone, lab.state(), lab.origin.resolve("retries")).findings == ()


def test_an_old_signature_cannot_be_used_again(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
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
    assert Trust(lab.origin, lab.tip, ()).lists.signers == listed(team["ann"])
    both = listed(team["ann"], team["bob"])
    lab.origin.git("update-ref", "refs/heads/main", signed_commit(lab, {SIGNERS: both}))
    assert Trust(lab.origin, lab.tip, ()).lists.signers == both
    lab.branch("list", {SIGNERS: listed(team["eve"])})
    assert [
        finding.subject for finding in check(lab.clone, lab.state(), lab.origin.resolve("list")).findings
    ] == [SIGNERS]


@pytest.mark.parametrize("variable", ["REQUIRE_SIGNED_RELEASES", "VISAGE_TRUST_ROOT"])
def test_main_cannot_take_the_demand_back(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, "true" if variable.startswith("REQUIRE") else lab.tip)
    bundle = make()
    first = version(bundle)
    off = (lab.origin.read("main", STAGING) or b"").replace(b"RELEASES=true", b"RELEASES=false")
    lab.land({STAGING: off, FILE: f"commit: {lab.train('b')}\n".encode()})
    bundle.refresh()
    assert version(bundle) == first


def test_nobody_can_make_a_signed_environment_follow_main(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
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
        name: "\n".join(map(str, check(lab.clone, lab.state(), lab.origin.resolve(name)).findings))
        for name in ("settings", "list", "both", "dev")
    }
    assert "requires signed releases, but there is no environments/allowed_signers" in said["settings"]
    assert "write REQUIRE_SIGNED_RELEASES=true" in said["list"]
    assert said["both"] == ""
    assert "dev follows main, signed or not; write false" in said["dev"]


def test_without_a_list_nothing_is_taken(lab: Lab, make: Make) -> None:
    lab.land(asked_for(lab, STAGING))
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    bundle = make()
    assert bundle.serving is not None
    assert bundle.serving.commit is None
    assert "lists nobody who may sign it" in (bundle.serving.refused or "")


def test_promotions_are_signed_only_where_the_user_wants_it(lab: Lab, key: Callable[[str], Path]) -> None:
    lab.train("a")
    assert not signatures.signed(lab.clone, promote(lab.clone, lab.state(), "staging", lab.remote).commit)
    use(lab, key("ann"))
    assert signatures.signed(lab.clone, promote(lab.clone, lab.state(), "staging", lab.remote).commit)


def merge_commit(lab: Lab, first: str, second: str, content: str) -> str:
    """Merge by hand, with the files of `content`."""
    return lab.origin.git(
        *("commit-tree", "-p", first, "-p", second, "-m", "Merge", f"{content}^{{tree}}"),
        env=lab.origin.identity(),
    )


def foxtrot(lab: Lab, team: dict[str, Path], *, on: str | None) -> str:
    """Let Eve push a main of her own: its first parent, `on` or a root, has her list and her release."""
    old, evil = lab.tip, lab.commit({"dags/example.py": b"evil = 1\n"})
    use(lab, team["eve"])
    files = {SIGNERS: listed(team["eve"]), path_of("staging"): lab.key("eve").line("staging")}
    files[FILE] = f"commit: {evil}\n".encode()
    lab.clone.fetch(lab.remote)
    lab.origin.git("update-ref", "refs/heads/evil", evil)
    lab.clone.fetch(lab.remote)
    content = lab.clone.commit_files(evil, files, "Mine")
    lab.clone.push(lab.remote, {"refs/heads/mine": content})
    parents = ("-p", on) if on else ()
    first = lab.clone.git(
        *("commit-tree", "--gpg-sign", *parents, "-m", "Mine", f"{content}^{{tree}}"),
        env=lab.clone.identity(),
    )
    lab.clone.push(lab.remote, {"refs/heads/first": first})
    merge = merge_commit(lab, first, old, content)
    merge = lab.origin.git(
        *("commit-tree", "-p", first, "-p", old, "-p", evil, "-m", "Merge", f"{merge}^{{tree}}"),
        env=lab.origin.identity(),
    )
    assert lab.origin.is_ancestor(old, merge)  # so no force is needed
    lab.origin.git("update-ref", "refs/heads/main", merge)
    return old


def test_a_main_with_a_first_parent_of_somebodys_own_is_refused(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = lab.tip
    bundle = make()
    first = version(bundle)
    old = foxtrot(lab, team, on=None)
    bundle.refresh()
    assert version(bundle) == first
    assert f"made {old[:12]}, which it pointed to, a side branch" in lines[-1]

    # A new machine does not know main yet. It has a commit that it was started with.
    monkeypatch.setenv("VISAGE_TRUST_ROOT", root)
    fresh = ReleaseBundle(name="fresh", environment="staging", refresh_interval=10, **UNCHECKED)
    fresh.initialize()
    assert fresh.serving is not None
    assert fresh.serving.commit is None
    assert f"did not grow out of its trust root {root[:12]}" in (fresh.serving.refused or "")
    state = fetch_state(lab.clone, lab.remote, commits=[first])
    assert state.verdicts.verified("staging", first) is None
    findings = check(lab.clone, state, lab.tip).findings
    assert any("did not grow out of its trust root" in finding.problem for finding in findings)


@pytest.mark.parametrize("environment", ["dev", "staging"])
def test_a_main_without_the_trust_root_declares_nothing(
    lab: Lab,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
) -> None:
    """Whether releases are signed or not: what runs goes on, and a new machine runs nothing."""
    lab.declare("staging", f"commit: {lab.train('a')}\n")
    bundle = make(environment)
    first = version(bundle)
    lab.declare("staging", f"commit: {lab.train('b')}\n")
    monkeypatch.setenv("VISAGE_TRUST_ROOT", "a" * 40)
    bundle.refresh()
    fresh = ReleaseBundle(name="fresh", environment=environment, refresh_interval=10, **UNCHECKED)
    fresh.initialize()
    assert version(bundle) == first
    assert fresh.serving is not None
    assert fresh.serving.commit is None
    assert "there is no commit aaaaaaaaaaaa here" in (fresh.serving.refused or "")


def test_the_commands_of_the_message_put_main_back(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
    lines: list[str],
) -> None:
    bundle = make()
    first = version(bundle)
    old = foxtrot(lab, team, on=None)
    bundle.refresh()
    assert f"git switch --detach {old} && git merge --no-ff {lab.tip}" in lines[-1]
    # The merge keeps main's files, and has main as its first parent: a fast-forward for everybody.
    lab.origin.git("update-ref", "refs/heads/main", merge_commit(lab, old, lab.tip, old))
    bundle.refresh()
    assert version(bundle) == first
    assert bundle.serving is not None
    assert bundle.serving.refused is None


def test_a_new_machine_trusts_the_list_that_it_was_started_with(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Main is rewritten from the trust root on, with a list of Eve's and a release that she signed."""
    pinned = tmp_path / "trust-root"
    pinned.write_text(f"{lab.tip}\n")
    monkeypatch.setenv("VISAGE_TRUST_ROOT", str(pinned))
    good = version(make())
    foxtrot(lab, team, on=lab.tip)
    fresh = ReleaseBundle(name="fresh", environment="staging", refresh_interval=10, **UNCHECKED)
    fresh.initialize()
    assert version(fresh) == good
    assert Trust.load(lab.origin, lab.tip, ("staging",)).lists.signers == listed(team["ann"])
    pinned.unlink()
    assert "No such file" in (Trust.load(lab.origin, lab.tip, ("staging",)).lists.problem or "")


@pytest.mark.parametrize("again", [False, True], ids=["main moved on", "main came back"])
def test_a_signature_counts_only_for_the_state_that_it_changed(
    lab: Lab,
    team: dict[str, Path],
    make: Make,
    again: bool,
) -> None:
    """Ann signed a proposal, and nobody merged it. It is of no use later, even where the file is the same."""
    lab.train("b")
    left = lab.promote("staging")
    lab.origin.git("update-ref", "-d", f"refs/heads/{left.branch}")
    lab.train("c")
    kept = lab.release("staging")
    if again:
        first = left.before.commit
        for proposal in (rollback, unhold):
            state = lab.state()
            made = proposal(lab.clone, state, "staging", lab.remote)
            push(lab.clone, lab.remote, made)
            lab.merge(made.branch)
        assert lab.state().present("staging").commit == first
        kept = str(first)
    bundle = make()
    assert version(bundle) == kept
    content = lab.commit({FILE: lab.origin.read(left.commit, FILE)})
    merge = merge_commit(lab, lab.tip, left.commit, content)
    lab.origin.git("update-ref", "refs/heads/main", merge)
    assert lab.origin.read("main", FILE) == lab.origin.read(left.commit, FILE)
    bundle.refresh()
    assert version(bundle) == kept
    assert bundle.serving is not None
    assert "not signed" in (bundle.serving.refused or "")


def test_only_who_may_changes_the_keys_of_an_environment(lab: Lab, team: dict[str, Path]) -> None:
    path = path_of("staging")

    def keys() -> frozenset[bytes]:
        found = Trust(lab.origin, lab.tip, ("dev", "staging", "canary")).lists.keys("staging")
        assert found is not None
        return found.keys

    own, stolen, other = lab.key("staging"), lab.key("dev"), lab.key("other")
    lab.land({path: other.line("staging")})
    assert keys() == {own.public}
    use(lab, lab.keys / "dev")
    both = own.line("staging") + other.line("staging")
    lab.origin.git("update-ref", "refs/heads/main", signed_commit(lab, {path: stolen.line("staging")}))
    assert keys() == {own.public}
    # The environment itself, and who may release, may.
    use(lab, lab.keys / "staging")
    lab.origin.git("update-ref", "refs/heads/main", signed_commit(lab, {path: both}))
    assert keys() == {own.public, other.public}
    use(lab, team["ann"])
    lab.origin.git("update-ref", "refs/heads/main", signed_commit(lab, {path: other.line("staging")}))
    assert keys() == {other.public}

    # Once there are signers, they sign the first list of a new environment too.
    lab.land({path_of("canary"): other.line("canary")})
    assert Trust(lab.origin, lab.tip, ("canary",)).lists.keys("canary") is None
    lab.branch("keys", {path: own.line("staging"), path_of("dev"): b"# nobody\neve ssh-rsa AAAA\n"})
    found = {
        finding.subject: finding
        for finding in check(lab.clone, lab.state(), lab.origin.resolve("keys")).findings
    }
    assert found.keys() == {path, path_of("dev")}
    assert "is not signed with an SSH key" in found[path].problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gpg.minTrustLevel", "ultimate"),
        ("gpg.ssh.program", "false"),
        ("gpg.ssh.revocationFile", "REVOKED"),
        ("gpg.ssh.allowedSignersFile", "/dev/null"),
        ("gpg.format", "x509"),
        ("gpg.program", "false"),
        ("tag.gpgSign", "true"),
    ],
)
def test_no_configuration_of_a_user_changes_who_may_sign(
    lab: Lab, team: dict[str, Path], tmp_path: Path, name: str, value: str
) -> None:
    if value == "REVOKED":
        revoked = tmp_path / "revoked"
        revoked.write_bytes(team["ann"].with_suffix(".pub").read_bytes())
        value = str(revoked)
    by = lab.state().declared("staging")
    subprocess.run(["git", "config", "--global", name, value], check=True, timeout=60)
    clone = Repository(lab.clone.path)
    assert signatures.objection(Trust(clone, lab.tip, ()), by) is None
    commit = lab.train("b", verified=False)
    clone.fetch(lab.remote)
    record(clone, lab.remote, lab.verdict("dev", commit), lab.key("dev"))
    assert lab.state().verdicts.verified("dev", commit)


def test_a_signature_of_another_kind_does_not_hide_behind_one_of_ssh(
    lab: Lab, team: dict[str, Path], tmp_path: Path
) -> None:
    """Git reads all signatures of a commit as one, and asks the program of the first: here, GnuPG.

    GnuPG accepts the keys that somebody has in their keyring, whoever is listed.
    """
    use(lab, team["eve"])
    commit = signed_commit(lab, {FILE: f"commit: {lab.tip}\n".encode()})
    armored = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n"
    content = lab.clone.git("cat-file", "commit", commit).replace("gpgsig ", f"{armored}gpgsig ", 1)
    write = ("hash-object", "-t", "commit", "-w", "--stdin", "--literally")
    forged = lab.clone.git(*write, input=f"{content}\n")
    keyring = tmp_path / "keyring"
    good = "[GNUPG:] GOODSIG 1 Eve\\n[GNUPG:] TRUST_FULLY 0 pgp"
    keyring.write_text(f"#!/bin/sh\ncat > /dev/null\nprintf '\\n{good}\\n'\n")
    keyring.chmod(0o755)
    for name in ("gpg.program", "gpg.openpgp.program"):
        subprocess.run(["git", "config", "--global", name, str(keyring)], check=True, timeout=60)
    clone = Repository(lab.clone.path)
    assert clone.run("verify-commit", forged).returncode == 0, "it is a signature that GnuPG accepts"
    for known in (forged, commit):
        reason = signatures.verify(clone, known, listed(team["ann"]))
        assert reason is not None
        assert known[:12] in reason


@pytest.mark.long
def test_a_date_in_a_list_does_not_stop_who_has_the_key(lab: Lab, team: dict[str, Path]) -> None:
    """Git compares `valid-before` with the date that a commit states."""
    address, _, key = listed(team["ann"]).decode().partition(" ")
    expired = f'{address} valid-before="20230101" {key}'.encode()
    for year, counts in ((2024, False), (2022, True)):
        dates = {"GIT_COMMITTER_DATE": f"{year}-01-01T00:00:00Z"}
        tree, variables = f"{lab.clone.resolve('HEAD')}^{{tree}}", lab.clone.identity() | dates
        commit = lab.clone.git("commit-tree", "-S", "-m", "Old", tree, env=variables)
        assert (signatures.verify(lab.clone, commit, expired) is None) is counts
