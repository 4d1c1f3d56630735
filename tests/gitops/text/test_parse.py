import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops.dvc import parameters
from gitops.dvc.parameters import FaultError
from gitops.errors import ParseError
from gitops.text import parse
from tests.gitops import fuzz

ALL = (parse.RELEASE, parse.LOCK, parse.PARAMS, parse.SETTING, parse.VERDICT)
SYNTAX = st.text(" \t\r\n-?:,[]{}#&*!|>'\"%@`~<=\\0aux\ufeff\x00\x85\u2028é", max_size=80)
TEXT = (
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))
    | SYNTAX.map(str.encode)
)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    return all(map(plain, value)) if isinstance(value, list) else value is None or type(value) is str


@settings(max_examples=1000)
@given(TEXT, st.sampled_from(ALL))
def test_any_bytes_are_plain_values_or_one_line(content: bytes, limits: parse.Limits) -> None:
    for read in (parse.yaml_value, parse.json_value):
        try:
            found = read(content, limits)
        except ParseError as error:
            message = error.at("file")
            assert message.startswith("file:")
            assert message.isprintable()
            assert len(message) < 300
        else:
            assert depth(found) <= limits.depth
            if read is parse.yaml_value:
                assert plain(found)
            json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


@settings(max_examples=200)
@given(TEXT)
def test_any_bytes_are_a_file_of_this_repository_or_one_error(content: bytes) -> None:
    """Each reader of text that anybody may push, by its own entry."""
    for read in fuzz.READERS.values():
        fuzz.one(read, content)


LEAVES = st.none() | st.text(max_size=9)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_text_is_read_as_other_readers_read_it(value: Any) -> None:
    assert parse.yaml_value(yaml.safe_dump(value).encode(), parse.PARAMS) == value


def test_values_stay_as_they_are_written() -> None:
    content = b"a: 1_000\nb: 0o17\nc: yes\nd: 2001-01-01\ne: .inf\nf: 1e400\ng: null\nh: 'null'\ni:\nj: ~\n"
    assert parse.yaml_value(content, parse.PARAMS) == {
        "a": "1_000",
        "b": "0o17",
        "c": "yes",
        "d": "2001-01-01",
        "e": ".inf",
        "f": "1e400",
        "g": None,
        "h": "null",
        "i": None,
        "j": None,
    }


def test_aliases_and_merge_keys_where_they_belong() -> None:
    content = b"base: &b {x: 1, y: [2]}\nother:\n  <<: *b\n  x: 3\nmany:\n  <<: [*b, {z: 4}]\n"
    assert parse.yaml_value(content, parse.PARAMS) == {
        "base": {"x": "1", "y": ["2"]},
        "other": {"x": "3", "y": ["2"]},
        "many": {"x": "1", "y": ["2"], "z": "4"},
    }


