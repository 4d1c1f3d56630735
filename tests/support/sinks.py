"""A mail server and a web server that keep what they are sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller

from infra.local import port

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

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sinks.posts.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    smtp = Controller(sinks, hostname="127.0.0.1", port=port.unused())
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, daemon=True)
    sinks.connections = connections(smtp.port, http.server_address[1])
    smtp.start()
    thread.start()
    try:
        yield sinks
    finally:
        http.shutdown()
        http.server_close()
        smtp.stop()
        thread.join()
