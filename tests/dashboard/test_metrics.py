import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from werkzeug import Response

from dashboard import app as pages
from dashboard import metrics, processes, running
from dashboard.processes import Starts
from infra.local import port
from tests.dashboard.world import NOW, ROOT, World, check_line, merged
from tests.support.http import serving
from tests.support.waiting import wait_for

TOKEN = "a-token-that-is-long-enough"
ALERTS = ROOT / "infra/prometheus/alerts.yaml"
BOARD = ROOT / "infra/grafana/visage.json"


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv(metrics.TOKEN, TOKEN)
    monkeypatch.setenv(processes.FOLDER, str(world.home.parent / "processes"))
    return TestClient(pages.make(), headers={"Authorization": f"Bearer {TOKEN}"})


def collect(client: TestClient) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    labels = {"environment": "staging", **labels}
    [found] = [sample.value for sample in families[name].samples if labels.items() <= sample.labels.items()]
    return found


def busy(world: World) -> str:
    """Leave something of everything that is measured."""
    commit = world.release("first")
    world.serve()
    world.check(NOW)
    world.batch(NOW.date(), "a", rows=95, quarantined={"broken": 5})
    (world.home / "incoming" / "monday").mkdir(parents=True)
    (world.home / "incoming" / ".partial").mkdir()
    started(world, "staging/scheduler", 3)
    return commit


def started(world: World, service: str, count: int) -> None:
    """Note how often a process was started, as the launcher of the local engine does."""
    note = world.home.parent / "processes" / f"{service.replace('/', '-')}.starts"
    note.parent.mkdir(exist_ok=True)
    note.write_text(Starts(service=service, count=count, last=NOW).model_dump_json())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"_token={TOKEN}"},
    ],
)
def test_nobody_gets_them_without_the_token(client: TestClient, headers: dict[str, str]) -> None:
    client.headers.pop("Authorization")
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert "visage_" not in answer.text


