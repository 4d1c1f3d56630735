"""The stand-in for GitHub on a free port of the loopback: its REST API under /api, and git over HTTP."""

import base64
import gzip
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.workflows.forge import Forge, Refusal, Request


@contextmanager
def serve(forge: Forge) -> Iterator[Forge]:
    """Serve it at its `url`."""

    class Handler(_Handler):
        served = forge

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    forge.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Forge
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    lock = threading.Lock()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the name that the library gives it
        """Stay silent."""

    def _any(self) -> None:
        with self.lock:
            content = self._content()
            if self.path.startswith("/api/"):
                self._rest(content)
            else:
                self._git(content)

    do_GET = do_POST = do_PATCH = do_PUT = _any  # noqa: N815, the names that the library gives them

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            content = b"".join(parts)
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def _rest(self, content: bytes) -> None:
        address = urlsplit(self.path.removeprefix("/api"))
        authorization = self.headers.get("Authorization", "")
        token = self.served.tokens.get(authorization.removeprefix("Bearer ").removeprefix("token "))
        request = Request(
            self.command,
            address.path,
            {key: values[-1] for key, values in parse_qs(address.query).items()},
            json.loads(content) if content else None,
            token.actor if token else "nobody",
        )
        try:
            status, data = self.served.answer(request, token)
        except Refusal as refusal:
            status, data = refusal.status, {"message": str(refusal)}
        self._send(status, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _git(self, content: bytes) -> None:
        """Let git's own CGI program answer, to whom a private repository of GitHub would."""
        address = urlsplit(self.path)
        writes = "git-receive-pack" in self.path
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        password = base64.b64decode(encoded).decode().partition(":")[2] if kind.lower() == "basic" else ""
        token = self.served.tokens.get(password)
        if token is None or not token.may("contents", "write" if writes else "read"):
            status = 401 if token is None else 403
            self._send(status, b"", {"WWW-Authenticate": 'Basic realm="GitHub"'})
            return
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.served.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": address.path,
            "QUERY_STRING": address.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(content)),
            "REMOTE_USER": token.actor,
            "REMOTE_ADDR": "127.0.0.1",
        }
        with self.served.watching(token.actor, starts_workflows=token.starts_workflows):
            done = subprocess.run(
                ["git", "http-backend"],
                input=content,
                env=variables,
                capture_output=True,
                timeout=60,
                check=True,
            )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self._send(int(headers.pop("Status", "200").split()[0]), body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
