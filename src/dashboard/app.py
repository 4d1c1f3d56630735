"""The app that the api-server mounts: the page, its static files, drift reports, runbooks and metrics.

Every route requires a session, including the one for unknown paths; only the metrics require a token instead.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from dashboard import board, checks, colours, metrics, model_card, page, running
from dashboard.access import may_read
from dashboard.board import Boards
from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from dashboard.metrics import Releases
from gitops.errors import ReleaseError
from gitops.release import condition

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    "style.css": "text/css",
    "theme.js": "text/javascript",
    "times.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make() -> FastAPI:
    """Return the FastAPI app."""
    page.templates()
    # FastAPI's own pages are turned off because they would not require a session.
    app = FastAPI(title="Visage", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_secure)
    app.exception_handler(AnyHTTPException)(_refuse)
    releases = Releases()

    def measure(request: Request) -> Response:
        return measures(request, releases)

    app.get("/metrics")(measure)
    session = [Depends(may_read)]
    app.get("/", response_class=HTMLResponse, dependencies=session)(show)
    boards = Boards()
    app.get("/board/", response_class=HTMLResponse, dependencies=session)(lambda: environments(boards))
    app.get("/reports/{run}/", response_class=HTMLResponse, dependencies=session)(report)
    app.get("/condition.json", dependencies=session)(state)
    app.get("/card/", response_class=HTMLResponse, dependencies=session)(card)
    app.get("/groups.jpg", dependencies=session)(groups_picture)
    app.get("/runbooks/{name}/", response_class=HTMLResponse, dependencies=session)(runbook)
    app.get("/static/colours.css", dependencies=session)(theme)
    app.get("/static/{name}", dependencies=session)(static)
    app.get("/{path:path}", dependencies=session)(nowhere)
    return app


def measures(request: Request, releases: Releases) -> Response:
    """Return the metrics to a program that shows the token."""
    if not metrics.permitted(request.headers.get("authorization", "")):
        raise HTTPException(401)
    try:
        content = metrics.text(EnvironmentPaths.here(), datetime.now(UTC), releases)
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    return Response(content, media_type=metrics.CONTENT_TYPE)


def show(weeks: str = "") -> str:
    """Return the page for the chosen number of weeks, or for the default."""
    chosen = int(weeks) if weeks.isascii() and weeks.isdigit() and len(weeks) < 4 else 0
    return page.show(chosen if chosen in page.WEEKS else page.WEEKS[0])


def environments(boards: Boards) -> HTMLResponse:
    """Return the board of all environments."""
    try:
        where = EnvironmentPaths.here()
        shown = boards.read(running.repository(where), datetime.now(UTC))
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    return HTMLResponse(board.render(shown, page.title()), headers={"Content-Security-Policy": board.POLICY})


def report(run: str) -> str:
    """Return the comparison of each column in a check.

    Evidently's own report is a program, which could send data to somebody, so it is not shown here.
    """
    try:
        columns = checks.report(EnvironmentPaths.here().home, run)
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    if columns is None:
        raise HTTPException(404, "There is no such report, or it was deleted.")
    return page.render("report.html", title=page.title(), run=run, columns=columns)


def state() -> Response:
    """Return the condition of this environment, for `gitops status`."""
    try:
        found = condition.read(EnvironmentPaths.here().bundle)
    except (DashboardError, ReleaseError) as error:
        raise HTTPException(503, str(error)) from error
    return Response(found.model_dump_json(), media_type="application/json")


def card() -> str:
    """Return the model card of the running release."""
    try:
        where = EnvironmentPaths.here()
        found = running.read(where)
        release = model_card.read(running.repository(where), found.commit) if found.commit else None
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    if release is None or release.figures.card is None:
        raise HTTPException(404, "The running release has no model card.")
    return page.render("card.html", title=page.title(), commit=found.commit, card=release.figures.card)


def groups_picture() -> Response:
    """Return the picture of the groups that the running release serves worst."""
    try:
        where = EnvironmentPaths.here()
        found = running.read(where)
        content = model_card.picture(running.repository(where), found.commit) if found.commit else None
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    if content is None:
        raise HTTPException(404, "The running release has no picture of groups.")
    return Response(content, media_type="image/jpeg")


def runbook(name: str) -> str:
    """Return a runbook from main."""
    try:
        text = running.runbook(EnvironmentPaths.here(), name)
    except DashboardError as error:
        raise HTTPException(503, str(error)) from error
    if text is None:
        raise HTTPException(404, "There is no such runbook.")
    return page.render("runbook.html", title=page.title(), runbook=name, text=text)


def theme() -> Response:
    """Return the style sheet with the colours of the environment."""
    return Response(colours.css(), media_type="text/css", headers={"Cache-Control": "private, max-age=300"})


def static(name: str) -> FileResponse:
    """Return a static file of the page."""
    if name not in _TYPES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(
        _STATIC / name, media_type=_TYPES[name], headers={"Cache-Control": "private, max-age=300"}
    )


def nowhere() -> None:
    """Answer 404 for every other path."""
    raise HTTPException(404, "There is no such page.")


async def _secure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        response = await call_next(request)
    except Exception:
        log.exception("%s cannot be shown", request.url.path)
        message = "This page cannot be shown at the moment. The log of the api-server has the reason."
        response = await _refuse(request, HTTPException(503, message))
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refuse(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    message = {
        401: "Log in to this Airflow first, then open this page again.",
        403: "You may not read the monitoring DAG, so you may not see this page. Log in as a user who may.",
    }.get(status, str(getattr(error, "detail", "")))
    # Without a style sheet, because the request for it would be refused too.
    return HTMLResponse(page.render("refused.html", status=status, message=message), status_code=status)
