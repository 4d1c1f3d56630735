"""TCP ports on this machine: choose ports, and find out which program uses a port."""

import errno
import secrets
import socket
from collections.abc import Mapping
from contextlib import closing

import psutil

from infra.local.errors import EngineError

_NO_CONNECTIONS = range(20000, 32768)
"""Below the ports that Linux (from 32768) and macOS (from 49152) give to outgoing connections."""
_TRIES = 100

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def setting(environment: str) -> str:
    """Return the name of the setting that chooses the port of an environment's web interface."""
    return f"VISAGE_{in_capitals(environment)}_PORT"


def in_capitals(environment: str) -> str:
    """Return the name of an environment as part of the name of a variable."""
    return environment.upper().replace("-", "_")


def choose(
    defaults: Mapping[str, int], variables: Mapping[str, str], remembered: Mapping[str, int]
) -> dict[str, int]:
    """Return the port of each environment: from `variables`, else the previous port, else its default.

    Raises:
        EngineError: A value is not a port, or two environments would share a port.

    """
    chosen = {
        environment: _number(setting(environment), variables[setting(environment)])
        if setting(environment) in variables
        else remembered.get(environment, default)
        for environment, default in defaults.items()
    }
    for environment, port in chosen.items():
        for other, taken in chosen.items():
            if other != environment and taken == port:
                raise EngineError(
                    f"port {port}: for {environment} and for {other}; "
                    f"set {setting(environment)} or {setting(other)} to another"
                )
    return chosen


def is_free(port: int) -> bool:
    """Whether a server can listen on `port`, and a browser that opens localhost would reach it."""
    return not any(
        _answers(family, address, port) or _is_bound(family, address, port) for family, address in LOOPBACK
    )


def unused(*above: int) -> int:
    """Return a free port that the system does not use for outgoing connections.

    The ports that are by one of `above` higher are free too.

    A server binds it seconds later, and a database again after each restart of the machine. By then, an
    outgoing connection may use a port that the system had proposed.

    Raises:
        EngineError: No free port was found.

    """
    for _ in range(_TRIES):
        port = secrets.choice(_NO_CONNECTIONS)
        if all(map(is_free, (port, *(port + distance for distance in above)))):
            return port
    first, last = _NO_CONNECTIONS[0], _NO_CONNECTIONS[-1]
    raise EngineError(f"ports {first} to {last}: {_TRIES} chosen at random are all taken; stop some servers")


def require(port: int, environment: str) -> None:
    """Check that `port` is free for an environment.

    Raises:
        EngineError: The port is taken. The message names the program and the remedy.

    """
    if not is_free(port):
        raise EngineError(
            f"port {port} ({environment}): taken by {holder(port)}; stop that, or choose another: "
            f"{setting(environment)}=PORT in the shell or in .env"
        )


def listens(process: psutil.Process, port: int) -> bool:
    """Whether `process` or one of its children listens on `port`."""
    try:
        family = [process, *process.children(recursive=True)]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return any(_listens(member, port) for member in family)


def holder(port: int) -> str:
    """Return the program that listens on `port`, if this user may see it."""
    for process in psutil.process_iter():
        try:
            if _listens(process, port):
                return f"process {process.pid} ({process.name()})"
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return "another program"


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections(kind="tcp")
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections)


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
        raise EngineError(f"{name}: {value!r} is not a port; set a number from 1 to 65535")
    return int(value)


def _answers(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as client:
            client.settimeout(1)
            return client.connect_ex((address, port)) == 0
    except OSError:
        return False  # a machine without IPv6


def _is_bound(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
    except OSError as error:
        return error.errno in (errno.EADDRINUSE, errno.EACCES)
    return False
