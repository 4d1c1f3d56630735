"""Limits for every request to the api-server: host name, auth manager, and rights of the answers."""

import ipaddress
import logging
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from airflow.configuration import conf
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

PUBLISHED = "VISAGE_WEB_ADDRESS"
"""Variable: the address at which the engine publishes the port of a container."""

_SIMPLE = "SimpleAuthManager"
# Airflow's interface writes styles while it runs. Its editor and its graph start workers from blobs.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
# FAB's own pages, for logins, users and roles, have scripts in them.
_FAB = "/auth/"
_FAB_POLICY = f"{_POLICY}; script-src 'self' 'unsafe-inline'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """Refuse foreign host names, and an auth manager that must not be reachable; add headers to the rest.

    A web page of somebody else can let its own host name point to this machine (DNS rebinding). The browser
    then treats the api-server as a part of that page. It sends that page's host name, so the guard sees it.

    Args:
        app: The app of the api-server.
        hosts: The names of the api-server. IP addresses and names under `localhost` are always accepted: the
            owner of a web page cannot choose where they point.
        fault: Why this api-server must not answer anybody, or None.
        fab: Whether FAB's auth manager serves pages.

    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], fault: str | None, fab: bool) -> None:
        self._app = app
        self._hosts = hosts
        self._fault = fault
        self._fab = fab
        if fault:
            log.error("%s", fault)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        policy = _FAB_POLICY if self._fab and path.startswith(_FAB) else _POLICY

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._app
        named = Headers(scope=scope).getlist("host")
        if self._fault:
            answer = PlainTextResponse(f"{self._fault}\n", 503)
        elif len(named) != 1 or not self._accepts(named[0]):
            answer = PlainTextResponse("This Airflow has another name. Open it by its base URL.\n", 421)
        await answer(scope, receive, send_with_headers)

    def _accepts(self, host: str) -> bool:
        name = _name(host)
        return name in self._hosts or name == "localhost" or name.endswith(".localhost") or _is_address(name)


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, object]:
    """Return the arguments of the guard for this api-server."""
    urls = (
        conf.get("api", "base_url", fallback=""),
        conf.get("core", "execution_api_server_url", fallback=""),
        f"//{environ.get('WEB_HOST', '')}",
    )
    hosts = frozenset(name for url in urls if (name := urlsplit(url or "").hostname))
    manager = conf.get("core", "auth_manager", fallback=_SIMPLE)
    address = environ.get(PUBLISHED) or conf.get("api", "host", fallback="")
    return {"hosts": hosts, "fault": fault(manager, address), "fab": manager.endswith("FabAuthManager")}


def fault(manager: str, address: str) -> str | None:
    """Return why an api-server with this auth manager must not listen on this address, or None."""
    name = address.strip("[]")
    if manager.rpartition(".")[2] != _SIMPLE or name == "localhost":
        return None
    if _is_address(name) and ipaddress.ip_address(name).is_loopback:
        return None
    return (
        f"Airflow's simple auth manager is for loopback, and this api-server listens on "
        f"{address or 'all addresses'}: set "
        "AIRFLOW__CORE__AUTH_MANAGER=airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager "
        "in settings.env"
    )


def _name(host: str) -> str:
    """Return the host name of a Host header: without its port, in lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
