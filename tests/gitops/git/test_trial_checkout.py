"""Whether git would put another content into a checkout than was reviewed, as git itself does it."""

import subprocess
import tempfile
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops.git import trial_checkout
from tests.support.lab import Lab

WRITTEN = b"# $Id$\nprint('+AGE-')\n"
# As git-lfs, which many machines have, puts something else in the place of a file.
DRIVER = ["-c", "filter.lfs.smudge=echo something else", "-c", "filter.lfs.clean=cat"]


def rewrites(lab: Lab, path: str, content: bytes) -> tuple[bool, list[str]]:
    """Return whether git rewrites a file by these attributes, and the files that we name."""
    commit = lab.commit({path: content, "program.py": WRITTEN})
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(lab.origin.path), *DRIVER, f"--work-tree={folder}"]
        read = [*git, "read-tree", f"--index-output={folder}/index", commit]
        subprocess.run(read, check=True, timeout=60, capture_output=True)
        made = subprocess.run(
            [*git, "checkout-index", "--force", "program.py"],
            env={"GIT_INDEX_FILE": f"{folder}/index"},
            capture_output=True,
            timeout=60,
        )
        file = Path(folder, "program.py")
        differs = made.returncode != 0 or file.read_bytes() != WRITTEN
    return differs, trial_checkout.rewritten(lab.origin, commit, lab.origin.entries(commit))


@pytest.mark.parametrize(
    "line",
    [
        b"*.py ident",
        b"*.py\tworking-tree-encoding=UTF-7",
        b'"*.py" -text ident\r',
        b"  *.py ident",
        # A number sign begins a comment at the start of a line alone
        b"[!#]*.py ident",
        b"[!#]*.py working-tree-encoding=UTF-7",
        b"[attr]odd ident\n*.py odd",
        b"*.py eol=crlf",
        b"*.py text eol=crlf",
        b"*.py text=auto eol=crlf",
        b"*.py crlf=input eol=crlf",
        b"*.py text=unset eol=crlf",
        b"[attr]odd eol=crlf\n*.py odd",
        b"*.py filter=lfs",
    ],
)
def test_a_file_that_attributes_rewrite_is_named(lab: Lab, line: bytes) -> None:
    differs, found = rewrites(lab, ".gitattributes", b"# words\n" + line + b"\n")
    assert differs
    assert "program.py" in found


def test_attributes_of_a_folder_are_read_too(lab: Lab) -> None:
    lab.land({"src/a/program.py": WRITTEN})
    found = rewrites(lab, "src/.gitattributes", b"*.py text eol=crlf\n")[1]
    assert found == ["src/a/program.py", "src/face_attributes/__init__.py"]


def test_a_mark_of_its_encoding_hides_nothing(lab: Lab) -> None:
    """Git leaves it out where it reads the file from a checkout, and not where it reads it from a commit."""
    assert rewrites(lab, ".gitattributes", b"\xef\xbb\xbf*.py ident\n")[1] == [".gitattributes"]


@pytest.mark.parametrize(
    "line",
    [
        b"# * ident",
        b" \t# * ident",
        b"* -ident",
        b"* !ident",
        b"* text=auto eol=lf",
        b"*.bat text eol=crlf",
        b"*.png -filter",
        b"*.py eol=crlf\n*.py !eol",
    ],
)
def test_attributes_that_change_nothing_are_not_named(lab: Lab, line: bytes) -> None:
    assert rewrites(lab, ".gitattributes", line + b"\n") == (False, [])


def test_a_name_in_capitals_is_one_too(lab: Lab) -> None:
    """A system that takes no notice of capitals reads it as the file of attributes."""
    assert rewrites(lab, "src/.GitAttributes", b"* ident\n")[1] == ["src/.GitAttributes"]


def test_attributes_of_the_clone_itself_hide_nothing(lab: Lab) -> None:
    """Whoever checks a branch has them, and the environment does not."""
    info = lab.origin.path / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* -ident\n")
    assert rewrites(lab, ".gitattributes", b"program.py ident\n") == (False, ["program.py"])


def test_a_link_in_the_place_of_the_file_is_read_as_git_reads_it(lab: Lab) -> None:
    blob = lab.origin.git("hash-object", "-w", "--stdin", input=b"* ident")
    program = lab.origin.git("hash-object", "-w", "--stdin", input=WRITTEN)
    rows = f"120000 blob {blob}\t.gitattributes\n100644 blob {program}\tprogram.py\n"
    commit = lab.origin.commit_tree(lab.origin.git("mktree", input=rows), [], "Link")
    assert trial_checkout.rewritten(lab.origin, commit, lab.origin.entries(commit)) == ["program.py"]


PATTERNS = ("*", "*.py", "program.py", "/program.py", "*.md", "[attr]odd", "!*.py", "#*.py", '"*.py"')
SETTINGS = (
    *("text", "-text", "!text", "text=auto", "text=unset", "crlf", "-crlf", "crlf=input", "binary", "odd"),
    *("eol=lf", "eol=crlf", "-eol", "!eol", "eol", "ident", "-ident", "ident=set", "filter=lfs", "-filter"),
    *("working-tree-encoding=UTF-7", "working-tree-encoding=UTF-16", "-working-tree-encoding"),
)
LINES = st.lists(
    st.builds(
        lambda indent, pattern, values: " ".join([indent + pattern, *values]),
        st.sampled_from(["", " ", "\t"]),
        st.sampled_from(PATTERNS),
        st.lists(st.sampled_from(SETTINGS), max_size=3),
    ),
    max_size=3,
)


@pytest.mark.long
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(LINES)
def test_whatever_git_rewrites_is_named(lab: Lab, lines: list[str]) -> None:
    differs, found = rewrites(
        lab, ".gitattributes", "".join(chain.from_iterable((r, "\n") for r in lines)).encode()
    )
    assert not differs or found
