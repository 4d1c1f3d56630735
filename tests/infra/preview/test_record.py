"""The name of a preview, and its end under clocks that jump."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.release import environments
from infra.local.errors import EngineError
from infra.preview import record
from infra.preview.record import Preview, name_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def preview(hours: float = 8, lived: float = 0, since: datetime = NOW) -> Preview:
    return Preview(branch="wider", commit="a" * 40, port=20_000, since=since, hours=hours, lived=lived)


@given(st.text(min_size=1))
def test_each_branch_has_a_name_that_an_environment_may_have(branch: str) -> None:
    environments.check_name(name_of(branch))


def test_branches_that_differ_in_signs_alone_have_names_of_their_own() -> None:
    branches = ["a/b", "a-b", "a_b", "A/b", "../a/b", "-a-b", "a" * 300, "a" * 301, "ä", "ö", "main"]
    assert len({name_of(branch) for branch in branches}) == len(branches)


@pytest.mark.parametrize(
    ("now", "lived", "over"),
    [
        (NOW, 0, False),
        (NOW + timedelta(hours=7.9), 7.9, False),
        (NOW + timedelta(hours=8), 0, True),
        # The clock jumped back a year, and the engine counted on
        (NOW - timedelta(days=365), 7.9, False),
        (NOW - timedelta(days=365), 8, True),
        # It jumped forward
        (NOW + timedelta(days=365), 0.1, True),
    ],
)
def test_a_preview_ends_by_the_clock_or_by_the_hours_that_were_counted(
    now: datetime, lived: float, over: bool
) -> None:
    assert preview(lived=lived).is_over(now) is over


def test_a_preview_that_was_taken_down_is_over_at_once() -> None:
    assert preview(hours=0).is_over(NOW - timedelta(days=1))


def test_a_record_of_a_preview_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "preview-wider"
    assert record.read(folder) is None
    record.write(folder, preview())
    assert record.read(folder) == preview()
    assert record.read_all(tmp_path) == [preview()]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b"\xff"])
def test_a_record_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / record.FILE).write_bytes(content)
    with pytest.raises(EngineError, match=r"^\S+preview\.json: .*; remove the folder \S+$"):
        record.read(tmp_path)
