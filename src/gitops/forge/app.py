"""The App on GitHub that opens pull requests, made from a manifest at one click of a person."""

import html
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

from gitops.errors import ForgeError
from gitops.forge.github import GitHub

_PAGE = """<!doctype html><meta charset="utf-8"><title>Visage</title>
<form action="{action}" method="post"><input type="hidden" name="manifest" value="{manifest}">
<button>Go to GitHub</button></form>"""
_PERMISSIONS = ("contents", "deployments", "pull_requests")


@dataclass(frozen=True)
class App:
    """An App that was just made."""

    id: int
    slug: str
    client_id: str
    private_key: str
    page: str


class _Silent(WSGIRequestHandler):
    """Prints no addresses: one of them has the code."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Print nothing."""
        del code, size


def create(github: GitHub, name: str, announce: Callable[[str], None], *, seconds: float) -> App:
    """Let a person create the App, and return it.

    A page on this machine sends the manifest to GitHub. GitHub sends the browser back with a code, which is
    exchanged once for the App's private key.

    Raises:
        ForgeError: if nobody clicks in time, or GitHub does not take the code.

    """
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    owner = "" if github.owner_is_user() else f"organizations/{github.owner}/"
    state = secrets.token_urlsafe()
    action = f"{server}/{owner}settings/apps/new?state={state}"
    codes: list[str] = []

    def answer(environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
        query = parse_qs(environ["QUERY_STRING"])
        text = _PAGE.format(action=html.escape(action), manifest=html.escape(content))
        if "code" in query and secrets.compare_digest(query.get("state", [""])[0], state):
            codes.append(query["code"][0])
            text = "The App exists. You can close this page."
        start("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [text.encode()]

    with make_server("127.0.0.1", 0, answer, handler_class=_Silent) as listener:
        here = f"http://127.0.0.1:{listener.server_port}/"
        content = json.dumps(manifest(name, f"{server}/{github.repository}", here))
        announce(here)
        end = time.monotonic() + seconds
        while not codes:
            listener.timeout = end - time.monotonic()
            if listener.timeout <= 0:
                raise ForgeError("nobody created the App in time; run this again")
            listener.handle_request()
    made = github.post(f"/app-manifests/{codes[0]}/conversions", None)
    return App(made["id"], made["slug"], made["client_id"], made["pem"], made["html_url"])


def manifest(name: str, url: str, redirect: str) -> dict[str, Any]:
    """Return the manifest of the App, from which GitHub creates it at one click."""
    return {
        "name": name,
        "url": url,
        "hook_attributes": {"url": url, "active": False},
        "redirect_url": redirect,
        "public": False,
        "default_permissions": dict.fromkeys(_PERMISSIONS, "write"),
        "default_events": [],
    }
