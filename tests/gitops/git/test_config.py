"""No configuration of git changes what a machine reads; a person's identity, signing and logins stay."""

import subprocess
from pathlib import Path

import pytest

from gitops.errors import GitError
from gitops.git.repository import Repository
from gitops.promotion.merge import merge
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from tests.support.lab import Lab

HOSTILE = """
[log]
    showSignature = true
    follow = true
    date = relative
    mailmap = true
[i18n]
    logOutputEncoding = UTF-16
    commitEncoding = UTF-16LE
[color]
    ui = always
    branch = always
[format]
    pretty = oneline
[core]
    quotePath = false
    excludesFile = {home}/ignore
    attributesFile = {home}/attributes
    hooksPath = {home}/hooks
    autocrlf = true
[push]
    gpgSign = true
    followTags = true
[fetch]
    fsckObjects = true
[transfer]
    fsckObjects = true
[diff]
    renames = copies
    external = false
[merge]
    ff = only
    verifySignatures = true
[tag]
    gpgSign = true
[protocol]
    version = 0
[submodule]
    recurse = true
[safe]
    bareRepository = explicit
"""


@pytest.fixture(params=["global", "local", "variables"])
def hostile(
    lab: Lab, isolated_home: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Lab:
    """A lab whose owner has configured git in every way that could matter."""
    (isolated_home / "ignore").write_text("*\n")
    (isolated_home / "attributes").write_text("* -diff merge=binary export-ignore\n")
    hooks = isolated_home / "hooks"
    hooks.mkdir()
    for name in ("pre-push", "post-checkout", "reference-transaction", "pre-commit", "post-commit"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    content = HOSTILE.format(home=isolated_home)
    file = {"local": lab.clone.path / ".git/config"}.get(request.param, isolated_home / ".gitconfig")
    with file.open("a") as opened:
        opened.write(content)
    if request.param == "variables":
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "log.showSignature")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
        monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'i18n.logoutputencoding=UTF-16'")
        monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
        monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    return lab


def test_releases_move_whatever_is_configured(hostile: Lab) -> None:
    lab = hostile
    lab.clone = Repository(lab.clone.path)
    releases = []
    for name in "ab":
        releases.append(lab.train(name))
        lab.release("staging")
    state = lab.state()
    assert [entry.commit for entry in state.history("staging")] == [releases[1], releases[0], None]
    subjects = [entry.subject for entry in lab.clone.log(state.tip)]
    assert subjects[0] == f"Merge promote/staging: Promote {releases[1][:12]} to staging"
    push(lab.clone, lab.remote, rollback(lab.clone, state, "staging", lab.remote))
    merge(lab.clone, lab.remote, "rollback/staging")
    assert lab.state().declared("staging").commit == releases[0]


def test_a_clone_that_mirrors(lab: Lab) -> None:
    lab.train("a")
    lab.clone.git("config", "remote.origin.mirror", "true")
    state = lab.state()
    push(lab.clone, lab.remote, promote(lab.clone, state, "staging", lab.remote))
    assert lab.origin.has("refs/heads/promote/staging")


def test_another_commit_in_the_place_of_one_is_not_read(lab: Lab) -> None:
    """With `git replace`, somebody would judge another commit than the one that is pushed."""
    commit = lab.train("a")
    lab.clone.fetch(lab.remote)
    other = lab.clone.commit_files(commit, {"dvc.lock": b"stages: {}\n"}, "Other")
    lab.clone.git("update-ref", f"refs/replace/{commit}", other)
    assert lab.clone.read(commit, "dvc.lock") == lab.origin.read(commit, "dvc.lock")


def test_a_persons_own_part_counts(lab: Lab, isolated_home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.git"
    lab.origin.path.rename(moved)
    included = isolated_home / "work"
    included.write_text('[user]\n\temail = "work \\"mail\\"@example.org"\n')
    (isolated_home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\\tB\\\\C # comment\n\temail = a@b\n[commit]\n\tgpgSign\n"
        f'[url "{moved}"]\n\tinsteadOf = {lab.origin.path}\n'
        f'[includeIf "gitdir:{lab.clone.path}/"]\n\tpath = {included}\n'
    )
    clone = Repository(lab.clone.path)
    clone.fetch(lab.remote)
    commit = clone.commit_files(None, {"x": b""}, "X")
    assert clone.git("show", "-s", "--format=%an <%ae>", commit) == 'Ada\tB\\C <work "mail"@example.org>'
    assert clone.signs()
    clone.git("config", "user.name", "Local")
    commit = clone.commit_files(None, {"x": b""}, "X")
    assert clone.git("show", "-s", "--format=%an", commit) == "Local"


def test_a_repository_of_somebody_else_needs_their_word(lab: Lab, isolated_home: Path) -> None:
    """Both for the repository itself and for one that git's helper reads as a remote."""
    subprocess.run(
        ["chown", "-R", "12345", str(lab.clone.path), str(lab.origin.path)], check=True, timeout=60
    )
    with pytest.raises(GitError, match=r"dubious ownership|safe\.directory"):
        Repository(lab.clone.path).fetch(lab.remote)
    (isolated_home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
    Repository(lab.clone.path).fetch(lab.remote)
    subprocess.run(["chown", "-R", "0", str(lab.clone.path), str(lab.origin.path)], check=True, timeout=60)


def test_a_configuration_that_git_cannot_read_is_named(lab: Lab, isolated_home: Path) -> None:
    (isolated_home / ".gitconfig").write_text("[user\n")
    with pytest.raises(GitError, match=r"git config: bad config line 1 in file .*\.gitconfig"):
        Repository(lab.clone.path).resolve("HEAD")


def test_a_configuration_that_includes_itself_is_named(lab: Lab, isolated_home: Path) -> None:
    file = isolated_home / ".gitconfig"
    file.write_text(f"[include]\n\tpath = {file}\n")
    expected = rf"maximum include depth \(10\) while including {file}; .* includes itself; take that line out"
    with pytest.raises(GitError, match=expected):
        Repository(lab.clone.path).resolve("HEAD")


def test_nothing_of_the_configuration_is_left_behind(
    lab: Lab, isolated_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (isolated_home / ".gitconfig").write_text("[http]\n\textraHeader = secret\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    clone = Repository(lab.clone.path)
    assert clone.git("config", "http.extraHeader") == "secret"
    assert set(tmp_path.iterdir()) == before
