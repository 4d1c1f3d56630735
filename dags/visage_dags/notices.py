"""Notices: what people are told, by e-mail and Slack where their connections are set, else in the log.

A notice that cannot be sent never changes how a run ends: it is one line in the log.
"""

import html
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from visage_dags import inputs

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_SLACK_SECONDS = 10


def notify(subject: str, body: str) -> None:
    """Tell people something, from within a task."""
    from airflow.sdk import get_current_context

    context = get_current_context()
    _tell(subject, body, _facts_of_task(context))


def on_failure_callback(context: Mapping[str, Any]) -> None:
    """Tell people that a task has failed for good; Airflow calls this after the last attempt."""
    error = context.get("exception")
    reason = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "")
    facts = _with_runbook(_facts_of_task(context))
    _tell(f"{context['ti'].task_id} failed", reason or "The task ended without a word.", facts)


def on_failed_run_callback(context: Mapping[str, Any]) -> None:
    """Tell people that a run has failed; a DAG processor calls this.

    A task that was killed, as for want of memory, cannot tell: without this nobody would hear of it.
    """
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    facts = _with_runbook(_facts_of_run(dag_id, run_id, None))
    _tell("the run failed", f"Airflow says: {context.get('reason')}", facts)


def on_deadline(context: Mapping[str, Any]) -> None:
    """Tell people that a run takes longer than it should; an executor calls this outside of any task."""
    # The run as the REST API describes it, not as a task knows it.
    run, deadline = context["dag_run"], context["deadline"]
    facts = _with_runbook(_facts_of_run(run["dag_id"], run["dag_run_id"], run.get("bundle_version")))
    _tell("a run is late", f"It should have ended by {deadline['deadline_time']}; it goes on.", facts)


def way_back(environment: str, origin: str) -> str:
    """Return the commands that take an environment back to the release before, with a line that says so.

    Args:
        environment: The environment.
        origin: The URL of the git repository that its releases come from.

    """
    from gitops import instructions
    from gitops.release import PREVIOUS

    if environment not in PREVIOUS:
        return f"{environment} follows main. Its page Visage has the commands that revert the change there."
    commands = instructions.roll_back(environment, instructions.meeting(origin))
    return f"To go back, in a checkout after make setup:\n\n{instructions.text(commands)}\n"


def _facts_of_run(dag_id: str, run_id: str, release: str | None) -> dict[str, str]:
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url")).rstrip("/")
    return {**_facts(dag_id, run_id, release), "link": f"{base}/dags/{dag_id}/runs/{quote(run_id)}"}


def _facts_of_task(context: Mapping[str, Any]) -> dict[str, str]:
    task = context["ti"]
    index = getattr(task, "map_index", -1)
    bundle = getattr(task, "bundle_instance", None)
    return {
        **_facts(task.dag_id, task.run_id, bundle.version if bundle else None),
        "task": task.task_id if index is None or index < 0 else f"{task.task_id}[{index}]",
        "log": task.log_url,
    }


def _facts(dag_id: str, run_id: str, release: str | None) -> dict[str, str]:
    from visage_dags import place

    return {
        "environment": place.environment(),
        "release": release or place.checkout_release(),
        "DAG": dag_id,
        "run": run_id,
    }


def _with_runbook(facts: Mapping[str, str]) -> dict[str, str]:
    from airflow.sdk.exceptions import AirflowException

    from visage_dags import place, runbooks

    try:
        origin = place.origin().url
    except (AirflowException, ValueError) as error:
        # That it is missing or makes no sense may be the very trouble that is told of.
        log.warning("No address by %s: %s", inputs.GIT.name, error)
        origin = ""
    page = runbooks.link(facts["DAG"], origin, facts["release"], place.RELEASE_ROOT)
    return {**facts, "what to do": page}


def _tell(subject: str, body: str, facts: Mapping[str, str]) -> None:
    from airflow.sdk.log import redact

    # Airflow hides the secrets that it knows in its logs, and here it has to be asked to.
    title = str(redact(f"[Visage {facts['environment']}] {facts['DAG']}: {subject}"))
    text = str(redact(body))
    log.info("%s\n%s", title, text)
    recipients = inputs.NOTIFY_EMAIL.read()
    if recipients:
        _send(inputs.SMTP, title, lambda: _mail(recipients, title, text, facts))
    else:
        log.info("Nothing by %s, as NOTIFY_EMAIL names nobody: %s", inputs.SMTP.name, title)
    _send(inputs.SLACK, title, lambda: _post(title, text, facts))


def _send(connection: inputs.Connection, title: str, send: Callable[[], None]) -> None:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from tenacity import Retrying, stop_after_attempt, wait_exponential

    try:
        Connection.get(connection.name)
    except AirflowNotFoundException:
        log.info("Nothing by %s, as there is no such connection: %s", connection.name, title)
        return
    try:
        Retrying(stop=stop_after_attempt(_ATTEMPTS), wait=wait_exponential(max=8), reraise=True)(send)
    except Exception as error:  # whatever a mail server or Slack comes up with, the run is not to blame
        log.error("Nothing by %s, %s: %s: %s", connection.name, type(error).__name__, error, title)
    else:
        log.info("Sent by %s: %s", connection.name, title)


def _mail(recipients: Sequence[str], title: str, body: str, facts: Mapping[str, str]) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id=inputs.SMTP.name) as hook:
        hook.send_email_smtp(to=recipients, subject=title, html_content=_page(body, facts))


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
        slack_webhook_conn_id=inputs.SLACK.name,
        timeout=_SLACK_SECONDS,
        # Slack's own retries write the address, which is a secret, into the log.
        retry_handlers=[],
    )
    hook.send(text=text)
