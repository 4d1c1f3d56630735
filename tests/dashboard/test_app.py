import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboard import app as pages
from dashboard.access import may_read
from gitops.release import health
from gitops.release.health import Health
from tests.dashboard.world import NOW, World, column


@pytest.fixture
def app() -> FastAPI:
    return pages.make()


@pytest.fixture
def stranger(app: FastAPI) -> TestClient:
    """Somebody without a session."""
    return TestClient(app)


@pytest.fixture
def reader(app: FastAPI) -> TestClient:
    """Somebody who may read."""
    app.dependency_overrides[may_read] = lambda: None
    return TestClient(app)


def paths(app: FastAPI, world: World) -> list[str]:
    """A path for every route of the app, and some of no route."""
    world.check(NOW)
    [run] = [path.parent.name for path in world.home.glob("monitoring/*/drift.json")]
    found = []
    for route in app.routes:
        values = {"run": run, "name": "style.css", "path": "nowhere/at/all"}
        found.append(re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", route.path).format(**values))
    assert len(found) == 11, "a new route is to be tried too"
    names = ("theme.js", "times.js", "icon.svg", "icon-dark.svg", "nothing.css")
    return [*found, *(f"/static/{name}" for name in names), "/docs", "/redoc", "/openapi.json"]


def test_nobody_sees_anything_without_a_session(app: FastAPI, stranger: TestClient, world: World) -> None:
    for path in paths(app, world):
        for headers in ({}, {"Cookie": "_token="}):
            answer = stranger.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert "Log in to this Airflow first" in answer.text
            assert "VISAGE" not in answer.text
            assert "staging" not in answer.text


def test_routes_do_nothing_but_read(app: FastAPI) -> None:
    assert all(route.methods <= {"GET", "HEAD"} for route in app.routes)


def test_a_reader_gets_every_part(app: FastAPI, reader: TestClient, world: World) -> None:
    world.release("first")
    world.serve()
    for path in paths(app, world):
        absent = ("/docs", "/redoc", "/openapi.json", "/nowhere/at/all", "/static/nothing.css")
        found = path not in (*absent, "/runbooks/style.css/")
        answer = reader.get(path)
        # A session is no token.
        expected = 401 if path == "/metrics" else 200 if found else 404
        assert answer.status_code == expected, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_a_program_gets_the_condition(reader: TestClient, world: World) -> None:
    commit = world.release("first")
    world.serve()
    assert reader.get("/condition.json").json()["health"] is None
    watch = Health(releases=[commit], before=None, since=NOW, until=NOW, state="errored", ill="disk: full")
    health.write(world.storage / "release", watch)
    answer = reader.get("/condition.json").json()
    assert answer == {"format": 1, "health": "errored", "ill": "disk: full", "refused": ""}
    (world.storage / "release" / health.FILE).write_text("{")
    assert reader.get("/condition.json").status_code == 503


def test_the_page_itself_runs_no_foreign_line(reader: TestClient, world: World) -> None:
    world.serve()
    world.check(NOW, reasons=["<script>alert(1)</script>"], triggered='" onmouseover="alert(2)')
    world.batch(NOW.date(), "a", quarantined={"<img src=x onerror=alert(3)>": 1})
    answer = reader.get("/?weeks=52")
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
    assert "<script>alert" not in answer.text
    assert '" onmouseover' not in answer.text
    assert "<img src=x" not in answer.text
    assert not re.search(r"<[^>]* (style|on\w+)=", answer.text), "the policy would refuse it"
    assert set(re.findall(r'(?:src|href)="(https?:[^"]*)"', answer.text)) == set()


def test_a_report_has_no_scripts_and_can_send_nothing(reader: TestClient, world: World) -> None:
    """Evidently's own report could navigate, send packets by WebRTC, and does not escape names of columns."""
    hostile = "</script><script>alert(1)</script>"
    world.check(NOW, drift={"columns": {hostile: column(0.5), "<img src=x onerror=alert(1)>": column(0.4)}})
    [folder] = [path.parent for path in world.home.glob("monitoring/*/drift.json")]
    (folder / "drift.html").write_text("<script>alert(1)</script>")
    answer = reader.get(f"/reports/{folder.name}/")
    assert answer.status_code == 200
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in answer.text
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-src" not in policy
    assert reader.get(f"/reports/{folder.name}/drift.html").status_code == 404


@pytest.mark.parametrize(
    "name", ["%2e%2e", "..%2f..", "....//", "%2e%2e%2fsecret", ".hidden", "linked", "secret%00", "none"]
)
def test_a_report_is_looked_up_and_never_a_path(reader: TestClient, world: World, name: str) -> None:
    world.check(NOW)
    for folder in (world.home, world.home / "secret", world.home / "monitoring/.hidden"):
        folder.mkdir(exist_ok=True)
        (folder / "drift.json").write_text('{"columns": {"secret": {"distance": 1}}}')
    (world.home / "monitoring/linked").symlink_to(world.home / "secret")
    (world.home / "monitoring/run").mkdir()
    (world.home / "monitoring/run/drift.json").symlink_to(world.home / "secret/drift.json")
    for path in (f"/reports/{name}/drift.json", f"/reports/{name}/", "/reports/run/"):
        answer = reader.get(path)
        assert answer.status_code == 404
        assert "secret" not in answer.text


@pytest.mark.parametrize("weeks", ["", "0", "-1", "x", "99999999999", "²", "27"])
def test_weeks_that_nobody_offers_are_the_usual_ones(reader: TestClient, world: World, weeks: str) -> None:
    world.serve()
    answer = reader.get("/", params={"weeks": weeks})
    assert answer.status_code == 200
    assert '?weeks=13#labels" aria-current="true"' in answer.text


def test_an_environment_that_is_not_set_up_says_so(
    reader: TestClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "release.json does not exist. It appears seconds after the dag-processor starts"
        in reader.get("/").text
    )
    monkeypatch.delenv("VISAGE_HOME")
    answer = reader.get("/")
    assert answer.status_code == 200
    assert "VISAGE_HOME is not set" in answer.text
    assert reader.get("/reports/any/").status_code == 503


def test_what_is_damaged_is_shown_as_that(reader: TestClient, world: World) -> None:
    world.serve()
    today = datetime.now(UTC)
    world.check(today - timedelta(days=8))
    record = world.home / "monitoring/decisions.jsonl"
    record.write_bytes(record.read_bytes() + b'{"at": "2026-\xff\n[]\n{"at": 3}\n' + b"[" * 100_000 + b"\n")
    world.check(today)
    world.batch(today.date(), "good", rows=7)
    world.batch(today.date(), "bad").write_text('{"rows": -1}')
    (world.storage / "release/release.json").write_text("{")
    page = reader.get("/").text
    for number in (2, 3, 4, 5):
        assert f"line {number} of monitoring/decisions.jsonl cannot be read" in page
    assert page.count("No drift in 2000 images") == 2
    problem = "rows: Input should be greater than or equal to 0. Score its batch again"
    assert f"scores/date={today.date()}/bad.json: {problem}" in page
    assert "7 images in total" in page
    assert "release.json: content: Invalid JSON" in page


def test_a_runbook_is_there_when_it_is_needed(reader: TestClient, world: World) -> None:
    world.lab.land({"docs/runbooks/accuracy.md": b"# Alarm\n\n<script>1 < 2</script> roll back\n"})
    world.release("first")
    world.serve()
    answer = reader.get("/runbooks/accuracy/")
    assert answer.status_code == 200
    assert "&lt;script&gt;1 &lt; 2&lt;/script&gt; roll back" in answer.text
    for name in ("nothing", "..%2F..%2FREADME", "Accuracy", "a.b"):
        assert reader.get(f"/runbooks/{name}/").status_code == 404, name


def test_the_card_of_the_running_release(reader: TestClient, world: World) -> None:
    world.serve()
    answer = reader.get("/card/")
    assert answer.status_code == 404
    assert "The running release has no model card." in answer.text
    commit = world.release("first")
    world.serve()
    text = reader.get("/card/").text
    assert commit[:12] in text
    assert '<th scope="row">licence</th><td class="wrap">MIT</td>' in text
    assert '<th scope="row">terms</th><td class="wrap">not evaluated</td>' in text
    assert 'href="card/"' in reader.get("/").text


def test_the_picture_of_groups_is_a_jpeg_of_the_release_or_nothing(reader: TestClient, world: World) -> None:
    world.release("first")
    world.serve()
    answer = reader.get("/groups.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert 'src="groups.jpg"' in reader.get("/").text
    forged = world.lab.land({"plots/served_worst.jpg": b"<script>alert(1)</script>"})
    world.lab.declare("staging", f"commit: {forged}\n")
    world.serve()
    assert reader.get("/groups.jpg").status_code == 404
