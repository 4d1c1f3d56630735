import dataclasses
import io
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from gitops.airflow.ask import collect
from gitops.airflow.client import Access
from gitops.airflow.status import EnvironmentStatus, show
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.text import instructions
from tests.support import trials
from tests.support.environments import ENVIRONMENTS
from tests.support.fake_airflow import FakeAirflow
from tests.support.lab import CHECKS, Lab


@pytest.fixture
def fakes() -> Iterator[dict[str, FakeAirflow]]:
    with ExitStack() as stack:
        yield {environment: stack.enter_context(FakeAirflow()) for environment in ENVIRONMENTS}


def rows(lab: Lab, fakes: dict[str, FakeAirflow]) -> dict[str, EnvironmentStatus]:
    return {row.environment: row for row in collect(lab.clone, lab.state(), access(fakes))}


def access(fakes: dict[str, FakeAirflow]) -> dict[str, Access]:
    return {environment: fake.access for environment, fake in fakes.items()}


def printed(found: dict[str, EnvironmentStatus], known: dict[str, Access], *, terminal: bool) -> str:
    out = io.StringIO()
    show(
        list(found.values()), known, Console(file=out, force_terminal=terminal, width=200, color_system=None)
    )
    return out.getvalue()


def test_no_release_yet_agrees_with_nothing_running(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    fakes["dev"].dag("example", lab.tip)
    found = rows(lab, fakes)
    assert [row.agree for row in found.values()] == [True, True, True]
    assert (found["staging"].declared, found["staging"].running) == (None, None)
    assert "no release yet" in printed(found, access(fakes), terminal=False)


def test_an_environment_that_is_ill_is_errored_with_the_reason(
    lab: Lab, fakes: dict[str, FakeAirflow]
) -> None:
    for name, fake in fakes.items():
        fake.dag("example", lab.tip)
        assert rows(lab, fakes)[name].health is None, "an earlier runtime has no such page"
    fakes["dev"].condition = {"format": 1, "health": "errored", "ill": "disk: full\n[red]", "news": 1}
    fakes["prod"].condition = {"format": 1, "refused": "c4e6d5e4400c: cannot be examined now: disk: full"}
    found = rows(lab, fakes)
    assert (found["dev"].health, found["dev"].plain()["ill"]) == ("errored", "disk: full [red]")
    lines = printed(found, access(fakes), terminal=False)
    assert "  errored, no verdict: disk: full [red]" in lines
    assert "  c4e6d5e4400c: cannot be examined now: disk: full" in lines
    fakes["staging"].unhealthy.add("dag_processor")
    found = rows(lab, fakes)
    assert (found["staging"].health, found["staging"].ill) == ("errored", "dag_processor: unhealthy")
    fakes["dev"].condition = {"format": 1, "health": "odd"}
    assert "/visage/condition.json: health: " in str(rows(lab, fakes)["dev"].trouble)


def test_a_verification_that_failed_without_a_verdict_is_errored(
    lab: Lab, fakes: dict[str, FakeAirflow]
) -> None:
    commit = lab.train("a", verified=False)
    fakes["dev"].dag("verify_release", commit)
    fakes["dev"].run("verify_release", "failed")
    reason = "the last run of verify_release failed without a verdict; its log has the reason"
    found = rows(lab, fakes)
    assert (found["dev"].verified, found["dev"].ill) == (None, reason)
    assert f"errored, no verdict: {reason}" in printed(found, access(fakes), terminal=False)
    lab.verify("dev", commit, "rejected")
    assert rows(lab, fakes)["dev"].ill == ""
    # A failed run of the release before is no news about this one.
    later = lab.train("b", verified=False)
    fakes["dev"].dag("example", later, parsed="2026-01-02T00:00:00Z")
    assert rows(lab, fakes)["dev"].ill == ""


def test_a_model_of_an_earlier_commit_is_told_with_the_next_command(
    lab: Lab, fakes: dict[str, FakeAirflow]
) -> None:
    start = rows(lab, fakes)["dev"]
    assert start.notice is not None
    assert start.notice.text == "no model yet: train"
    lab.train("a")
    lab.release("staging")
    assert [row.notice for row in rows(lab, fakes).values()] == [None] * 3
    lab.land({"dvc.yaml": (lab.origin.read("main", "dvc.yaml") or b"").replace(b"make it", b"make it well")})
    found = rows(lab, fakes)
    assert found["staging"].notice is None
    lines = printed(found, access(fakes), terminal=False).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("dev      http"))
    assert lines[place + 2].strip() == (
        'model of an earlier commit: train. Since then: its command was "make it", is "make it well" (export)'
    )
    assert lines[place + 3].strip() == ".venv/bin/gitops train main --wait"
    assert found["dev"].plain()["notice"]["command"] == ".venv/bin/gitops train main --wait"


