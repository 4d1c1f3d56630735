import json

import pytest

from face_attributes.common import files


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
