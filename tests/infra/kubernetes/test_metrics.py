"""The metrics of every process reach the collector, and Prometheus reaches the collector."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from werkzeug import Request, Response

from tests.infra.kubernetes.rendering import objects, with_components
from tests.support.http import serving

pytestmark = pytest.mark.system("kubectl")

COUNT = """
from airflow.observability.metrics.stats_utils import get_stats_factory

get_stats_factory()().incr("of.this.test")
"""


def config(manifests: str, name: str) -> dict[str, str]:
    [found] = [one["data"] for key, one in objects(manifests, "ConfigMap").items() if key.startswith(name)]
    return found


def test_airflow_sends_its_metrics_with_these_variables(tmp_path: Path) -> None:
    sent: list[tuple[str, bytes]] = []

    def collect(request: Request) -> Response:
        sent.append((request.path, request.get_data()))
        return Response()

    variables = config(with_components(tmp_path, "metrics"), "engine")
    chosen = {name: value for name, value in variables.items() if "OTEL" in name}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {"AIRFLOW_HOME": str(tmp_path / "airflow"), **chosen}
    with serving(collect) as environment["OTEL_EXPORTER_OTLP_ENDPOINT"]:
        subprocess.run([sys.executable, "-c", COUNT], env=environment, cwd=tmp_path, check=True, timeout=120)
    assert {path for path, _ in sent} == {"/v1/metrics"}
    assert any(b"airflow.of.this.test" in body for _, body in sent)


def test_processes_reach_the_collector_and_prometheus_does(tmp_path: Path) -> None:
    manifests = with_components(tmp_path, "metrics")
    address = urlsplit(config(manifests, "engine")["OTEL_EXPORTER_OTLP_ENDPOINT"])
    collector = yaml.safe_load(config(manifests, "collector")["config.yaml"])
    service = objects(manifests, "Service")[str(address.hostname)]
    [container] = objects(manifests, "Deployment")["metrics"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert listens == f"0.0.0.0:{ports['otlp']}"
    assert collector["exporters"]["prometheus"]["endpoint"] == f"0.0.0.0:{ports['metrics']}"
    served = {port["name"]: (port["port"], port["targetPort"]) for port in service["spec"]["ports"]}
    assert served["otlp"] == (address.port, "otlp")
    [monitor] = objects(manifests, "ServiceMonitor").values()
    [endpoint] = monitor["spec"]["endpoints"]
    assert served[endpoint["port"]][1] == "metrics"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert open_from(manifests, "otlp") == [{"podSelector": {}}]
    assert open_from(manifests, "metrics") == [
        {"namespaceSelector": {"matchLabels": {"visage/metrics": "true"}}}
    ]


def open_from(manifests: str, port: str) -> list[dict[str, Any]]:
    """Return who reaches a port of the collector."""
    rules = objects(manifests, "NetworkPolicy")["to-metrics"]["spec"]["ingress"]
    [rule] = [rule for rule in rules if port in [one["port"] for one in rule["ports"]]]
    return rule["from"]


def test_every_process_may_send_metrics(tmp_path: Path) -> None:
    [policy] = [
        one
        for one in objects(with_components(tmp_path, "metrics"), "NetworkPolicy").values()
        if one["spec"]["podSelector"] == {} and "4318" in str(one["spec"].get("egress"))
    ]
    assert policy["spec"]["policyTypes"] == ["Egress"]