def test_declared_running_and_figures(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    commit = lab.train("a", 0.91)
    lab.release("staging")
    fakes["dev"].dag("verify_release", commit)
    fakes["dev"].run("verify_release", "success")
    fakes["staging"].dag("verify_release", commit)
    found = rows(lab, fakes)
    assert found["dev"].declared == lab.tip != found["dev"].running
    assert [row.agree for row in found.values()] == [True, True, True]
    assert found["dev"].last_run == "success"
    assert found["staging"].last_run is None
    assert (found["dev"].verified, found["staging"].verified) == (True, True)
    assert found["staging"].mean_accuracy == 0.91
    assert len(found["staging"].model_sha256 or "") == 64
    assert found["prod"].model_sha256 is None


def test_what_runs_is_another_release(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    old = lab.train("a", 0.9)
    lab.train("b", 0.95)
    fakes["dev"].dag("example", old)
    fakes["staging"].dag("example", old)
    fakes["prod"].dag("example", "f" * 40)
    found = rows(lab, fakes)
    assert [row.agree for row in found.values()] == [False, False, False]
    assert found["dev"].mean_accuracy == 0.9


def test_a_rejected_release_does_not_agree(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    old = lab.train("a")
    bad = lab.train("b")
    lab.verify("dev", bad, "rejected")
    fakes["dev"].dag("example", old)
    row = rows(lab, fakes)["dev"]
    assert (row.verified, row.agree) == (False, False)
    assert row.trouble == f"dev rejected {bad[:12]}; it runs its last verified release"
    fakes["dev"].dag("example", bad)
    trouble = rows(lab, fakes)["dev"].trouble
    assert trouble == f"dev rejected {bad[:12]}; it goes on, as there is no verified one to return to"


def test_who_sees_a_rejected_release_can_paste_the_way_back(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    lab.verify("staging", lab.train("a"))
    lab.release("staging")
    bad = lab.train("b")
    lab.release("staging")
    for environment in ("dev", "staging"):
        lab.verify(environment, bad, "rejected")
    shown = printed(rows(lab, fakes), access(fakes), terminal=False)
    commands = instructions.text(instructions.roll_back("staging"), indent="    ")
    assert f"To go back in staging:\n\n{commands}\n" in shown
    assert "To go back in dev:" in shown
    assert "git revert --no-edit " in shown
    assert "To go back in prod" not in shown


def test_a_hold_is_shown_with_the_way_to_lift_it(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    commit = lab.train("a")
    lab.declare("prod", f"commit: {commit}\nhold: on fire\n")
    shown = printed(rows(lab, fakes), access(fakes), terminal=False)
    assert instructions.text(instructions.lift_hold("prod"), indent="    ") in shown


def test_an_airflow_that_does_not_answer(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    fakes["staging"].close()
    fakes["prod"].unhealthy = {"dag_processor"}
    found = rows(lab, fakes)
    assert (found["staging"].running, found["staging"].agree) == (None, False)
    assert "nothing answers there" in (found["staging"].trouble or "")
    assert (found["prod"].agree, found["prod"].trouble) == (False, "dag_processor: unhealthy")
    assert collect(lab.clone, lab.state(), {})[0].trouble == (
        "not running (.visage/access.json does not name it); start it: make up"
    )


def test_a_release_file_that_is_not_valid(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    lab.declare("staging", "x: 1\n")
    row = rows(lab, fakes)["staging"]
    assert (row.declared, row.agree) == (None, False)
    assert "x: unknown key" in (row.trouble or "")


def test_holds_are_shown(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    commit = lab.train("a")
    lab.declare("prod", f"commit: {commit}\nhold: on fire\n")
    found = rows(lab, fakes)
    assert found["prod"].hold == "on fire"
    assert "held: on fire" in printed(found, access(fakes), terminal=False)
    [only] = found["prod"].plain()["holds"]
    assert only == {"reason": "on fire", "by": None, "at": None, "until": None, "stands": True}


def test_each_hold_is_shown_with_its_command(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    commit = lab.train("a")
    listed = "freeze (Ada, 2026-11-28 10:00 UTC, until 2099-01-02); on fire (Bob, 2026-11-29 11:00 UTC)"
    lab.declare(
        "prod", f"commit: {commit}\nhold: {listed}; over (Eve, 2026-11-01 10:00 UTC, until 2026-11-02)\n"
    )
    found = rows(lab, fakes)
    assert found["prod"].hold == listed
    assert [hold["stands"] for hold in found["prod"].plain()["holds"]] == [True, True, False]
    shown = printed(found, access(fakes), terminal=False)
    assert f"held: {listed}" in shown
    assert "no longer held: over (until 2026-11-02)" in shown
    assert ".venv/bin/gitops unhold prod --reason freeze --push" in shown
    assert ".venv/bin/gitops unhold prod --reason 'on fire' --push" in shown


def test_passwords_are_for_people_only(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    found = rows(lab, fakes)
    assert "s3cret" in printed(found, access(fakes), terminal=True)
    plain = printed(found, access(fakes), terminal=False)
    assert "s3cret" not in plain
    assert "user airflow" in plain
    assert "s3cret" not in str([row.plain() for row in found.values()])


def test_since_is_an_age(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    row = rows(lab, fakes)["dev"]
    assert row.since is not None
    for seconds, text in ((5, " 5s "), (60 * 5, " 5min "), (3600 * 5, " 5h "), (86400 * 5, " 5d ")):
        out = io.StringIO()
        show([row], {}, Console(file=out, width=200), now=row.since + timedelta(seconds=seconds))
        assert text in out.getvalue()


def test_the_checks_of_a_verdict_are_listed(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    lab.verify("dev", lab.train("a", verified=False), checks=CHECKS[:1])
    found = rows(lab, fakes)
    lab.verify("dev", lab.train("b", verified=False), "rejected", checks=CHECKS)
    rejected = rows(lab, fakes)
    assert [check["name"] for check in found["dev"].plain()["checks"]] == ["DAG files"]
    assert [check["result"] for check in rejected["dev"].plain()["checks"]] == ["passed", "failed"]
    assert found["prod"].plain()["checks"] == []
    out = io.StringIO()
    show([found["dev"], rejected["dev"]], {}, Console(file=out, width=200))
    assert "checks: 1 passed\n" in out.getvalue()
    assert "checks: 1 passed, 1 failed" in out.getvalue()


def test_every_commit_can_be_read_on_eighty_columns(lab: Lab, fakes: dict[str, FakeAirflow]) -> None:
    found = [
        dataclasses.replace(
            row,
            environment="staging",
            declared="a" * 40,
            running="b" * 40,
            model_sha256="c" * 64,
            mean_accuracy=0.9717,
            verified=True,
            last_run="success",
        )
        for row in rows(lab, fakes).values()
    ]
    out = io.StringIO()
    now = max(row.since for row in found if row.since) + timedelta(minutes=59)
    show(found, {}, Console(file=out, width=80), now=now)
    assert "…" not in out.getvalue()
    assert f"{'a' * 12} {'b' * 12} 59min {'c' * 8}" in out.getvalue()


def test_since_when(lab: Lab, fakes: dict[str, FakeAirflow], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is no release nor a hold that is lifted makes a release a newer one."""

    def on(day: int) -> None:
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_DATE", f"2026-01-{day:02}T00:00:00Z")

    on(1)
    first = lab.train("a")
    on(2)
    lab.declare("staging", f"commit: {first}\n")
    on(3)
    second = lab.train("b")
    on(4)
    lab.declare("staging", f"commit: {second}\n")
    on(5)
    lab.declare("staging", f"commit: {first}\nhold: slow\n")
    on(6)
    lab.declare("staging", f"commit: {first}\n")
    on(7)
    lab.land({"README.md": b"news\n"})
    found = rows(lab, fakes)
    days = [row.since and row.since.day for row in found.values()]
    assert days == [3, 5, days[-1]]
    assert found["prod"].declared is None
    assert found["staging"].plain()["since"] == "2026-01-05T00:00:00+00:00"


def test_a_trial_is_shown_beside_the_release(lab: Lab, fakes: dict[str, FakeAirflow], tmp_path: Path) -> None:
    lab.train("a")
    first = lab.release("staging")
    second = lab.train("b", 0.91)
    assert rows(lab, fakes)["staging"].shadow is None
    lab.declare("staging", release_file.render(Release(commit=first, shadow=second), "staging").decode())
    lines = printed(rows(lab, fakes), access(fakes), terminal=False)
    assert f"  shadow {second[:12]}: no report yet" in lines
    canary = Release(commit=first, canary=second, share=10)
    lab.declare("staging", release_file.render(canary, "staging").decode())
    trials.answer(lab, tmp_path, trials.about(lab, (first, second), trials.figures(answered=50), share=10))
    found = rows(lab, fakes)
    report = "500 images, 50 of them answered by the canary, 98.0% agreement, 0 failed batches"
    lines = printed(found, access(fakes), terminal=False)
    assert f"  canary {second[:12]} at 10%: {report}" in lines
    assert found["staging"].plain()["shadow"]["report"]["figures"]["answered"] == 50
    lab.verify("staging", second, "rejected")
    lines = printed(rows(lab, fakes), access(fakes), terminal=False)
    assert f"  canary {second[:12]} at 10%: ended, rejected in staging: mean accuracy" in lines
