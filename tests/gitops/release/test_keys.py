"""The keys of environments, and the signatures that they make."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import KeyFileError
from gitops.release.keys import KeyList, PrivateKey, fingerprint, path_of
from gitops.release.verdicts import record
from tests.support.lab import Lab

PAYLOAD = b"object 0\ntype commit\n\nverified\n"


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return PrivateKey.create(tmp_path / "keys" / "staging")


def listed(*keys: PrivateKey) -> KeyList:
    return KeyList.read(b"".join(key.line("staging") for key in keys))


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "prod"
    key = PrivateKey.create(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert PrivateKey.create(file).public == key.public
    assert PrivateKey.of_process({"VISAGE_VERIFIER_KEY": str(file)}).public == key.public
    assert file.read_text().splitlines()[1] not in repr(key)


def test_a_signature_counts_for_its_content_and_a_listed_key(key: PrivateKey, tmp_path: Path) -> None:
    other = PrivateKey.create(tmp_path / "other")
    signature = key.sign(PAYLOAD)
    assert listed(key).objection(PAYLOAD, signature) is None
    assert listed(other, key).objection(PAYLOAD, signature) is None
    assert listed(key).objection(PAYLOAD + b" ", signature) == "its signature is not one of its content"
    assert fingerprint(key.public) in (listed(other).objection(PAYLOAD, signature) or "")
    assert "is not listed" in (KeyList().objection(PAYLOAD, signature) or "")


@given(st.data())
def test_no_changed_signature_counts(data: st.DataObject) -> None:
    signature = SIGNED[1]
    position = data.draw(st.integers(0, len(signature) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = data.draw(
        st.sampled_from(
            (
                signature[:position] + bytes([byte]) + signature[position + 1 :],
                signature[:position],
                signature + signature,
                signature + bytes([byte]),
            )
        )
    )
    # Git ignores line ends too.
    if changed.replace(b"\n", b"") != signature.replace(b"\n", b""):
        assert listed(SIGNED[0]).objection(PAYLOAD, changed) is not None


@given(st.binary(max_size=400))
def test_any_bytes_are_a_list_or_a_problem(content: bytes) -> None:
    found = KeyList.read(content)
    assert not found.keys or b"ssh-ed25519" in content


def test_a_line_that_is_not_a_key_is_named_and_the_others_count(key: PrivateKey) -> None:
    line = key.line("staging")
    rsa = b"eve ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC=\n"
    authority = line.replace(b'namespaces="git"', b'cert-authority,namespaces="git"')
    found = KeyList.read(b"# keys\n\n" + rsa + authority + b"\xc3\xa9 " + line + line)
    assert found.keys == {key.public}
    assert [problem.partition(":")[0] for problem in found.problems] == ["line 3", "line 4", "line 5"]
    assert KeyList.read(line * 1000).problems == ("larger than 16,384 bytes",)


@pytest.mark.parametrize("fault", ["missing", "open", "empty", "folder", "other"])
def test_a_file_that_is_no_key_is_refused_with_its_name(tmp_path: Path, fault: str) -> None:
    file = tmp_path / "key"
    if fault == "open":
        PrivateKey.create(file)
        file.chmod(0o644)
    elif fault == "folder":
        file.mkdir()
    elif fault != "missing":
        file.write_text("" if fault == "empty" else f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\n")
        file.chmod(0o600)
    with pytest.raises(KeyFileError, match=str(file)) as caught:
        PrivateKey.load(file)
    assert "\n" not in str(caught.value)


def test_a_process_without_a_key_says_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match=r"VISAGE_VERIFIER_KEY: not set.*gitops keys create ENV"):
        PrivateKey.of_process({"VISAGE_VERIFIER_KEY": ""})


@pytest.mark.system("ssh-keygen")
def test_git_verifies_a_verdict_and_its_own_tag_is_one(lab: Lab, tmp_path: Path) -> None:
    """The signature is the one of `git tag -s`, and the list is the one of ssh-keygen, both ways."""
    commit, key = lab.train("a"), lab.key("staging")
    verdict = lab.verdict("staging", commit)
    record(lab.clone, lab.remote, verdict, key)
    allowed = tmp_path / "verifiers"
    allowed.write_bytes(lab.origin.read("main", path_of("staging")) or b"")
    options = ("-c", f"gpg.ssh.allowedSignersFile={allowed}")
    by_git = lab.origin.run(*options, "verify-tag", verdict.tag)
    assert by_git.returncode == 0, by_git.stderr
    assert b'Good "git" signature for staging@visage' in by_git.stderr

    lab.origin.git("update-ref", "-d", f"refs/tags/{verdict.tag}")
    private = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={lab.keys / 'staging'}")
    message = ("--cleanup=verbatim", "-m", f"{verdict.message}\n")
    date = {"GIT_COMMITTER_DATE": f"@{int(verdict.at.timestamp())} +0000"}
    lab.origin.git(*private, "tag", "--sign", *message, verdict.tag, commit, env=lab.origin.identity() | date)
    assert lab.state().verdicts.verified("staging", commit) == verdict
    fingerprints = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(lab.keys / "staging")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
        timeout=60,
    )
    assert fingerprint(key.public) in fingerprints.stdout


def _signed() -> tuple[PrivateKey, bytes]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    content = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    key = PrivateKey(content, "test")
    return key, key.sign(PAYLOAD)


SIGNED = _signed()
