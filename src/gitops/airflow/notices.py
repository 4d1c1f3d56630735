"""Notices to people: by e-mail and Slack where the environment has the connections, and always in the log.

A notice that cannot be sent never changes how a run ends: it is one line in the log. This module is part of
the image, not of a release, because the triggerer sends some of the notices and has no release checked out.
"""

# The providers have no types.
# pyright: reportMissingTypeStubs=false

import html
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from gitops.airflow import runbooks, task_context
from gitops.release.settings import Settings

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_SLACK_SECONDS = 10


def send_late_notice(context: Mapping[str, Any]) -> None:
    """Send a notice about a run that takes longer than it should.

    Args:
        context: `dag_run` as the REST API describes it, and `deadline` with its `deadline_time`.

    """
    run, deadline = context["dag_run"], context["deadline"]
    release = run.get("bundle_version") or ""
    facts = {
        "environment": task_context.environment(),
        "release": release or "unknown",
        "DAG": run["dag_id"],
        "run": run["dag_run_id"],
        "link": run_link(run["dag_id"], run["dag_run_id"]),
        "runbook": runbooks.link(run["dag_id"], _origin(), release),
    }
    body = f"The run is still running after its deadline, {deadline['deadline_time']}. Nothing stopped it."
    send_notice("a run is late", body, facts)


def _origin() -> str:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get("git_default").host or ""
    except AirflowNotFoundException:
        return ""


def run_link(dag_id: str, run_id: str) -> str:
    """Return the address of a run in the web interface."""
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url")).rstrip("/")  # pyright: ignore[reportUnknownMemberType] kwargs
    return f"{base}/dags/{dag_id}/runs/{quote(run_id)}"


def send_notice(subject: str, body: str, facts: Mapping[str, str]) -> None:
    """Send a notice, and log it.

    Args:
        subject: The event, in a few words.
        body: the reason, or the details.
        facts: name and value of each row below the body; `environment` and `DAG` are needed for the title.

    """
    # This is the name that releases of Airflow agree on; airflow.sdk lists no public one.
    from airflow.sdk import log as sdk_log

    # Airflow hides the secrets that it knows in its logs, and here it has to be asked to.
    redact = cast(Callable[[str], object], sdk_log.redact)  # pyright: ignore[reportPrivateImportUsage]
    title = str(redact(f"[Visage {facts['environment']}] {facts['DAG']}: {subject}"))
    text = str(redact(body))
    for line in (title, *text.splitlines()):
        log.info("%s", line)
    recipients = list(Settings.from_environ().notify_email)
    if recipients:
        _send("smtp_default", title, lambda: _mail(recipients, title, text, facts))
    else:
        log.info("Not sent by mail: NOTIFY_EMAIL is empty: %s", title)
    _send("slack_default", title, lambda: _post(title, text, facts))


def _send(connection: str, title: str, send: Callable[[], None]) -> None:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from tenacity import Retrying, stop_after_attempt, wait_exponential

    try:
        Connection.get(connection)
    except AirflowNotFoundException:
        log.info("Not sent: the connection %s is not set: %s", connection, title)
        return
    try:
        Retrying(stop=stop_after_attempt(_ATTEMPTS), wait=wait_exponential(max=8), reraise=True)(send)
    except Exception as error:  # whatever a mail server or Slack comes up with, the run is not to blame
        log.error("Not sent by %s: %s: %s: %s", connection, type(error).__name__, error, title)
    else:
        log.info("Sent by %s: %s", connection, title)


def _mail(recipients: Sequence[str], title: str, body: str, facts: Mapping[str, str]) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id="smtp_default") as hook:
        hook.send_email_smtp(  # pyright: ignore[reportUnknownMemberType] kwargs
            to=recipients, subject=title, html_content=_page(body, facts)
        )


def _page(body: str, facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{_value(value)}</td></tr>\n" for name, value in facts.items()
    )
    return f"<pre>{html.escape(body)}</pre>\n<table>\n{rows}</table>\n"


def _value(text: str) -> str:
    shown = html.escape(text)
    return f'<a href="{shown}">{shown}</a>' if text.startswith(("http://", "https://")) else shown


def _post(title: str, body: str, facts: Mapping[str, str]) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    lines = [f"*{title}*", body, *(f"{name}: {value}" for name, value in facts.items())]
    # Slack reads these three characters, and no others, as markup that needs escaping.
    text = html.escape("\n".join(lines), quote=False)
    hook = SlackWebhookHook(
        slack_webhook_conn_id="slack_default",
        timeout=_SLACK_SECONDS,
        # Slack's own retries write the address, which is a secret, into the log.
        retry_handlers=[],
    )
    hook.send(text=text)  # pyright: ignore[reportUnknownMemberType] kwargs
