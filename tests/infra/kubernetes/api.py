"""A stand-in for the API server of a cluster in which no pod ever starts: what is made stays pending."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

KNOWN = {
    "/version": {"major": "1", "minor": "36"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["list"]}
        ],
    },
}


@dataclass
class Cluster:
    """The pods that were asked for, and the configuration of a client; `refusals` come before other pods."""

    config: Path
    template: dict[str, Any]
    pods: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)


def _selected(pods: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return the pods whose labels a selector of equalities takes. All wait to start."""
    if query.get("fieldSelector") == ["status.phase==Succeeded"]:
        return []
    found = pods
    for term in query.get("labelSelector", [""])[0].split(","):
        name, equal, value = term.partition("=")
        if name.endswith("!"):
            found = [pod for pod in found if pod["metadata"]["labels"].get(name[:-1]) != value]
        elif equal:
            found = [pod for pod in found if pod["metadata"]["labels"].get(name) == value]
    return found


@contextmanager
def cluster(folder: Path, template: dict[str, Any]) -> Iterator[Cluster]:
    """Serve it on the loopback.

    Args:
        folder: The folder of the configuration of a client.
        template: The PodTemplate of the cluster.

    """
    made, ended = Cluster(folder / "kubeconfig", template), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path in KNOWN:
                self._answer(200, KNOWN[address.path])
            elif address.path.endswith("/podtemplates/task") and made.template:
                self._answer(200, made.template)
            elif not address.path.endswith("/pods"):
                self._answer(404, {"kind": "Status", "status": "Failure", "code": 404})
            elif parse_qs(address.query).get("watch", [""])[0].lower() in ("true", "1"):
                # Nothing happens, for as long as anybody watches.
                self.send_response(200)
                self.end_headers()
                ended.wait(30)
            else:
                self._answer(
                    200,
                    {
                        "kind": "PodList",
                        "apiVersion": "v1",
                        "metadata": {"resourceVersion": "1"},
                        "items": _selected(made.pods, parse_qs(address.query)),
                    },
                )

        def do_PATCH(self) -> None:
            change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = urlsplit(self.path).path.rpartition("/")[2]
            [pod] = [pod for pod in made.pods if pod["metadata"]["name"] == name]
            for field_, values in change["metadata"].items():
                pod["metadata"][field_] |= values
            self._answer(200, pod)

        def do_POST(self) -> None:
            pod = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if made.refusals:
                status, message = made.refusals.pop(0)
                self._answer(status, {"kind": "Status", "code": status, "message": message})
                return
            made.pods.append(pod)
            self._answer(201, pod | {"status": {"phase": "Pending"}})

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    entry = {"name": "here"}
    made.config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [entry | {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [entry | {"user": {}}],
                "contexts": [entry | {"context": {"cluster": "here", "user": "here"}}],
            }
        )
    )
    try:
        yield made
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
