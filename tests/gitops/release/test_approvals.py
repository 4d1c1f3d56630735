"""Approvals, with real keys and real tags."""

import base64
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.airflow.ask import collect
from gitops.cli import app
from gitops.errors import RuleError
from gitops.forge.interface import Status
from gitops.forge.plain import PlainGit
from gitops.forge.promotions import PromotionStatus, apply, plan
from gitops.promotion.merge import check, merge
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import push
from gitops.release import approvals
from gitops.release.approvals import Approval, Approvals, give
from gitops.release.keys import PrivateKey
from gitops.release.signatures import SIGNERS, people
from tests.support.forge import Forge
from tests.support.forge_server import client, serve
from tests.support.lab import ROOT, Lab

pytestmark = [] if shutil.which("ssh-keygen") else pytest.mark.system("ssh-keygen")

FILE = "environments/staging/environment.yaml"
PEOPLE = ("ann", "bob", "cid", "dot")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    for name in (*PEOPLE, "eve"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    return {name: folder / name for name in (*PEOPLE, "eve")}


def asks(lab: Lab, text: str) -> None:
    lab.land({FILE: (lab.origin.read("main", FILE) or b"") + f"\n{text}\n".encode()})


def use(lab: Lab, keys: dict[str, Path], name: str, *, signs: bool = True) -> None:
    """Let a person use the clone."""
    config = {
        "user.name": name,
        "user.email": f"{name}@example.com",
        "gpg.format": "ssh",
        "user.signingKey": str(keys[name]),
        "commit.gpgSign": str(signs).lower(),
    }
    for key, value in config.items():
        lab.clone.git("config", key, value)


@pytest.fixture
def release(lab: Lab, keys: dict[str, Path]) -> str:
    """A release of dot's that dev verified, and staging asks for two approvals of it."""
    lines = [f"{name}@example.com {keys[name].with_suffix('.pub').read_text()}" for name in PEOPLE]
    freed = (lab.origin.read("main", "environments/prod/settings.env") or b"").replace(
        b"SIGNED_RELEASES=false", b"SIGNED_RELEASES=true"
    )
    lab.land({SIGNERS: "".join(lines).encode(), "environments/prod/settings.env": freed})
    asks(lab, "approvals: 2")
    lab.train("a")
    lab.clone.fetch(lab.remote)
    use(lab, keys, "dot")
    change = lab.clone.commit_files(lab.tip, {"params.yaml": b"profile: full\n"}, "Mine", sign=True)
    lab.clone.push(lab.remote, {"refs/heads/main": change})
    restored = lab.land({"params.yaml": lab.origin.read(f"{change}~1", "params.yaml")})
    lab.verify("dev", restored)
    use(lab, keys, "ann")
    return lab.tip


def run(lab: Lab, *arguments: str) -> Result:
    before = Path.cwd()
    os.chdir(lab.clone.path)
    try:
        return CliRunner().invoke(app, [*arguments, "--remote", lab.remote])
    finally:
        os.chdir(before)


def approve(lab: Lab, keys: dict[str, Path], name: str, *, days_ago: float = 0) -> None:
    use(lab, keys, name)
    state = lab.state()
    at = datetime.now(UTC) - timedelta(days=days_ago)
    tag, _ = give(lab.clone, state.lists, state.environments["staging"], lab.tip, now=at)
    lab.clone.push(lab.remote, {f"refs/tags/{tag.name}": tag.object_id})


def status(lab: Lab, by: str = "cid@example.com") -> PromotionStatus:
    """Return the status of the promotion that somebody would make."""
    lab.clone.git("config", "user.email", by)
    return plan(lab.clone, lab.state(), "staging", lab.remote)


def test_two_people_approve_and_a_third_promotes(lab: Lab, keys: dict[str, Path], release: str) -> None:
    short = release[:12]
    found = status(lab)
    assert found.state == "wait"
    assert found.text == (
        f"{short} is due, and has 0 of 2 approvals; somebody else approves it: "
        f".venv/bin/gitops approve staging {short} --push"
    )
    with pytest.raises(RuleError, match=f"{short} has 0 of 2 approvals for staging; somebody else approves"):
        promote(lab.clone, lab.state(), "staging", lab.remote)
    shown = run(lab, "approve", "staging")
    assert f"Release: no release -> {short}" in shown.output
    assert "staging: 0 of 2 approvals. To approve it:" in shown.output
    assert lab.origin.tags("approved") == []
    pushed = run(lab, "approve", "staging", "--push")
    assert pushed.exit_code == 0, pushed.output
    assert "staging: 1 of 2 approvals (ann@example.com)" in pushed.output
    # The same person again counts once, and no tag is left in the clone
    assert run(lab, "approve", "staging", release[:10], "--push").exit_code == 0
    assert lab.clone.tags("approved") == []
    assert "has 1 of 2 approvals (ann@example.com)" in status(lab).text
    use(lab, keys, "bob")
    enough = run(lab, "approve", "staging", "--push")
    assert "staging: 2 of 2 approvals" in enough.output
    assert "gitops promote staging --push --wait" in enough.output
    # Bob would be an author of the promotion, and his approval would not count.
    assert "1 of 2 approvals (ann@example.com); not counted: bob@example.com is an author of the" in (
        status(lab, "bob@example.com").text
    )
    use(lab, keys, "cid")
    proposal = promote(lab.clone, lab.state(), "staging", lab.remote)
    assert check(lab.clone, lab.state(), proposal.commit).findings == ()
    # The same, made by one of the two
    use(lab, keys, "bob")
    forged = lab.clone.commit_files(
        lab.tip, {"environments/staging/release.yaml": f"commit: {release}\n".encode()}, "Mine", sign=True
    )
    (finding,) = check(lab.clone, lab.state(), forged).findings
    assert "has 1 of 2 approvals (ann@example.com); not counted: bob@example.com is" in finding.problem


def test_authors_strangers_and_old_approvals_do_not_count(
    lab: Lab, keys: dict[str, Path], release: str
) -> None:
    asks(lab, "approvals_days: 3")
    lab.verify("dev", lab.tip)
    approve(lab, keys, "ann", days_ago=4)
    assert status(lab).text.count("0 of 2 approvals;") == 1
    (ignored,) = lab.state().approvals.ignored
    assert f"approved/staging/{lab.tip[:12]}/ann-example-com: ignored, it was over on " in str(ignored)
    # Her new one takes the place of the one that is over
    use(lab, keys, "ann")
    assert run(lab, "approve", "staging", "--push").exit_code == 0
    use(lab, keys, "eve")
    refused = run(lab, "approve", "staging", "--push")
    assert refused.exit_code == 1
    assert "no valid signature of a listed signer" in refused.output
    # Eve under the name of cid, past the command
    body = lab.clone.signed_tag(lab.tip, f"approved/staging/{lab.tip[:12]}/cid-example-com", "x", at=at())
    lab.clone.push(lab.remote, {f"refs/tags/{body.name}": body.object_id})
    assert len(lab.state().approvals.given) == 1
    assert [str(one) for one in lab.state().approvals.ignored] == [
        f"{body.name}: ignored, its message is not that of an approval"
    ]


def fragment() -> bytes:
    """Return a signature that names three zero bytes as its key: AAAA, with which each listed key begins."""
    encoded = base64.b64encode(b"SSHSIG" + struct.pack(">II", 1, 3) + bytes(3))
    return b"-----BEGIN SSH SIGNATURE-----\n" + encoded + b"\n-----END SSH SIGNATURE-----\n"


def test_a_flood_of_approvals_of_nobody_hides_none(
    lab: Lab, keys: dict[str, Path], release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each newer than the real ones, and more of them than are verified."""
    monkeypatch.setattr(approvals, "_MOST", 2)
    approve(lab, keys, "ann", days_ago=1)
    approve(lab, keys, "bob", days_ago=1)
    eve = PrivateKey(keys["eve"].read_bytes(), "eve")
    ann = PrivateKey(keys["ann"].read_bytes(), "ann")
    # Of a listed key and another tag, and of a key whose text is a part of each listed one
    signs = (eve.sign, None, eve.sign, *[lambda _: ann.sign(b"another")] * 3, *[lambda _: fragment()] * 3)
    for number, sign in enumerate(signs):
        now = datetime.now(UTC).replace(microsecond=0)
        claim = Approval(environment="staging", release=release, at=now)
        lab.origin.git(
            "update-ref",
            f"refs/tags/{claim.folder}{number}",
            lab.origin.tag(release, f"{claim.folder}{number}", claim.message, at=now, sign=sign),
        )
    found = lab.state().approvals
    assert {one.by for one in found.given} == {"ann@example.com", "bob@example.com"}
    assert len(found.ignored) == len(signs)
    assert status(lab).state == "open"


def test_a_person_with_two_keys_or_two_addresses_is_one(
    lab: Lab, keys: dict[str, Path], release: str
) -> None:
    def line(addresses: str, name: str) -> str:
        return f"{addresses} {keys[name].with_suffix('.pub').read_text()}"

    # Ann has two keys. A third line, with a key of before, shows that they are of one person.
    lines = [line("ann@example.com", "ann"), line("ann@home.example", "bob"), line("cid@example.com", "cid")]
    lines.append(line("dot@example.com", "dot"))
    other = line("Ann@Home.example,ann@example.com", "eve")
    for listed, state in ((lines, "open"), ([*lines, other], "1 of 2 approvals")):
        use(lab, keys, "dot")  # only people on the list change it, and authors approve nothing
        lab.clone.fetch(lab.remote)
        changed = lab.clone.commit_files(lab.tip, {SIGNERS: "".join(listed).encode()}, "List", sign=True)
        lab.clone.push(lab.remote, {"refs/heads/main": changed})
        for name in ("ann", "bob"):
            approve(lab, keys, name)
        assert state in (status(lab).state, status(lab).text.partition(", and has ")[2].partition(" (")[0])
    approve(lab, keys, "cid")
    assert status(lab, "gus@example.com").state == "open"
    # Nobody approves a promotion of theirs under another address, nor with another key.
    assert "1 of 2 approvals (cid@example.com)" in status(lab, "ann@home.example").text


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("a@x ssh-ed25519 A\nb@x ssh-ed25519 B\n", [["a@x"], ["b@x"]]),
        ("a@x,b@x ssh-ed25519 A\nB@X ssh-ed25519 B\n", [["a@x", "b@x"]]),
        ("a@x ssh-ed25519 A\nb@x ssh-ed25519 B\nb@x,a@x ssh-ed25519 C\n", [["a@x", "b@x"]]),
        ('a@x ssh-ed25519 A a\nb@x namespaces="git" ssh-ed25519 A b\n', [["a@x", "b@x"]]),
        ("# a@x ssh-ed25519 A\n\na@x sk-ssh-ed25519@openssh.com A\n", [["a@x"]]),
    ],
)
def test_lines_of_one_person_have_an_address_or_a_key_in_common(listed: str, found: list[list[str]]) -> None:
    assert sorted(map(sorted, people(listed.encode()))) == found


def test_approvals_of_before_a_rollback_do_not_count(lab: Lab, keys: dict[str, Path], release: str) -> None:
    for name in ("ann", "bob"):
        approve(lab, keys, name, days_ago=1)
    assert status(lab).state == "open"
    lab.declare("staging", f"commit: {release}\n")
    before = lab.origin.resolve(f"{release}~1")
    lab.declare("staging", f"commit: {before}\nhold: it is bad\n")
    lab.declare("staging", f"commit: {before}\n")
    text = status(lab).text
    assert "0 of 2 approvals; not counted: bob@example.com approved it before staging left it" in text
    approve(lab, keys, "ann")
    assert "1 of 2 approvals (ann@example.com); not counted: bob@example.com approved" in status(lab).text


def at() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.mark.long
def test_who_had_a_part_in_the_change_cannot_approve_it(
    lab: Lab, keys: dict[str, Path], release: str
) -> None:
    for name in ("ann", "bob"):
        approve(lab, keys, name)
    use(lab, keys, "cid")
    lab.merge(lab.promote("staging").branch)
    lab.clone.fetch(lab.remote)
    use(lab, keys, "dot")
    lab.clone.git("config", "user.email", "someone@else.example")  # her key still tells
    change = {"requirements.lock": b"new\n"}
    commit = lab.clone.commit_files(
        lab.tip, change, "Better\n\nCo-authored-by: Bob <Bob@Example.com>\n", sign=True
    )
    lab.clone.push(lab.remote, {"refs/heads/main": commit})
    lab.verify("dev", commit)
    for name in ("dot", "bob"):
        use(lab, keys, name)
        refused = run(lab, "approve", "staging", "--push")
        assert f"would not count: {name}@example.com is an author of the change" in refused.output
    assert status(lab).text.startswith(f"{commit[:12]} is due, and has 0 of 2")
    # They may approve what others did, and the promotion of before needs nothing to go back.
    for name in ("ann", "cid"):
        approve(lab, keys, name)
    assert status(lab, "bob@example.com").state == "open"


@pytest.mark.long
def test_a_list_that_is_too_short_and_a_policy_without_a_window(lab: Lab, release: str) -> None:
    def refusal(text: str) -> str:
        content = (lab.origin.read("main", FILE) or b"").replace(b"approvals: 2", text.encode())
        commit = lab.branch("policy", {FILE: content})
        return "; ".join(map(str, check(lab.clone, lab.state(), commit).findings))

    assert "approvals: 5 are asked for, environments/allowed_signers lists 4 people" in refusal(
        "approvals: 5"
    )
    assert "no allow window for staging" in refusal("promotion: in-windows")
    assert "promotion: 'always'" in refusal("promotion: always")
    root = lab.branch("root", {"environments/dev/environment.yaml": b"title: D\ncolor: teal\napprovals: 1\n"})
    (finding,) = check(lab.clone, lab.state(), root).findings
    assert str(finding) == "environments/dev/environment.yaml: approvals: dev follows main; take it out"


def test_status_shows_approvals_and_policy(lab: Lab, keys: dict[str, Path], release: str) -> None:
    approve(lab, keys, "ann")
    rows = {row.environment: row for row in collect(lab.clone, lab.state(), {})}
    shown = rows["staging"].plain()
    assert shown["promotion"] == "by-hand"
    assert json.loads(json.dumps(shown["approvals"]))["text"] == "1 of 2 approvals (ann@example.com)"
    assert rows["prod"].approvals is None
    assert f"{release[:12]} has 1 of 2 approvals (ann@example.com)" in run(lab, "status").output


def test_an_environment_without_approvals_asks_git_for_none(lab: Lab) -> None:
    state = lab.state()
    assert Approvals.load(lab.clone, state.lists, state.environments).given == ()
    assert "prod asks for no approvals" in run(lab, "approve", "prod").output


def test_visage_merges_by_itself_once_it_may(lab: Lab) -> None:
    asks(lab, "promotion: after-soak")
    lab.verify("dev", lab.train("a"))
    state, forge = lab.state(), PlainGit(lab.clone, lab.remote)
    found = apply(forge, lab.clone, state, lab.remote, plan(lab.clone, state, "staging", lab.remote))
    assert found.text.endswith("; merged")
    assert lab.state().present("staging").commit == state.tip


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[Forge]:
    forge = Forge(tmp_path / "github")
    forge.repository.path.parent.mkdir(parents=True)
    forge.repository.path.symlink_to(lab.origin.path)
    with serve(forge):
        yield forge


def test_a_forge_merges_what_its_rules_let_it(lab: Lab, hub: Forge) -> None:
    path = ".github/rulesets/main.json"
    rules = json.loads((ROOT / path).read_text())
    lab.land({path: json.dumps(rules).encode()})
    asks(lab, "promotion: after-soak")
    found = lab.train("a")
    github = client(hub, **{"pull-requests": "write", "statuses": "write", "contents": "write"})

    def step() -> str:
        state = lab.state()
        return apply(github, lab.clone, state, "origin", plan(lab.clone, state, "staging", "origin")).text

    assert step().endswith("; not merged: verdict: not judged yet")
    (pull,) = github.proposals()
    github.set_status(pull.head, "verdict", Status("failure", "2 rules", "https://example.org/1"))
    assert step().endswith("; not merged: verdict: 2 rules")
    github.set_status(pull.head, "verdict", Status("success", "may be merged", "https://example.org/2"))
    assert "; not merged: GitHub: PUT pulls/2/merge: 405" in step()
    for rule in rules["rules"]:
        if rule["type"] == "pull_request":
            rule["parameters"] |= {"required_approving_review_count": 0, "require_code_owner_review": False}
            rule["parameters"]["require_last_push_approval"] = False
    lab.land({path: json.dumps(rules).encode()})
    assert step().endswith("; not merged: verdict: not judged yet")  # main is another, and so is the branch
    (pull,) = github.proposals()
    github.set_status(pull.head, "verdict", Status("success", "may be merged", "https://example.org/3"))
    assert step().endswith("; merged")
    state = lab.state()
    assert state.same(state.present("staging").commit, found)


def test_an_approval_that_is_over_at_the_merge_does_not_count(
    lab: Lab, keys: dict[str, Path], release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counted when the pull request was checked."""
    asks(lab, "approvals_days: 3")
    lab.verify("dev", lab.tip)
    approve(lab, keys, "ann", days_ago=2)
    approve(lab, keys, "bob")
    use(lab, keys, "cid")
    proposal = promote(lab.clone, lab.state(), "staging", lab.remote)
    push(lab.clone, lab.remote, proposal)
    assert check(lab.clone, lab.state(), proposal.commit).findings == ()

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(days=2)

    monkeypatch.setattr(approvals, "datetime", Later)
    with pytest.raises(RuleError, match=r"has 1 of 2 approvals \(bob@example.com\)"):
        merge(lab.clone, lab.remote, proposal.branch)
    assert lab.state().present("staging").commit is None
