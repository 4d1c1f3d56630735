"""Limits of a request: how large it may be, and how long its head and its body may take to arrive."""

import asyncio
import contextlib

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 10.0  # seconds in which the head of a request must arrive
BODY = 30.0  # seconds in which its body must arrive


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request has no complete head in time; uvicorn waits for ever."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._expect()

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
        self._timer = self.loop.call_later(HEAD, self.transport.close)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _RefusedError(Exception):
    pass


class Bounded:
    """Refuses a body that is too large, or takes too long to arrive, before the app has read it."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._largest:
            await self._refuse(413, f"the request is larger than {self._largest} bytes", scope, receive, send)
            return
        received, complete = 0, False
        refusal: tuple[int, str] | None = None
        deadline = asyncio.get_running_loop().time() + BODY

        async def bounded() -> Message:
            nonlocal received, complete, refusal
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                refusal = 408, f"the request took longer than {BODY:.0f} s to arrive"
                raise _RefusedError from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._largest:
                refusal = 413, f"the request is larger than {self._largest} bytes"
                raise _RefusedError
            return message

        async def watched(message: Message) -> None:
            # The app answers an error while it reads the body in its own way
            if refusal is None:
                await send(message)

        with contextlib.suppress(_RefusedError):
            await self._app(scope, bounded, watched)
        if refusal is not None:
            await self._refuse(*refusal, scope, receive, send)

    @staticmethod
    async def _refuse(status: int, text: str, scope: Scope, receive: Receive, send: Send) -> None:
        response = JSONResponse({"error": text}, status, {"connection": "close"})
        await response(scope, receive, send)
