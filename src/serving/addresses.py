"""Photographs that a client names by address: fetched from the hosts that `SERVING_FETCH_HOSTS` allows."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import httpx

from serving.errors import RefusedError

PORT = 443
SECONDS = 10.0  # in which all photographs of a request must arrive
AT_ONCE = 4  # requests whose photographs are fetched or wait for an answer
# IPv6 addresses that lead to an IPv4 address: mapped, NAT64, Teredo and 6to4
_INTO_IPV4 = [
    ipaddress.ip_network(network)
    for network in ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
]
# It would write addresses to the log, and some hold a secret
logging.getLogger("httpx").setLevel(logging.WARNING)


class Addresses:
    """Fetches photographs by https, from some hosts alone."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = frozenset(hosts)
        self._slots = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def fetched(
        self, urls: Sequence[str], largest_file: int, largest: int
    ) -> AsyncIterator[list[bytes]]:
        """Provide the photographs at some addresses.

        Args:
            urls: The addresses.
            largest_file: Bytes of a photograph.
            largest: Bytes of all of them.

        Raises:
            RefusedError: An address is not allowed, or has no photograph in time.

        """
        targets = [self._checked(url) for url in urls]
        if not targets:
            yield []
            return
        if self._slots.locked():
            raise RefusedError(429, "too many requests fetch photographs; try again", 1)
        async with self._slots:
            contents: list[bytes] = []
            try:
                async with asyncio.timeout(SECONDS):
                    for target in targets:
                        left = largest - sum(map(len, contents))
                        contents.append(await _get(target, min(largest_file, left)))
            except TimeoutError:
                raise RefusedError(422, f"urls: not all there after {SECONDS:.0f} s") from None
            yield contents

    def _checked(self, address: str) -> httpx.URL:
        if not self._hosts:
            raise RefusedError(403, "urls: this environment fetches none; send the photographs as files")
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            raise RefusedError(422, "urls: not an address") from None
        if url.scheme != "https" or url.userinfo or url.port is not None:
            raise RefusedError(403, "urls: not https://host/path, with neither user nor port")
        if _host(url) not in self._hosts:
            raise RefusedError(403, f"urls: hosts that are allowed: {', '.join(sorted(self._hosts))}")
        return url


def is_public(address: str) -> bool:
    """Return whether an IP address is of the internet, not of a network that only this machine reaches."""
    found = ipaddress.ip_address(address)
    return found.is_global and not found.is_multicast and not any(found in network for network in _INTO_IPV4)


async def _get(url: httpx.URL, largest: int) -> bytes:
    host = _host(url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for *_, address in found]
        if not all(map(is_public, addresses)):
            raise RefusedError(403, f"urls: {host} leads into a private network")
        content = bytearray()
        # Asked by the address that was checked: the name may lead elsewhere the next time
        async with (
            httpx.AsyncClient(
                verify=ssl.create_default_context(), trust_env=False, timeout=SECONDS
            ) as client,
            client.stream(
                "GET",
                url.copy_with(host=addresses[0], port=PORT),
                headers={"Host": host, "Accept-Encoding": "identity"},
                extensions={"sni_hostname": host},
            ) as response,
        ):
            if response.status_code != 200:
                raise RefusedError(422, f"urls: {host} answered {response.status_code}")
            async for part in response.aiter_raw():
                content += part
                if len(content) > largest:
                    raise RefusedError(413, f"urls: {host} sends more than {largest} bytes")
        return bytes(content)
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise RefusedError(422, f"urls: {host} cannot be reached ({type(error).__name__})") from None


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode().lower()
