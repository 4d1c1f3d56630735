"""The page for people: files that a browser loads from here, and nothing from elsewhere."""

import html
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

_STATIC = files("serving") / "static"
_KINDS = {"page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add(app: FastAPI, environment: str, colors: str) -> None:
    """Add the page and its files to an app.

    Args:
        app: The app.
        environment: The name of the environment.
        colors: The style sheet with its colors.

    """
    page = (_STATIC / "page.html").read_text("utf-8").replace("ENVIRONMENT", html.escape(environment))
    contents = {name: (_STATIC / name).read_text("utf-8") for name in _KINDS} | {"colors.css": colors}

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    for name, content in contents.items():
        _add_file(app, name, content)


def _add_file(app: FastAPI, name: str, content: str) -> None:
    @app.get(f"/static/{name}", include_in_schema=False)
    async def static() -> Response:
        return Response(content, media_type=_KINDS.get(name, "text/css"), headers=_HEADERS)
