import pytest

from serving.clients import Clients, TokenFile, read_tokens
from serving.errors import RefusedError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no token"),
        ("shop\n", "tokens:1: not `client token`"),
        ("shop short\n", "tokens:1: not `client token`"),
        ("shop 0123456789abcdef admin\n", "tokens:1: not `client token`"),
        ("shop 0123456789abcdef\nshop 0123456789abcdeg\n", "tokens:2: not `client token`"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used(tmp_path, text, reason):
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ValueError, match=reason):
        read_tokens(path)


def test_a_file_of_tokens_that_others_may_read(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(
        "# clients\nshop 0123456789abcdef\nowner 0123456789abcdeg reader operator\n"
        "both 0123456789abcdeh uploader reader\n"
    )
    path.chmod(0o600)
    assert {name: set(token.roles) for name, token in read_tokens(path).items()} == {
        "shop": {"uploader"},
        "owner": {"reader", "operator"},
        "both": {"uploader", "reader"},
    }
    path.chmod(0o604)
    with pytest.raises(ValueError, match="others may read it; run chmod 600"):
        read_tokens(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_tokens(tmp_path / "none")


def test_each_client_has_a_rate_of_its_own():
    now = [0.0]
    clients = Clients(dict, rate=2, burst=10, clock=lambda: now[0])
    clients.spend("a", 10)
    with pytest.raises(RefusedError) as refused:
        clients.spend("a", 4)
    assert (refused.value.status, refused.value.wait) == (429, 2)
    clients.spend("b", 10)
    now[0] = 2.0
    clients.spend("a", 4)
    with pytest.raises(RefusedError):
        clients.spend("a", 1)
    now[0] = 100.0
    clients.spend("a", 16)  # one request of many photographs is never refused for ever


def test_a_token_is_added_and_revoked_without_a_restart(tmp_path, caplog):
    path = tmp_path / "tokens"

    def write(text):
        new = tmp_path / "new"
        new.write_text(text)
        new.chmod(0o600)
        new.replace(path)

    write(f"shop {'a' * 16}\n")
    clients = Clients(TokenFile(path), rate=2, burst=10)
    assert clients.identify(f"Bearer {'a' * 16}", "", "service.example").name == "shop"

    write(f"desk {'b' * 16}\n")
    assert clients.identify(f"Bearer {'b' * 16}", "", "service.example").name == "desk"
    with pytest.raises(RefusedError):
        clients.identify(f"Bearer {'a' * 16}", "", "service.example")

    write("")
    assert clients.identify(f"Bearer {'b' * 16}", "", "service.example").name == "desk"
    assert "has no token" in caplog.text
    path.unlink()
    assert clients.identify(f"Bearer {'b' * 16}", "", "service.example").name == "desk"
    write(f"shop {'c' * 16}\n")
    with pytest.raises(RefusedError):
        clients.identify(f"Bearer {'b' * 16}", "", "service.example")


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("localhost:8180", True),
        ("127.0.0.1", True),
        ("127.0.0.1:8180", True),
        ("[::1]:8180", True),
        ("[::1]", True),
        ("Dev.LocalHost:8180", True),
        ("pages.example:8180", False),
        ("localhost.pages.example", False),
        ("127.0.0.1.pages.example:8180", False),
        ("10.0.0.7:8180", False),
        ("[", False),
        ("", False),
    ],
)
def test_without_tokens_only_this_machine_by_its_name_is_answered(host, answered):
    """The page of a site whose name begins to mean 127.0.0.1 is of the same origin for its browser."""
    clients = Clients(dict, 1, 1)
    if answered:
        assert clients.identify("", "127.0.0.1", host).roles
        return
    with pytest.raises(RefusedError, match="ask for localhost"):
        clients.identify("", "127.0.0.1", host)
