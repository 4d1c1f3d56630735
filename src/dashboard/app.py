"""The app that the api-server mounts: the page, the reports of its checks, and what they are made up of.

Every route asks for a session, also that which answers for paths that are none.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from dashboard import checks, colours, page, running
from dashboard.access import may_read
from dashboard.errors import DashboardError
from dashboard.place import Place

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    "style.css": "text/css",
    "theme.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Evidently's report is a program. In a sandbox it has no origin: no session, and nowhere to send anything.
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make() -> FastAPI:
    """Return the app."""
    page.templates()
    # Without the pages that FastAPI adds by itself: they would ask for no session.
    app = FastAPI(
        title="Visage", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(may_read)]
    )
    app.middleware("http")(_secure)
    app.exception_handler(AnyHTTPException)(_refuse)
    app.get("/", response_class=HTMLResponse)(show)
    app.get("/reports/{run}/", response_class=HTMLResponse)(frame)
    app.get(f"/reports/{{run}}/{checks.REPORT}")(report)
    app.get("/runbooks/{name}/", response_class=HTMLResponse)(runbook)
    app.get("/static/colours.css")(theme)
    app.get("/static/{name}")(static)
    app.get("/{path:path}")(nowhere)
    return app


def show(weeks: str = "") -> str:
    """Show the page."""
    chosen = int(weeks) if weeks.isascii() and weeks.isdigit() and len(weeks) < 4 else 0
    return page.show(chosen if chosen in page.WEEKS else page.WEEKS[0])


def frame(run: str) -> str:
    """Show the report of a check in a frame, below the way back."""
    _report(run)
    return page.render("report.html", title=page.title(), run=run, file=checks.REPORT)


def report(run: str) -> FileResponse:
    """Give out the report that Evidently made."""
    return FileResponse(
        _report(run), media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY}
    )


def runbook(name: str) -> str:
    """Show a runbook as main has it."""
    try:
        text = running.runbook(Place.here(), name)
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    if text is None:
        raise HTTPException(404, "There is no such runbook.")
    return page.render("runbook.html", title=page.title(), runbook=name, text=text)


def theme() -> Response:
    """Give out the environment's colours."""
    return Response(colours.css(), media_type="text/css", headers={"Cache-Control": "private, max-age=300"})


def static(name: str) -> FileResponse:
    """Give out a file of the page."""
    if name not in _TYPES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(
        _STATIC / name, media_type=_TYPES[name], headers={"Cache-Control": "private, max-age=300"}
    )


def nowhere() -> None:
    """Answer for every other path."""
    raise HTTPException(404, "There is no such page.")


def _report(run: str) -> Path:
    try:
        found = checks.reports(Place.here().home).get(run)
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    if found is None:
        raise HTTPException(404, "There is no such report, or it is kept no more: the last ones are.")
    return found


async def _secure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        response = await call_next(request)
    except Exception:
        log.exception("%s cannot be shown", request.url.path)
        said = "This page cannot be shown at the moment. The log of the api-server has the reason."
        response = await _refuse(request, HTTPException(503, said))
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refuse(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    said = {
        401: "Log in to this Airflow first, then come back.",
        403: "This session may not read the monitoring DAG, nor so this page. Log in as somebody who may.",
    }.get(status, str(getattr(error, "detail", "")))
    # In one line and without a style sheet, which would be refused as well.
    return HTMLResponse(page.render("refused.html", status=status, said=said), status_code=status)
