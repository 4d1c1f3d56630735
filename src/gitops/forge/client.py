"""A client for the REST API of a forge: one repository, with a token."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import ForgeError
from gitops.text.parse import is_mapping

_ATTEMPTS = 4
_TIMEOUT = 30
_LONGEST_WAIT = 60
_MOST_PAGES = 100
_MOST_CHUNKS = 128
_NAME = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")


class AnswerError(ForgeError):
    """A forge refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _TryAgainError(Exception):
    """The forge is busy, or was not reached."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class Client:
    """One repository on a forge, with a token.

    Requests that fail for a moment (no connection, a status of 5xx, a rate limit) are sent again. That is
    safe for requests that create something too: a forge refuses a second pull request of one branch, and a
    status of the same name takes the place of the one before.

    Raises:
        ForgeError: from every method, with the request and the answer.

    """

    forge: ClassVar[str]
    """The name of the forge."""
    variable: ClassVar[str]
    """The environment variable of the token."""
    how_to_get: ClassVar[str] = ""
    get_it: ClassVar[str] = ""
    scheme: ClassVar[str] = "Bearer"
    page_size: ClassVar[tuple[str, int]] = ("per_page", 100)
    """The parameter with the number of items of a page, and the most that the forge takes."""
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, repository: str, token: str, *, api: str, pause: float = 1) -> None:
        """`repository` is `owner/name`; `pause` is the first number of seconds between attempts."""
        if not _NAME.fullmatch(repository):
            raise ForgeError(f"{repository}: not the name of a repository on {self.forge}; give owner/name")
        self.repository = repository
        self._api = api.rstrip("/")
        self._pause = pause
        self._session = requests.Session()
        self._session.headers.update({**self.headers, "Authorization": f"{self.scheme} {token}"})

    @property
    def owner(self) -> str:
        return self.repository.partition("/")[0]

    def get(self, path: str, **parameters: str | int) -> Any:
        """Return the JSON at `path`: relative to the repository, or to the API if it begins with a slash."""
        return _content(self._send("GET", path, parameters=parameters))

    def pages(self, path: str, **parameters: str | int) -> Iterator[dict[str, Any]]:
        """Return the items of a list, page after page."""
        name, size = self.page_size
        for page in range(1, _MOST_PAGES + 1):
            items = self.get(path, **parameters, page=page, **{name: size})
            yield from items
            if len(items) < size:
                return
        raise ForgeError(f"GET {path}: more than {size * _MOST_PAGES} items")

    def text(self, path: str) -> str:
        """Return the text at `path`, as far as it is not longer than a log that anybody reads."""
        with self._send("GET", path, stream=True) as answer:
            chunks = answer.iter_content(65536)
            parts = [chunk for chunk, _ in zip(chunks, range(_MOST_CHUNKS), strict=False)]
        return b"".join(parts).decode("utf-8", "replace")

    def post(self, path: str, body: Mapping[str, Any] | None) -> Any:
        """Make something."""
        return _content(self._send("POST", path, body=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change something in part."""
        return _content(self._send("PATCH", path, body=body))

    def put(self, path: str, body: Mapping[str, Any] | None) -> Any:
        """Replace something, or turn it on."""
        return _content(self._send("PUT", path, body=body))

    def _url(self, path: str) -> str:
        within = path if path.startswith("/") else f"/repos/{self.repository}/{path}".rstrip("/")
        return f"{self._api}{within}"

    def _send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        exponential = wait_exponential(multiplier=self._pause, max=_LONGEST_WAIT)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.seconds if isinstance(error, _TryAgainError) else None
            return exponential(state) if asked is None else min(asked, _LONGEST_WAIT)

        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait,
            reraise=True,
        )
        try:
            return retrying(self._once, method, path, parameters, body, stream)
        except _TryAgainError as error:
            raise ForgeError(str(error)) from error

    def _once(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
        stream: bool,
    ) -> requests.Response:
        what = f"{self.forge}: {method} {path}"
        url = self._url(path)
        try:
            answer = self._session.request(
                method,
                url,
                params=parameters,
                json=body,
                timeout=_TIMEOUT,
                allow_redirects=method == "GET",
                stream=stream,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _TryAgainError(f"{what}: {self._api} does not answer") from error
        if answer.ok and not answer.is_redirect:
            return answer
        message = f"{what}: {answer.status_code} {answer.reason}: {_said(answer)}"
        limited = answer.status_code in (403, 429) and (
            "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
        )
        if limited or answer.status_code >= 500:
            after = answer.headers.get("retry-after", "")
            raise _TryAgainError(message, float(after) if after.isdecimal() else None)
        if answer.status_code in (401, 403, 404):
            message += f"; does {self.variable} have the permission for that?"
        raise AnswerError(message, answer.status_code)


def _content(answer: requests.Response) -> Any:
    """Return the JSON of an answer; None if it has no content."""
    return answer.json() if answer.content else None


def _said(answer: requests.Response) -> str:
    try:
        body: dict[str, Any] = answer.json()
        details: list[str] = [
            error.get("message") or error.get("code") or "" if is_mapping(error) else str(error)
            for error in body.get("errors", [])
        ]
        text = "; ".join(filter(None, [str(body.get("message", "")), *details]))
    except (ValueError, AttributeError, TypeError):
        text = answer.text
    return " ".join(text.split())[:300]