@pytest.mark.parametrize("token", ["", "short"])
def test_without_a_token_that_is_long_enough_they_are_off(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv(metrics.TOKEN, token)
    assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    monkeypatch.delenv(metrics.TOKEN)
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401


def test_what_an_environment_does_is_measured(client: TestClient, world: World) -> None:
    commit = busy(world)
    found = collect(client)
    [release] = found["visage_release"].samples
    assert (release.name, release.value) == ("visage_release_info", 1)
    assert (release.labels["running"], release.labels["declared"]) == (commit, commit)
    assert value(found, "visage_release_in_sync") == 1
    assert value(found, "visage_release_verified") == 1
    assert value(found, "visage_release_rejected") == 0
    assert value(found, "visage_accuracy_ratio", source="recorded", bound="value") == pytest.approx(0.9)
    assert value(found, "visage_accuracy_ratio", source="verified", bound="value") == pytest.approx(0.9)
    assert value(found, "visage_waiting_batches") == 1
    assert value(found, "visage_scored_images") == 95
    assert value(found, "visage_quarantined_images") == 5
    assert value(found, "visage_check_timestamp_seconds") == NOW.timestamp()
    assert {sample.value for sample in found["visage_part_readable"].samples} == {1}


def test_a_process_that_was_started_again_is_counted(client: TestClient, world: World) -> None:
    started(world, "staging/scheduler", 3)
    started(world, "staging/triggerer", 1)
    started(world, "staging-2/scheduler", 9)
    [sample] = collect(client)["visage_process_restarts"].samples
    assert (sample.labels, sample.value) == ({"environment": "staging", "process": "scheduler"}, 2)
    (world.home.parent / "processes/staging-serving.starts").write_text("{")
    found = collect(client)
    assert "visage_process_restarts" not in found
    assert value(found, "visage_part_readable", part="processes") == 0


def test_a_rejected_release_and_an_open_alert_show(client: TestClient, world: World) -> None:
    first = world.release("first")
    world.serve()
    second = world.release("second", verdict="rejected")
    world.serve()
    world.check(NOW - timedelta(days=1), drift={"drifted": True})
    found = collect(client)
    [release] = found["visage_release"].samples
    assert (release.labels["running"], release.labels["declared"]) == (first, second)
    assert value(found, "visage_release_in_sync") == 0
    assert value(found, "visage_release_rejected") == 1
    assert value(found, "visage_alert_open", alert="drift") == 1
    assert value(found, "visage_alert_open", alert="accuracy") == 0


def test_a_part_that_cannot_be_read_hides_no_other(client: TestClient, world: World) -> None:
    world.batch(NOW.date(), "a", rows=95)
    found = collect(client)
    assert value(found, "visage_part_readable", part="release") == 0
    assert value(found, "visage_part_readable", part="scores") == 1
    assert value(found, "visage_scored_images") == 95
    assert "visage_release" not in found


@pytest.mark.parametrize(
    "damage",
    [
        {"performance": {"threshold": float("nan"), "mean_accuracy": float("inf")}},
        {"drift": {"rows": 10**400}},
        {"at": "0001-01-01T00:00:00"},
    ],
)
def test_a_check_that_cannot_be_read_is_no_silent_one(
    client: TestClient, world: World, damage: dict[str, Any]
) -> None:
    world.check(NOW - timedelta(days=7))
    line = merged(check_line(NOW, "monitoring/x"), damage)
    with (world.home / "monitoring/decisions.jsonl").open("a") as record:
        record.write(json.dumps(line) + "\n")
    found = collect(client)
    assert value(found, "visage_check_timestamp_seconds") == (NOW - timedelta(days=7)).timestamp()
    assert value(found, "visage_part_readable", part="checks") == 0
    world.check(NOW + timedelta(days=7))
    assert value(collect(client), "visage_part_readable", part="checks") == 1


def test_a_batch_that_cannot_be_read_is_no_silent_one(client: TestClient, world: World) -> None:
    world.batch(NOW.date(), "a", rows=95)
    world.batch(NOW.date(), "b").write_text("{")
    found = collect(client)
    assert value(found, "visage_scored_images") == 95
    assert value(found, "visage_part_readable", part="scores") == 0


@pytest.mark.parametrize("name", ['a"} 1\nvisage_fake{x="y"} 7\n# EOF\n', "a\\", '"'])
def test_a_label_cannot_leave_its_quotes(
    client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world.batch(NOW.date(), "a", rows=95)
    monkeypatch.setenv("VISAGE_ENVIRONMENT", name)
    found = collect(client)
    assert value(found, "visage_scored_images", environment=name) == 95
    assert "visage_fake" not in found


def test_ignored_tags_of_any_number_and_date_change_nothing(client: TestClient, world: World) -> None:
    commit = world.release("first")
    mark = b'from %s\ntagger Q" <q> 99999999999999 +0000\ndata 23\n{"verdict": "rejected"}\n'
    names = [f"rejected/staging/{commit[:length]}" for length in range(7, 41)]
    names += [f"rejected/staging/{commit[:12]}-{number}" for number in range(2, 500)]
    names += [f"rejected/staging/{'f' * 200}"]
    tags = b"".join(f"tag {name}\n".encode() + mark % commit.encode() for name in names)
    world.lab.origin.git("fast-import", "--quiet", "--date-format=raw-permissive", input=tags)
    world.serve()
    found = collect(client)
    assert value(found, "visage_release_verified") == 1
    assert value(found, "visage_release_rejected") == 0
    assert value(found, "visage_part_readable", part="release") == 1
    assert len(client.get("/metrics").content) < 5000


def test_a_release_is_read_once_by_all_who_ask_until_something_changes(
    client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = running.read, []
    monkeypatch.setattr(running, "read", lambda paths: (calls.append(1), read(paths))[1])
    first = world.release("first", verdict=None)
    world.serve()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.get("/metrics").text, range(8)))
    assert len(set(answers)) == 1
    assert len(calls) == 1
    assert value(collect(client), "visage_release_verified") == 0
    world.lab.verify("staging", first)
    world.serve()
    assert value(collect(client), "visage_release_verified") == 1
    assert len(calls) == 2


def used(expressions: list[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(r"\bvisage_[a-z_]+\b", text)}


def test_dashboard_and_alerts_use_metrics_that_there_are(client: TestClient, world: World) -> None:
    busy(world)
    known = {sample.name for family in collect(client).values() for sample in family.samples}
    board = json.loads(BOARD.read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    shown += [variable["query"] for variable in board["templating"]["list"]]
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    watched = [rule["expr"] for rule in rules]
    assert used(shown)
    assert used(watched)
    assert used(shown) | used(watched) <= known
    assert known - used(shown) - used(watched) <= {"visage_release_rejected", "visage_check_images"}


def test_every_alert_has_its_runbook() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        page = rule["annotations"]["runbook"]
        assert (ROOT / page).is_file(), page
        if page.startswith("docs/runbooks/"):
            name = page.removeprefix("docs/runbooks/").removesuffix(".md")
            assert rule["annotations"]["runbook_url"].endswith(f"/visage/runbooks/{name}/")


def answered(url: str, **parameters: str) -> Any:
    answer = requests.get(f"{url}/api/v1/{'query' if parameters else 'rules'}", params=parameters, timeout=30)
    answer.raise_for_status()
    return answer.json()["data"]


@contextmanager
def prometheus(target: str, folder: Path) -> Iterator[str]:
    """Let a real Prometheus read the metrics at an address each second, with the alert rules."""
    targets = [{"targets": [urlsplit(target).netloc]}]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "visage", "static_configs": targets}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{port.unused()}"
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "series",
        "web.listen-address": address,
    }
    command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.system("prometheus")
def test_prometheus_evaluates_every_panel_and_every_alert(
    client: TestClient, world: World, tmp_path: Path
) -> None:
    busy(world)
    text = client.get("/metrics").text
    kind = "application/openmetrics-text; version=1.0.0"

    def evaluated() -> bool:
        try:
            rules = [rule for group in answered(url)["groups"] for rule in group["rules"]]
            return bool(answered(url, query="up == 1")["result"]) and all(
                rule["health"] != "unknown" for rule in rules
            )
        except (requests.ConnectionError, requests.HTTPError):
            return False  # It still starts

    with serving(lambda _: Response(text, content_type=kind)) as target, prometheus(target, tmp_path) as url:
        wait_for(evaluated, seconds=60)
        board = json.loads(BOARD.read_text())
        for panel in board["panels"]:
            for shown in panel["targets"]:
                found = answered(url, query=shown["expr"].replace("$environment", "staging|prod"))["result"]
                assert found, f"{panel['title']}: no data"
                labels = set.intersection(*(set(series["metric"]) for series in found))
                assert {*re.findall(r"\{\{(\w+)\}\}", shown.get("legendFormat", ""))} <= labels, panel[
                    "title"
                ]
        rules = [rule for group in answered(url)["groups"] for rule in group["rules"]]
        assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []
        assert len(rules) == 9
        for rule in rules:
            labels = {
                label
                for name in used([rule["query"]])
                for series in answered(url, query=name)["result"]
                for label in series["metric"]
            }
            text = " ".join(rule["annotations"].values())
            assert {*re.findall(r"\$labels\.(\w+)", text)} <= labels, rule["name"]
