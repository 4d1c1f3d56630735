"""A mail server and a web server that keep what they are sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from werkzeug import Request, Response

from infra.local import port
from tests.support.http import serving

PASSWORD = "mail-p4ssw0rd"
TOKEN = "T000/B000/webhook-t0ken"


@dataclass
class Sinks:
    """What arrived, and the connections by which it is sent."""

    mails: list[EmailMessage] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connections: dict[str, str] = field(default_factory=dict)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 kept"


def connections(smtp_port: int, http_port: int) -> dict[str, str]:
    """Return the connections to servers at these ports of this machine."""
    extra = {"from_email": "visage@example.org", "disable_ssl": True, "disable_tls": True, "timeout": 5}
    return {
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(
            {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": smtp_port,
                "password": PASSWORD,
                "extra": extra,
            }
        ),
        "AIRFLOW_CONN_SLACK_DEFAULT": json.dumps(
            {"conn_type": "slackwebhook", "host": f"http://127.0.0.1:{http_port}", "password": TOKEN}
        ),
        "NOTIFY_EMAIL": "team@example.org,owner@example.org",
    }


@contextmanager
def open_sinks() -> Iterator[Sinks]:
    """Run both servers."""
    sinks = Sinks()

    def keep(request: Request) -> Response:
        sinks.posts.append((request.path, request.get_json(force=True)))
        return Response("ok")

    smtp = Controller(sinks, hostname="127.0.0.1", port=port.unused())
    with serving(keep) as url:
        sinks.connections = connections(smtp.port, int(url.rpartition(":")[2]))
        smtp.start()
        try:
            yield sinks
        finally:
            smtp.stop()
