"""Whether git would put another content into a checkout than was reviewed, as git itself does it."""

import subprocess

import pytest

from gitops.git import trial_checkout
from tests.support.lab import Lab

WRITTEN = b"# $Id$\nprint('+AGE-')\n"


def rewrites(lab: Lab, path: str, content: bytes) -> tuple[bool, bool]:
    """Return whether git rewrites a file by these attributes, and whether we name their file."""
    commit = lab.commit({path: content, "program.py": WRITTEN})
    folder = lab.origin.path / "made"
    folder.mkdir()
    git = ["git", "-C", str(lab.origin.path), f"--work-tree={folder}"]
    subprocess.run([*git, "checkout", "--quiet", "--force", commit, "--", "."], check=True, timeout=60)
    found = trial_checkout.rewriting(lab.origin, lab.origin.entries(commit))
    return (folder / "program.py").read_bytes() != WRITTEN, found == [path]


@pytest.mark.parametrize(
    "line",
    [
        b"* ident",
        b"*.py\tworking-tree-encoding=UTF-7",
        b'"*.py" -text ident\r',
        b"  *.py ident",
        # A number sign begins a comment at the start of a line alone
        b"[!#]* ident",
        b"[!#]* working-tree-encoding=UTF-7",
        b"[attr]odd ident\n* odd",
    ],
)
def test_attributes_that_rewrite_a_file_are_named(lab: Lab, line: bytes) -> None:
    assert rewrites(lab, ".gitattributes", b"# words\n" + line + b"\n") == (True, True)


def test_a_mark_of_its_encoding_hides_nothing(lab: Lab) -> None:
    """Git leaves it out where it reads the file from a checkout, and not where it reads it from a commit."""
    assert rewrites(lab, ".gitattributes", b"\xef\xbb\xbf*.py ident\n")[1]


@pytest.mark.parametrize(
    "line", [b"# * ident", b" \t# * ident", b"* -ident", b"* !ident", b"* text=auto eol=lf"]
)
def test_attributes_that_change_nothing_are_not_named(lab: Lab, line: bytes) -> None:
    assert rewrites(lab, ".gitattributes", line + b"\n") == (False, False)


def test_a_name_in_capitals_is_one_too(lab: Lab) -> None:
    """A system that takes no notice of capitals reads it as the file of attributes."""
    assert rewrites(lab, "src/.GitAttributes", b"* ident\n")[1]
