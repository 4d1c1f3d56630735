import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops.diff import files

YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
).map(lambda value: yaml.safe_dump(value).encode())


@given(YAML | st.binary(max_size=60))
def test_no_file_stops_a_comparison(content: bytes) -> None:
    for read in (files.flat, files.outs, files.tracked, files.pins):
        read(content)


def test_parameters_become_dotted_keys() -> None:
    content = b"a: {b: 1, c: null, d: [1, 2]}\ne: x\nf: {}\n"
    assert files.flat(content) == {"a.b": "1", "a.c": "null", "a.d": "[1, 2]", "e": "x", "f": "{}"}


def test_an_alias_of_itself_is_refused() -> None:
    assert files.flat(b"a: &a {b: *a}\n") == {"(cannot be read)": "the alias *a of nothing before it"}


def test_outputs_have_digest_size_and_files() -> None:
    lock = b"stages: {a: {outs: [{path: x, md5: 0123456789abcdef, size: 1500, nfiles: 2}, {path: y}, 3]}}"
    assert files.outs(lock) == {"x": "0123456789ab, 1.5 kB, 2 files", "y": "no digest"}
    assert files.tracked(b"outs: [{md5: 0123456789abcdef, size: 2000000}]") == "0123456789ab, 2.0 MB"
    assert files.outs(b"a: [") == {"data/ (dvc.lock cannot be read)": "did not find expected node content"}


def test_pins_have_normal_names() -> None:
    content = b"# no\nTorch_Vision==1.2  # x\na.b[c]==3 ; x\n-e .\nd @ https://e.example/f\n"
    assert files.pins(content) == {"torch-vision": "1.2", "a-b": "3", "d": "https://e.example/f"}


@pytest.mark.parametrize(
    ("count", "said"), [(None, None), (9, "9 bytes"), (1000, "1.0 kB"), (2_500_000, "2.5 MB")]
)
def test_sizes_are_for_people(count: int | None, said: str | None) -> None:
    assert files.size(count) == said