BOMB = b"".join(
    b"a%d: &a%d [%s]\n" % (number, number, b", ".join([b"*a%d" % (number - 1) if number else b"x"] * 9))
    for number in range(12)
)
MERGES = b"a0: &a0 {x: 1}\n" + b"".join(
    b"a%d: &a%d {<<: [%s], k%d: 1}\n" % (number, number, b", ".join([b"*a%d" % (number - 1)] * 40), number)
    for number in range(1, 300)
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a: !!bool maybe", "f:1: a tag (!)"),
        (b"a: !!python/object/apply:os.system [x]", "f:1: a tag (!)"),
        (b"a: ! x", "f:1: a tag (!)"),
        (b"%TAG ! tag:x,2000:\n---\na: b", "f:1: a directive (%)"),
        (b"%YAML 1.2\n---\na: b", "f:1: a directive (%)"),
        (b"%YAML 1." + b"9" * 500 + b"\n---\na: b", "f:1: found extremely long version number"),
        (b"a: b\n---\nc: d", "f:2: a second document"),
        (b"a: b\n...\n---\n", "f:3: a second document"),
        (b"a: b\nc: d\na: e", "f:3: a is there twice"),
        (b"? [a]\n: b", "f:1: a key that is not text"),
        (b"&a [*a]", "f:1: the alias *a of nothing before it"),
        (b"a: *b", "f:1: the alias *b of nothing before it"),
        (b"<<: x", "a merge key (<<) of something that is not a mapping"),
        (b"a: b\0c", "f:1: a control character"),
        (b"a:\n  b: \x1b[31m", "f:2: a control character"),
        (b"\xff\xfea\0:\0 \0b\0", "f: not UTF-8 text"),
        (b"a: \xed\xa0\x80", "f: not UTF-8 text"),
        (b"[" * 33 + b"]" * 33, "f:1: more than 32 levels deep"),
        (b"[" * 90_000, "f:1: more than 32 levels deep"),
        (b"- " * 40_000, "more than 32 levels deep"),
        (b"x" * 100_001, "f: larger than 100,000 bytes"),
        (b"[" + b"1," * 6000 + b"]", "f:1: more than 5,000 values"),
        (BOMB, "more than 5,000 values"),
        (MERGES, "more than 5,000 values"),
        (b"a: [", "f:2: did not find expected node content"),
    ],
)
def test_refuses_yaml_quickly(content: bytes, says: str) -> None:
    began = time.process_time()
    with pytest.raises(ParseError) as caught:
        parse.yaml_value(content, parse.PARAMS)
    assert says in caught.value.at("f")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "f:1: not JSON: Expecting value"),
        (b"[" * 16_000, "f: not JSON: nested too deeply"),
        (b"[" * 9 + b"]" * 9, "f: more than 8 levels deep"),
        (b'{"a": 1,\n"a": 2}', "f: a key is there twice"),
        (b"NaN", "f: NaN is not a number of JSON"),
        (b"[-Infinity]", "f: -Infinity is not a number of JSON"),
        (b"1e999", "f: a number that is too large"),
        (b"1" * 5000, "f: a number of more than 300 digits"),
        (b'"\\ud800"', "f: half of a surrogate pair"),
        (b'{"\\udfff": 1}', "f: half of a surrogate pair"),
        (b"[" + b"0," * 600 + b"0]", "f: more than 500 values"),
        (b'"' + b"x" * 20_000 + b'"', "f: larger than 16,384 bytes"),
        (b'"\0"', "f:1: a control character"),
        (b"\xef\xbb\xbf1", "f:1: not JSON: Unexpected UTF-8 BOM"),
    ],
)
def test_refuses_json(content: bytes, says: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse.json_value(content, parse.SETTING)
    assert caught.value.at("f").startswith(says)


def test_deep_json_is_refused_however_deep_the_caller_is() -> None:
    def at(depth: int) -> None:
        if depth:
            at(depth - 1)
            return
        with pytest.raises(ParseError):
            parse.json_value(b"[" * 16_000, parse.SETTING)

    at(sys.getrecursionlimit() // 2)


def test_a_lock_of_this_repository_s_size_is_read() -> None:
    deps = "".join(
        f"    - path: src/module_{n}.py\n      hash: md5\n      md5: {'0' * 32}\n      size: 1000\n"
        for n in range(80)
    )
    content = "schema: '2.0'\nstages:\n" + "".join(
        f"  stage{n}:\n    cmd: x\n    deps:\n{deps}" for n in range(12)
    )
    found = parse.yaml_value(content.encode(), parse.LOCK)
    assert isinstance(found, dict)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_a_file_is_a_regular_one(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "file")
    with pytest.raises(ParseError, match="not a regular file"):
        parse.file(tmp_path / "file", 10)


def test_no_more_of_a_file_is_read_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert parse.file(path, 10) == b"x" * 10
    with pytest.raises(ParseError, match="larger than 9 bytes"):
        parse.file(path, 9)
    with pytest.raises(FileNotFoundError):
        parse.file(tmp_path / "none", 9)


@pytest.mark.parametrize("content", [BOMB, MERGES, b"[" * 50_000, b"a: &a [*a]"])
def test_parameters_of_a_branch_are_refused_before_a_parser_without_limits_reads_them(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises(FaultError):
        parameters.read(content)
    assert time.process_time() - began < 2
