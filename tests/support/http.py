"""Servers on the loopback that stand in for others."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any, Self

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class _Server(HTTPServer):
    def thread_target(self) -> None:
        assert self.server is not None
        self.server.serve_forever(0.01)  # how long a test waits for its end


def _serve(answer: Callable[[Request], Response], tls: SSLContext | None = None) -> _Server:
    server = _Server("127.0.0.1", threaded=True, ssl_context=tls)
    server.expect_request(re.compile("")).respond_with_handler(answer)
    server.start()
    return server


@contextmanager
def serving(answer: Callable[[Request], Response], tls: SSLContext | None = None) -> Iterator[str]:
    """Let `answer` answer every request, and yield the address."""
    server = _serve(answer, tls)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.port}"
    finally:
        server.stop()


class JsonServer:
    """A server whose subclass answers each request with a status and JSON."""

    def __init__(self) -> None:
        self._server = _serve(self._respond)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def answer(self, request: Request) -> tuple[int, Any]:
        """Return the status and the content of an answer."""
        raise NotImplementedError

    def close(self) -> None:
        if self._server.is_running():
            self._server.stop()

    def _respond(self, request: Request) -> Response:
        status, content = self.answer(request)
        return Response(json.dumps(content), status, content_type="application/json")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
