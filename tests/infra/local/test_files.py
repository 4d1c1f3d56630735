from pathlib import Path

import pytest

from infra.local import files
from infra.local.errors import EngineError


def test_a_file_is_replaced_at_once_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": 2})
    assert files.read_json(path) == {"a": 2}
    assert path.stat().st_mode & 0o777 == 0o600, "other users read nothing"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_nothing_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert files.read_json(tmp_path / "missing") is None
    (tmp_path / "broken").write_text("{")
    with pytest.raises(EngineError, match="broken: not JSON"):
        files.read_json(tmp_path / "broken")


def test_tail_reads_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert files.tail(path, 3) == []
    path.write_text("".join(f"line {number}\n\n" for number in range(10_000)))
    assert files.tail(path, 2) == ["line 9998", "line 9999"]
