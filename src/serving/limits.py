"""Limits of a request: how large it may be, and how long its head and its body may take to arrive."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.errors import RefusedError

LARGEST_HEAD = 64 << 10  # bytes of the head of a request
LARGEST_HELD = 512 << 20  # bytes of all requests that have no answer yet; a client may have half of them
HEAD = 10.0  # seconds in which the head of a request must arrive
BODY = 30.0  # seconds in which its body must arrive


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request has no complete head in time, or a head without end.

    uvicorn waits for ever.
    """

    _timer: asyncio.TimerHandle | None = None
    _head = 0  # bytes

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer is not None:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._cancel()
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect()

    def on_headers_complete(self) -> None:
        self._cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._cancel()
        self._head = 0
        self._timer = self.loop.call_later(HEAD, self.transport.close)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def answer_refusal(refusal: RefusedError, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the response to a request that is refused."""
    headers = headers or {}
    if refusal.wait is not None:
        headers["Retry-After"] = str(refusal.wait)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": str(refusal)}, refusal.status, headers)


class Bounded:
    """Refuses a body before the app has read it: of a client that nobody knows, too large, or too slow."""

    def __init__(self, app: ASGIApp, largest: int, identify: Callable[[Request], str]) -> None:
        """Make it.

        Args:
            app: Whoever gets the requests.
            largest: Bytes of a body.
            identify: Returns the name of the client of a request, or raises RefusedError.

        """
        self._app = app
        self._largest = largest
        self._identify = identify
        self._held: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        try:
            client = self._identify(Request(scope))
            if length.isdigit() and int(length) > self._largest:
                raise self._too_large()
        except RefusedError as refusal:
            await answer_refusal(refusal, {"connection": "close"})(scope, receive, send)
            return
        received, complete = 0, False
        refusal: RefusedError | None = None
        deadline = asyncio.get_running_loop().time() + BODY

        async def bounded() -> Message:
            nonlocal received, complete, refusal
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                refusal = RefusedError(408, f"the request took longer than {BODY:.0f} s to arrive")
                raise refusal from None
            size = len(message.get("body", b""))
            received += size
            self._held[client] += size
            complete = not message.get("more_body", False)
            if received > self._largest:
                refusal = self._too_large()
            elif self._held[client] > LARGEST_HELD // 2 or self._held.total() > LARGEST_HELD:
                refusal = RefusedError(429, "too many bytes wait for an answer; try again", 1)
            if refusal is not None:
                raise refusal
            return message

        async def watched(message: Message) -> None:
            # The app answers an error while it reads the body in its own way
            if refusal is None:
                await send(message)

        try:
            with contextlib.suppress(RefusedError):
                await self._app(scope, bounded, watched)
        finally:
            self._held[client] -= received
            if not self._held[client]:
                del self._held[client]
        if refusal is not None:
            await answer_refusal(refusal, {"connection": "close"})(scope, receive, send)

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the request is larger than {self._largest} bytes")
