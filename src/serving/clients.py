"""Who may ask, and how much: a token for each client, and a rate for each."""

import hashlib
import hmac
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from serving.errors import RefusedError

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64}) ([A-Za-z0-9._~+/=-]{16,256})( search)?")
_CLIENTS = 10_000  # whose rates are remembered


@dataclass(frozen=True)
class Token:
    """The SHA-256 of a client's token, and whether the client may see images that others sent."""

    digest: str
    search: bool = False


@dataclass(frozen=True)
class Client:
    """A client: its name, or its address, and whether it may see images that others sent."""

    name: str
    search: bool


def read_tokens(path: Path) -> dict[str, Token]:
    """Return each client's token, from a file with a line `client token` or `client token search` for each.

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
                f"{path}:{number}: not `client token` or `client token search`, each client once, "
                "with 16 to 256 characters in a token"
            )
        tokens[match[1]] = Token(hashlib.sha256(match[2].encode()).hexdigest(), bool(match[3]))
    if not tokens:
        raise ValueError(f"{path}: has no token; write a line `client token`")
    return tokens


class Clients:
    """Knows clients by their tokens, and counts the photographs of each."""

    def __init__(
        self, tokens: Mapping[str, Token], rate: float, burst: int, clock: Callable[[], float] = monotonic
    ) -> None:
        """Make the clients.

        Args:
            tokens: The token of each client. Without any, everybody may ask and search.
            rate: Photographs a second of each client in the long run.
            burst: Photographs that a client may send at once after a pause.
            clock: Returns seconds.

        """
        self._tokens = dict(tokens)
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def identify(self, authorization: str, address: str) -> Client:
        """Return the client of a request.

        Raises:
            RefusedError: There are tokens, and it has none of them.

        """
        if not self._tokens:
            return Client(address, search=True)
        scheme, _, secret = authorization.partition(" ")
        digest = hashlib.sha256(secret.encode()).hexdigest()
        known = self._tokens.items()
        found = [name for name, token in known if hmac.compare_digest(token.digest, digest)]
        if scheme.lower() != "bearer" or not found:
            raise RefusedError(401, "send the header Authorization: Bearer, with your token")
        return Client(found[0], self._tokens[found[0]].search)

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
