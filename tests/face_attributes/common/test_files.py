import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from face_attributes.common import files
from face_attributes.common.errors import FileError

ROOT = Path(__file__).resolve().parents[3]


def test_replacing_puts_the_whole_file_in_place(tmp_path):
    path = tmp_path / "new" / "file"
    with files.replacing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_replacing_leaves_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), files.replacing(path) as partial:
        write_half_to(partial)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write_half_to(path):
    path.write_text("half")
    raise OSError("the disk is full")


def test_replacing_folder_leaves_nothing_of_the_old_one(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "stale").touch()
    with files.replacing_folder(path) as partial:
        (partial / "fresh").touch()
    assert [entry.name for entry in path.iterdir()] == ["fresh"]


def test_replacing_folder_leaves_the_old_one_when_the_block_fails(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(RuntimeError), files.replacing_folder(path):
        raise RuntimeError
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file.json", {"figure": float("nan")})
    assert not list(tmp_path.iterdir())


def test_json_ends_with_a_newline(tmp_path):
    files.write_json(tmp_path / "file.json", {"name": "é"})
    text = (tmp_path / "file.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {"name": "é"}


def test_digest_ignores_the_order_of_keys_but_not_of_items():
    assert files.digest_of({"a": 1, "b": [1, 2]}) == files.digest_of({"b": [1, 2], "a": 1})
    assert files.digest_of({"a": 1, "b": [1, 2]}) != files.digest_of({"a": 1, "b": [2, 1]})


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert files.sha256(path).startswith("ba7816bf 8f01cfea".replace(" ", ""))


def test_names_are_printed_as_one_line_that_a_terminal_does_not_obey():
    latin = os.fsdecode(b"ren\xe9.jpg")
    assert files.printable(latin) == "ren\\xe9.jpg"
    assert files.printable("a\x1b[2Jb\nc\u2028d é") == "a\\x1b[2Jb\\nc\\u2028d é"
    assert (files.is_text(latin), files.is_text("é\n")) == (False, True)


def test_what_a_killed_process_left_is_removed_and_a_living_one_keeps_its_own(tmp_path):
    path = tmp_path / "file[1]"
    script = (
        "import os, sys; from pathlib import Path; from face_attributes.common import files\n"
        "path = Path(sys.argv[1]); folder = path.with_name(path.name + 'd')\n"
        "with files.replacing(path) as a, files.replacing_folder(folder) as b:\n"
        "    (b / 'x').touch(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    with files.replacing(path) as mine, files.replacing_folder(tmp_path / "file[1]d") as folder:
        assert sorted(tmp_path.iterdir()) == sorted([mine, folder])
        with files.replacing(path) as other:
            other.write_text("other")
        assert mine.exists()
        mine.write_text("mine")
    assert path.read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file[1]", "file[1]d"]


def test_a_name_of_255_bytes_can_be_replaced(tmp_path):
    path = tmp_path / ("ü" * 127 + "x")
    files.write_text(path, "whole")
    assert path.read_text() == "whole"


def test_a_pipe_or_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="not a regular file"), files.replacing(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1


def test_git_ignores_partial_files():
    ignored = subprocess.run(
        ["git", "check-ignore", "data/.raw.0a1b2c3d.partial", "data/.labelled.partial/x.parquet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(ignored.stdout.splitlines()) == 2
