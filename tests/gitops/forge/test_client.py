import pytest

from gitops.errors import ForgeError
from gitops.forge.github import GitHub
from tests.support.forge import NAME, Forge
from tests.support.forge_server import client


def test_what_fails_for_a_moment_is_tried_again(forge: Forge) -> None:
    answers = [500, 502, None]
    forge.broken = lambda request: answers.pop(0)
    assert client(forge, contents="read").get("rulesets") == []
    assert len(forge.requests) == 3


def test_what_stays_broken_is_given_up(forge: Forge) -> None:
    forge.broken = lambda request: 503
    with pytest.raises(ForgeError, match=r"GitHub: GET rulesets: 503 (?i:Service Unavailable): Out of order"):
        client(forge, contents="read").get("rulesets")
    assert len(forge.requests) == 4


def test_what_is_refused_is_not_tried_again_and_the_token_is_told_to_nobody(forge: Forge) -> None:
    github = client(forge, contents="read")
    with pytest.raises(ForgeError, match=r"403 .*administration: write; does GITHUB_TOKEN have") as refused:
        github.post("rulesets", {})
    assert len(forge.requests) == 1
    assert "token-test" not in str(refused.value)
    with pytest.raises(ForgeError, match=r"404 .*Not Found: GET nothing"):
        github.get("nothing")


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ForgeError, match=r"http://127\.0\.0\.1:9 does not answer"):
        GitHub(NAME, "x", api="http://127.0.0.1:9", pause=0.001).get("pulls")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/visage.git", "acme/visage"),
        ("https://x:y@github.com/acme/visage", "acme/visage"),
        ("git@github.com:acme/visage.git", "acme/visage"),
        ("ssh://git@github.com/acme/visage.git", "acme/visage"),
    ],
)
def test_the_repository_is_that_of_the_remote(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "x")
    assert GitHub.from_environ(url).repository == name


@pytest.mark.parametrize("url", ["", "/srv/visage.git", "https://gitlab.com/acme/visage"])
def test_a_remote_elsewhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ForgeError, match="GITHUB_TOKEN: not set"):
        GitHub.from_environ(url)
    monkeypatch.setenv("GITHUB_TOKEN", "x")
    with pytest.raises(ForgeError, match="GITHUB_REPOSITORY: not set"):
        GitHub.from_environ(url)
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b/../c")
    with pytest.raises(ForgeError, match="give owner/name"):
        GitHub.from_environ(url)
