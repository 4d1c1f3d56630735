"""The stand-in for GitHub on a free port of the loopback: its REST API under /api, and git over HTTP."""

import gzip
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import unquote

from werkzeug import Request, Response

from gitops.forge.github import GitHub
from tests.support import forge as forges
from tests.support.forge import NAME, Forge, Refusal
from tests.support.http import serving

Kind = TypeVar("Kind", bound=Forge)


@contextmanager
def serve(forge: Kind) -> Iterator[Kind]:
    """Serve it at its `url`, one request at a time."""
    lock = threading.Lock()

    def answer(request: Request) -> Response:
        with lock:
            return _rest(forge, request) if request.path.startswith("/api/") else _git(forge, request)

    with serving(answer) as forge.url:
        yield forge


def _rest(forge: Forge, request: Request) -> Response:
    authorization = request.headers.get("Authorization", "")
    token = forge.tokens.get(authorization.removeprefix("Bearer ").removeprefix("token "))
    asked = forges.Request(
        request.method,
        _path(request).removeprefix(forge.api),
        {key: values[-1] for key, values in request.args.lists()},
        json.loads(request.data) if request.data and request.mimetype == "application/json" else None,
        token.actor if token else "nobody",
        authorization.removeprefix("Bearer ").removeprefix("token "),
        request.data if request.mimetype != "application/json" else b"",
    )
    try:
        status, data = forge.answer(asked, token)
    except Refusal as refusal:
        status, data = refusal.status, {"message": str(refusal)}
    if data is None or isinstance(data, bytes | str):
        return Response(data, status)
    return Response(json.dumps(data), status, content_type="application/json")


def _path(request: Request) -> str:
    """Return the path; a slash in a name stays as %2F, since forges divide a path before they decode it."""
    raw = request.environ["REQUEST_URI"].partition("?")[0]
    return unquote(raw.replace("%2F", "%252F"))


def _git(forge: Forge, request: Request) -> Response:
    """Let git's own CGI program answer, to whom a private repository of GitHub would."""
    writes = "git-receive-pack" in request.full_path
    credentials = request.authorization
    token = forge.tokens.get(credentials.password or "") if credentials else None
    if token is None or not token.may("contents", "write" if writes else "read"):
        status = 401 if token is None else 403
        return Response(status=status, headers={"WWW-Authenticate": 'Basic realm="GitHub"'})
    content = request.get_data()
    if request.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    variables = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(forge.root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string.decode(),
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(content)),
        "REMOTE_USER": token.actor,
        "REMOTE_ADDR": "127.0.0.1",
    }
    with forge.watching(token.actor, starts_workflows=token.starts_workflows):
        done = subprocess.run(
            ["git", "http-backend"], input=content, env=variables, capture_output=True, timeout=60, check=True
        )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return Response(body, headers.pop("Status", "200 OK"), headers)


def client(forge: Forge, **permissions: str) -> GitHub:
    """Return a client of the stand-in whose token has these permissions."""
    return GitHub(NAME, forge.token("test", permissions), api=f"{forge.url}/api", pause=0.001)
