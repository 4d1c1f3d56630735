import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.errors import AuditError
from gitops.git.repository import Repository
from gitops.history import audit
from gitops.history.audit import Entry, chain, compare
from gitops.history.events import Event, events
from gitops.history.load import load_past
from gitops.release.approvals import Approval
from tests.support.lab import Lab
from tests.support.pasts import Writer, ids

ENVIRONMENTS = ("staging", "prod")
PATHS = [f"environments/{name}/release.yaml" for name in ENVIRONMENTS]
FULL = "0123456789abcdef0123456789abcdef01234567"


def next_second() -> None:
    """Wait until the dates of git are later: within a second, a commit comes before a tag."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.02)


def entries_of(repository: Repository, tip: str = "refs/heads/main") -> list[Entry]:
    return chain(events(load_past(repository, repository.resolve(tip))))


RELEASE_FILES = st.one_of(
    st.builds(
        "commit: {}\n{}{}".format,
        st.sampled_from([FULL, FULL[::-1], "null"]),
        st.sampled_from(["", "hold: slow (Ada, 2026-01-05 09:00 UTC)\n", "hold: one; two\n"]),
        st.sampled_from(["", "override: it burns\n"]),
    ),
    st.sampled_from(["follow: main\n", "commit: no\n", "", "- a\n", "# changed\ncommit: null\n", "\x00"]),
    st.none(),
)
STEPS = st.tuples(
    st.sampled_from(["push", "merge", "tag"]),
    st.dictionaries(st.sampled_from([*PATHS, "é\n.txt", "README"]), RELEASE_FILES, max_size=3),
    st.integers(-5000, 5000),
    st.sampled_from(
        [
            "verified/dev/1",
            "rejected/prod/2",
            "approved/prod/2/ada",
            "verified",
            "verified/x/y/z",
            "other/1",
            "archive",
        ]
    ),
)


@settings(
    max_examples=10, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(STEPS, min_size=1, max_size=14))
def test_it_is_complete_against_what_plain_git_prints(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, dict[str, str | None], int, str]]
) -> None:
    writer, tags = Writer(), list[str]()
    writer.commit({"README": b"start"}, message="Start")
    for number, (kind, files, seconds, name) in enumerate(steps):
        writer.later(seconds=seconds)
        contents = {
            json.dumps(path) if "\n" in path else path: None if content is None else content.encode()
            for path, content in files.items()
        }
        if kind == "tag":
            clash = (f"{other}/".startswith(f"{name}/") or name.startswith(f"{other}/") for other in tags)
            if not any(clash):
                tags.append(name)
                writer.tag(name, writer.main, "verified\n\n{}")
            continue
        merged = [writer.commit({"n": b"%d" % number}, on=writer.main)] if kind == "merge" else []
        writer.commit(contents, who="Grace <g@example.org>", merged=merged)
    repository = writer.into(tmp_path_factory.mktemp("past") / "origin.git").repository
    found = [entry.event for entry in entries_of(repository)]

    changes = [event for event in found if event.kind == "change"]
    walk = ("log", "--first-parent", "--reverse", "--format=%H %an <%ae>", "main")
    assert [f"{event.source} {event.by}" for event in changes] == [*ids(repository, *walk)]
    merges = [*ids(repository, "log", "--first-parent", "--merges", "--reverse", "--format=%H", "main")]
    assert [event.source for event in changes if event.proposed_by] == merges
    for name, path in zip(ENVIRONMENTS, PATHS, strict=True):
        of_file = {event.source for event in found if event.environment == name and event.on_main}
        meant = {*ids(repository, "log", "--first-parent", "--format=%H", "main", "--", path)}
        # A change of a comment releases nothing.
        silent = meant - of_file
        assert of_file <= meant
        for commit in silent:
            parsed = [repository.read(revision, path) for revision in (commit, f"{commit}^")]
            assert {b"# changed\ncommit: null\n", b"commit: null\n"} == set(parsed)
    folders = ("refs/tags/verified", "refs/tags/rejected", "refs/tags/approved")
    listed = ("for-each-ref", "--format=%(objectname) %(refname:strip=2)", *folders)
    off_main = Counter(f"{event.source} {event.name}" for event in found if not event.on_main)
    assert off_main == Counter(ids(repository, *listed))


def test_a_reason_for_an_override_that_is_taken_out_is_an_event(tmp_path: Path) -> None:
    writer = Writer()
    for text in (f"commit: {FULL}\n", f"commit: {FULL}\noverride: it burns\n", f"commit: {FULL}\n"):
        writer.commit({PATHS[1]: text.encode()})
    found = [entry.event for entry in entries_of(writer.into(tmp_path / "origin.git").repository)]
    overrides = [(event.before, event.detail) for event in found if event.kind == "override"]
    assert overrides == [("", "it burns"), ("it burns", "")]


@pytest.fixture
def run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(lab.clone.path)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(app, ["audit", *args])

    return invoke


def test_it_names_who_proposed_and_merged_verified_held_and_overrode_what(lab: Lab, monkeypatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    first = lab.train("a")
    lab.promote("staging")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace")
    merged = lab.merge("promote/staging")
    lab.verify("staging", first)
    next_second()
    second = lab.train("b")
    slow, freeze = (
        "too slow (Ada, 2026-01-05 09:00 UTC)",
        "freeze (Ada, 2026-01-06 09:00 UTC, until 2099-01-02)",
    )
    for content in (
        f"commit: {second}\n",
        f"commit: {first}\nhold: {slow}\n",
        f"commit: {first}\n",
        f"commit: {first}\nhold: {freeze}\n",
    ):
        lab.declare("staging", content)
    lab.declare("prod", f"commit: {first}\noverride: it burns\n")
    lab.land({"environments/prod/settings.env": b"X=1\n", "environments/calendar.yaml": b"windows: []\n"})
    lab.verify("staging", second, "rejected")
    approval = Approval(environment="prod", release=first, at=datetime.now(UTC))
    name = f"{approval.folder}ada"
    tag = lab.origin.tag(first, name, approval.message, at=approval.at)
    lab.origin.git("update-ref", f"refs/tags/{name}", tag)
    lab.origin.git("update-ref", f"refs/tags/{approval.folder}eve", tag)

    found = [entry.event for entry in entries_of(lab.origin)]
    staging = [event for event in found if event.environment == "staging" and event.release]
    assert [event.kind for event in staging] == [
        *("release", "verified", "release"),
        *("rollback", "hold", "unhold", "hold", "rejected"),
    ]
    assert (staging[0].source, staging[0].before, staging[0].after) == (merged, "no release", first)
    assert (staging[0].by, staging[0].proposed_by) == ("Grace <ada@example.org>", "Ada <ada@example.org>")
    assert staging[1].key.startswith("SHA256:")
    assert (staging[3].before, staging[3].after) == (second, first)
    assert [event.after or event.before for event in staging[4:7]] == [slow, slow, freeze]
    assert [(event.kind, event.detail) for event in found if event.kind == "override"] == [
        ("override", "it burns")
    ]
    tags = [(event.kind, event.environment, event.name) for event in found if event.source == tag]
    assert sorted(tags) == [("approved", "prod", name), ("ignored", "", f"{approval.folder}eve")]
    assert {event.kind for event in found if event.source == lab.tip} == {"change", "settings", "calendar"}


def test_an_export_is_compared_with_git(lab: Lab, run: Callable[..., Result], tmp_path: Path) -> None:
    first = lab.train("a")
    lab.release("staging")
    kept = {}
    for form in ("json", "csv"):
        kept[form] = tmp_path / f"audit.{form}"
        kept[form].write_text(run(f"--{form}").stdout)
    events_now = json.loads(kept["json"].read_text())
    assert [row["number"] for row in events_now] == [*range(1, len(events_now) + 1)]
    next_second()
    lab.train("b")
    for file in kept.values():
        result = run("--verify", str(file))
        assert result.exit_code == 0, result.stderr
        assert f"all {len(events_now)} events" in result.stdout
        assert "and 2 newer ones" in result.stdout

    lab.origin.git("tag", "--delete", f"verified/staging/{first[:12]}")
    result = run("--verify", str(kept["json"]))
    assert result.exit_code == 1
    assert f"audit.json:{len(events_now) + 1}: git does not have this event any more" in result.stderr
    assert "staging verified" in result.stderr

    lab.origin.git("update-ref", "refs/heads/main", f"{first}^")
    result = run("--verify", str(kept["csv"]))
    assert result.exit_code == 1
    line = next(
        number for number, row in enumerate(kept["csv"].read_text().split("\n"), 1) if "Model a" in row
    )
    assert f"audit.csv:{line}: git does not have this event" in result.stderr


def test_a_changed_export_is_found_at_its_line(lab: Lab, run: Callable[..., Result], tmp_path: Path) -> None:
    lab.train("a")
    file = tmp_path / "audit.json"
    text = run("--json").stdout
    rows = text.splitlines(keepends=True)
    line = next(number for number, row in enumerate(rows, 1) if "Model a" in row)
    file.write_text(text.replace("Model a", "Model b"))
    assert f"audit.json:{line}: its hash is not that of its content" in run("--verify", str(file)).stderr
    file.write_text("".join([*rows[:4], *rows[5:]]))
    assert "audit.json:5: its hash is not" in run("--verify", str(file)).stderr
    for content in ("", "{}", "[\n{}\n]\n", "number\n1\n", "[\n[\n]", "\x00"):
        file.write_text(content)
        result = run("--verify", str(file))
        assert result.exit_code == 1, content
        assert "name an export of gitops audit" in result.stderr
    assert run("--verify", str(tmp_path / "missing")).exit_code == 1


def test_an_export_from_a_day_on_is_the_end_of_the_whole(run: Callable[..., Result], tmp_path: Path) -> None:
    whole = json.loads(run("--json").stdout)
    assert json.loads(run("--json", "--since", "1999-12-31").stdout) == whole
    assert run("--json", "--since", "2099-01-01").stdout == "[]\n"
    assert run("--since", "today").exit_code == 2
    assert run("--json", "--csv").exit_code == 2
    file = tmp_path / "empty"
    file.write_text("[]\n")
    assert run("--verify", str(file)).exit_code == 0


def event(number: int, kind: str = "change", **values: str) -> Event:
    return Event(f"2026-01-{number:02}T00:00:00+00:00", kind, source=f"{number:040}", **values)


def exported(past: Sequence[Event]) -> list[tuple[int, Entry]]:
    return audit.read(audit.to_json(chain(past)).encode())


def test_a_late_tag_is_named_and_a_late_commit_parts_them() -> None:
    past = [event(number) for number in range(1, 6)]
    tag = replace(event(2, "verified"), name="verified/dev/x")
    result = compare(exported(past), chain([*past[:2], tag, *past[2:], event(7)]))
    assert (result.parted, result.late, result.newer) == (None, (tag,), 1)
    parted = compare(exported(past), chain([*past[:2], event(9), *past[2:]])).parted
    assert parted is not None
    assert parted[0] == 4
    assert "another event in its place: 2026-01-09" in parted[1]
    assert compare(exported(past), chain([past[0], past[2], past[1], *past[3:]])).parted is not None
    end = exported(past)[2:]
    assert compare(end, chain(past)).parted is None
    # Without its number, the end of an export would hide what was taken off its beginning.
    assert compare([(3, replace(end[0][1], number=1)), *end[1:]], chain(past)).parted is not None


TEXT = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)


@settings(max_examples=50)
@given(st.lists(st.builds(Event, TEXT, TEXT, TEXT, TEXT, TEXT, detail=TEXT), max_size=5))
def test_both_forms_give_back_every_event(past: list[Event]) -> None:
    entries = chain(past)
    for content in (audit.to_json(entries), audit.to_csv(entries)):
        assert [entry for _, entry in audit.read(content.encode())] == entries


def test_a_spreadsheet_calculates_nothing() -> None:
    row = audit.to_csv(chain([event(1, by="=1+1", name="-2", detail="@x")])).splitlines()[1]
    assert ",'=1+1," in row
    assert ",'-2," in row
    assert not any(cell.startswith(("=", "-", "@", "+")) for cell in row.split(","))


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(AuditError, match="line 1"):
        audit.read(b"number,at\n1,2\n")


def test_a_table_with_an_empty_or_a_short_row_is_refused() -> None:
    text = audit.to_csv(chain([event(1), event(2)]))
    for cut in ("\n", "3\n"):
        with pytest.raises(AuditError, match="line 4: not an event of an export"):
            audit.read(f"{text}{cut}".encode())


HOSTILE = "\x1b]0;x\x07\x1b[31m\u202eevil\x9b31m<b>\r\nnext\u2028line"


def test_hostile_names_stay_on_printable_lines_that_are_read_again(tmp_path: Path) -> None:
    writer = Writer()
    path = json.dumps("x\n\x1b[31m\u202e")
    first = writer.commit({path: b""}, message=HOSTILE + "x" * 1_000_000, who="=Ada\x1b[31m\u202e <a@b>")
    sides = [
        writer.commit({f"n{number}": b"1"}, on=first, who=f"{f'é{number}' * 60} <x{number}@y>")
        for number in range(400)
    ]
    writer.commit({"b": b"1"}, merged=sides)
    for name in ("verified/dev/\u202e\x9bx", "rejected/\u202eprod/x", "approved/prod/x/=1+1"):
        writer.tag(name, first, f"{name}\n\n{json.dumps({'environment': HOSTILE, 'reason': HOSTILE})}")
    kept = entries_of(writer.into(tmp_path / "origin.git").repository)
    assert [len(kept), len([entry for entry in kept if not entry.event.on_main])] == [5, 3]
    for content in (audit.to_json(kept), audit.to_csv(kept)):
        assert [entry for _, entry in audit.read(content.encode())] == kept
    for entry in kept:
        assert audit.describe(entry.event).isprintable()
        assert all(text.isprintable() for text in entry.event.plain().values())


def test_a_clock_that_goes_back_changes_no_order(tmp_path: Path) -> None:
    writer = Writer()
    first = writer.commit({"a": b"1"}, message="First")
    writer.later(days=-3)
    writer.tag("verified/dev/x", first, "early")
    second = writer.commit({"a": b"2"}, message="Second")
    written = writer.into(tmp_path / "origin.git")
    kept = entries_of(written.repository)
    assert [entry.event.name for entry in kept] == ["verified/dev/x", "First", "Second"]
    assert kept[-1].event.source == written.ids[second]
