import os
from pathlib import Path

import pytest

from gitops.errors import GitError
from gitops.git.credentials import git_variables
from gitops.git.repository import Repository
from tests.support.command import captured
from tests.support.forge import NAME, Forge


def test_git_logs_into_github_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert git_variables() == {}
    monkeypatch.setenv("GITHUB_TOKEN", "secret-token")
    assert git_variables() == {}
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Kept")
    found = git_variables()
    assert not any("secret-token" in value for value in found.values())
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert git_variables() == {}
    asked = {}
    for host in ("github.com", "github.com.evil.example"):
        done = captured(
            ["git", "credential", "fill"],
            input=f"protocol=https\nhost={host}\n\n",
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "false"},
            cwd=tmp_path,
        )
        asked[host] = done.stdout
    assert "username=x-access-token\npassword=secret-token\n" in asked["github.com"]
    assert "secret-token" not in asked["github.com.evil.example"]
    assert Repository(tmp_path).git("config", "user.name") == "Kept"


def test_a_clone_without_credentials_reads_and_writes_with_the_token(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", forge.url)
    monkeypatch.setenv("GITHUB_TOKEN", forge.token("reader", {"contents": "read"}))
    for name, value in git_variables().items():
        monkeypatch.setenv(name, value)
    clone = Repository.clone(f"{forge.url}/{NAME}.git", tmp_path / "clone")
    commit = clone.commit_files(clone.resolve("HEAD"), {"b": b"b"}, "More")
    with pytest.raises(GitError, match="403"):
        clone.push("origin", {"refs/heads/more": commit})
    monkeypatch.setenv("GITHUB_TOKEN", forge.token("writer", {"contents": "write"}))
    clone.push("origin", {"refs/heads/more": commit})
    assert forge.sha("refs/heads/more") == commit
    assert "token" not in (clone.path / ".git" / "config").read_text()
