"""Who may ask, and how much: a token for each client, and a rate for each."""

import hashlib
import hmac
import ipaddress
import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal, get_args

from serving.errors import RefusedError

log = logging.getLogger(__name__)

Role = Literal["uploader", "reader", "operator"]
"""An uploader sends photographs, a reader searches those of others, an operator asks for the releases."""

_ROLES = "|".join(get_args(Role))
_LINE = re.compile(rf"([A-Za-z0-9._-]{{1,64}}) ([A-Za-z0-9._~+/=-]{{16,256}})((?: (?:{_ROLES})){{0,3}})")
_FORM = "`client token`, or `client token uploader reader operator` with one or more of these roles"
_HOST = re.compile(r"(?:\[([^]]*)\]|([^:]*))(?::[0-9]*)?")
_CLIENTS = 10_000  # whose rates are remembered


@dataclass(frozen=True)
class Token:
    """The SHA-256 of a client's token, and the roles of the client."""

    digest: str
    roles: frozenset[str] = frozenset({"uploader"})


@dataclass(frozen=True)
class Client:
    """A client: its name, or its address, and its roles."""

    name: str
    roles: frozenset[str]

    def require(self, role: Role) -> None:
        """Check that the client has a role.

        Raises:
            RefusedError: It has not.

        """
        if role not in self.roles:
            raise RefusedError(403, f"your token is of no {role}; its line needs the word {role}")


def is_loopback(host: str) -> bool:
    """Return whether an address, or a name, is that of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tokens(path: Path) -> dict[str, Token]:
    """Return each client's token, from a file with a line for each: its name, its token and its roles.

    Without a role, the client is an uploader.

    Raises:
        ValueError: The file cannot be read or has a line of another form, or others may read it.

    """
    try:
        if path.stat().st_mode & 0o007:
            raise ValueError(f"{path}: others may read it; run chmod 600 {path}")
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[1] in tokens:
            raise ValueError(
                f"{path}:{number}: not {_FORM}, each client once, with 16 to 256 characters in a token"
            )
        roles = frozenset(match[3].split()) or frozenset({"uploader"})
        tokens[match[1]] = Token(hashlib.sha256(match[2].encode()).hexdigest(), roles)
    if not tokens:
        raise ValueError(f"{path}: has no token; write a line `client token`")
    return tokens


class TokenFile:
    """The tokens in a file, which may change: you add and revoke a token without a restart."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ValueError: The file cannot be used.

        """
        self._path = path
        self._state = self._stat()
        self._tokens = read_tokens(path)

    def __call__(self) -> Mapping[str, Token]:
        """Return the present tokens. Those that were read last stay while the file cannot be used."""
        state = self._stat()
        if state != self._state:
            self._state = state
            try:
                self._tokens = read_tokens(self._path)
            except ValueError as error:
                log.error("%s; the tokens that were read before stay", error)
        return self._tokens

    def _stat(self) -> tuple[int, int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Clients:
    """Knows clients by their tokens, and counts the photographs of each."""

    def __init__(
        self,
        tokens: Callable[[], Mapping[str, Token]],
        rate: float,
        burst: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Make the clients.

        Args:
            tokens: Returns the present token of each client. Without any, everybody has all roles.
            rate: Photographs a second of each client in the long run.
            burst: Photographs that a client may send at once after a pause.
            clock: Returns seconds.

        """
        self._tokens = tokens
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def identify(self, authorization: str, address: str, host: str) -> Client:
        """Return the client of a request.

        Args:
            authorization: The header of that name.
            address: The address of the client.
            host: The header of that name.

        Raises:
            RefusedError: There are tokens, and it has none of them. Or there are none, and its browser found
                this service by another name: whoever owns that name may let it mean this machine, and then
                his page reads the answers.

        """
        tokens = self._tokens()
        if not tokens:
            named = _HOST.fullmatch(host.lower())
            name = (named[1] or named[2]) if named else ""
            if not (is_loopback(name) or name.endswith(".localhost")):
                raise RefusedError(403, "ask for localhost: without tokens, no other name is answered")
            return Client(address, frozenset(get_args(Role)))
        scheme, _, secret = authorization.partition(" ")
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = [name for name, token in tokens.items() if hmac.compare_digest(token.digest, digest)]
        if scheme.lower() != "bearer" or not found:
            raise RefusedError(401, "send the header Authorization: Bearer, with your token")
        return Client(found[0], tokens[found[0]].roles)

    def spend(self, client: str, photographs: int) -> None:
        """Count photographs of a client.

        Raises:
            RefusedError: It sends more than it may.

        """
        now = self._clock()
        spent, when = self._spent.pop(client, (0.0, now))
        spent = max(0.0, spent - (now - when) * self._rate)
        if spent and spent + photographs > self._burst:
            self._spent[client] = spent, now
            wait = math.ceil((spent + photographs - self._burst) / self._rate)
            raise RefusedError(429, f"more than {self._rate:g} photographs a second", max(1, min(wait, 3600)))
        self._spent[client] = spent + photographs, now
        while len(self._spent) > _CLIENTS:
            self._spent.popitem(last=False)
