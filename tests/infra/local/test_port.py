import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import port
from infra.local.errors import EngineError

OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
DEFAULTS = {"dev": 8080, "staging": 8081, "prod": 8082}


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.create_server((request.param, 0)) as server:
        yield server.getsockname()[1]


def test_a_port_is_that_of_the_settings() -> None:
    assert port.choose(DEFAULTS, {}, {}) == DEFAULTS


def test_a_variable_goes_before_memory_and_memory_before_settings() -> None:
    variables = {"VISAGE_PROD_PORT": "9002"}
    assert port.choose(DEFAULTS, variables, {"staging": 9001, "prod": 9009}) == {
        "dev": 8080,
        "staging": 9001,
        "prod": 9002,
    }


@given(st.text().filter(lambda text: not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535)))
def test_what_is_no_port_is_refused(value: str) -> None:
    with pytest.raises(EngineError, match=r"VISAGE_DEV_PORT: .* is not a port"):
        port.choose(DEFAULTS, {"VISAGE_DEV_PORT": value}, {})


def test_one_port_for_two_is_refused() -> None:
    with pytest.raises(EngineError, match="port 8081: for dev and for staging; set VISAGE_DEV_PORT or"):
        port.choose(DEFAULTS, {"VISAGE_DEV_PORT": "8081"}, {})


def test_a_port_that_somebody_listens_on_is_not_free(taken: int) -> None:
    assert not port.is_free(taken)


def test_a_port_that_only_ipv6_listens_on_is_not_free() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert not port.is_free(server.getsockname()[1])


def test_an_unused_port_is_free_and_stays_so_after_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)) as client:
            server.accept()[0].close()
            client.recv(1)
    assert port.is_free(number), "an old connection in TIME_WAIT is no listener"


def test_the_holder_of_a_port_is_named_with_the_setting_that_avoids_it(taken: int) -> None:
    this = psutil.Process()
    with pytest.raises(EngineError) as caught:
        port.require(taken, "staging")
    assert str(caught.value) == (
        f"port {taken} (staging): taken by process {this.pid} ({this.name()}); stop that, or choose another: "
        "VISAGE_STAGING_PORT=PORT in the shell or in .env"
    )


def test_require_is_content_with_a_free_port() -> None:
    port.require(port.unused(), "dev")


@pytest.mark.skipif(not OF_CONNECTIONS.exists(), reason="only Linux tells which ports connections get")
def test_no_outgoing_connection_takes_an_unused_port() -> None:
    first, _ = OF_CONNECTIONS.read_text().split()
    assert all(port.unused() < int(first) for _ in range(20))


def test_an_unused_port_is_free_whatever_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "_NO_CONNECTIONS", range(taken, taken + 1))
    with pytest.raises(EngineError, match=rf"ports {taken} to {taken}: 100 chosen at random are all taken"):
        port.unused()


def test_who_listens_is_known(taken: int) -> None:
    assert port.listens(psutil.Process(), taken)
    assert not port.listens(psutil.Process(), port.unused())
