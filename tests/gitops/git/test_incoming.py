"""What somebody pushes does not fill the disk or the memory of those who fetch it."""

import os
import shutil
import subprocess
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from gitops.errors import GitError
from gitops.git import incoming
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, update_mirror
from tests.support.lab import Lab

MIB = 1024**2
ALL = "+refs/heads/*:refs/copy/*"


def _bare(folder: Path) -> Repository:
    folder.mkdir()
    bare = Repository(folder)
    bare.git("init", "--quiet", "--bare", "--template=", ".")
    return bare


def _left(bare: Repository) -> list[str]:
    return [file.name for file in bare.path.rglob("tmp_*")]


def _made_of_zeros(repository: Repository, size: int) -> str:
    """Return a file of zeros, which takes a thousandth of its size in git."""
    zeros = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
    done = subprocess.run(
        ["git", "-c", "core.bigFileThreshold=1m", "hash-object", "-w", "--stdin"],
        cwd=repository.path,
        stdin=zeros.stdout,
        capture_output=True,
        check=True,
        timeout=120,
    )
    zeros.wait()
    return done.stdout.decode().strip()


def test_a_fetch_has_a_limit_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.branch("promote/prod", {"large": os.urandom(3 * MIB)})
    bare = _bare(tmp_path / "bare")
    with pytest.raises(GitError, match=r"^git fetch: .*/origin.git sends more than 1 MiB at once; delete"):
        bare.fetch_refs(str(lab.origin.path), ALL, most=MIB)
    assert bare.git("for-each-ref") == ""
    assert len(_left(bare)) == 1, "git leaves what it had"
    with pytest.raises(GitError, match="sends more than 1 MiB"):
        bare.fetch_refs(str(lab.origin.path), ALL, most=MIB)
    assert len(_left(bare)) == 1, "not one more for each time"
    lab.origin.git("update-ref", "-d", "refs/heads/promote/prod")
    bare.fetch_refs(str(lab.origin.path), ALL, most=MIB)
    assert bare.resolve("refs/copy/main") == lab.tip
    assert _left(bare) == []
    assert incoming.size(bare.path) < MIB


def test_many_files_that_are_each_small_enough_are_not(lab: Lab, tmp_path: Path) -> None:
    lab.branch("many", {f"{number}": os.urandom(MIB // 4) for number in range(8)})
    with pytest.raises(GitError, match="sends more than 1 MiB"):
        _bare(tmp_path / "bare").fetch_refs(str(lab.origin.path), ALL, most=MIB)


def test_a_checkout_has_the_limit_too_and_keeps_the_files_of_its_owner(lab: Lab) -> None:
    pack = lab.clone.path / ".git/objects/pack"
    pack.mkdir(exist_ok=True)
    (pack / "tmp_pack_mine").touch()
    lab.branch("large", {"large": os.urandom(3 * MIB)})
    with pytest.raises(GitError, match="sends more than 1 MiB"):
        lab.clone.fetch_refs("origin", ALL, most=MIB)
    assert (pack / "tmp_pack_mine").exists()


def test_half_of_the_room_is_left(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = _bare(tmp_path / "bare")
    commit = lab.branch("large", {"large": os.urandom(3 * MIB)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * MIB))
    for fetch in (
        lambda: bare.fetch_refs(str(lab.origin.path), ALL),
        lambda: bare.fetch_commit(str(lab.origin.path), commit),
    ):
        with pytest.raises(GitError, match="sends more than 2 MiB at once"):
            fetch()
    monkeypatch.undo()
    bare.fetch_refs(str(lab.origin.path), ALL)
    assert bare.has("refs/copy/large")


def test_a_fetch_beside_another_one_deletes_nothing_of_it(lab: Lab, tmp_path: Path) -> None:
    bare = _bare(tmp_path / "bare")
    with incoming.room(bare.path, MIB):
        part = bare.path / "objects/pack/tmp_pack_other"
        part.parent.mkdir(exist_ok=True)
        part.touch()
        bare.fetch_refs(str(lab.origin.path), ALL)
        assert part.exists()
    assert part.exists(), "it may be moved to its place"


def test_a_mirror_of_deleted_branches_is_made_again(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitops.git.workspace._LARGEST_MIRROR", 2 * MIB)
    origin, folder = Origin(str(lab.origin.path)), tmp_path / "mirror"
    for name in ("a", "b", "c"):
        lab.branch("junk", {name: os.urandom(MIB)})
        update_mirror(origin, folder)
        lab.origin.git("update-ref", "-d", "refs/heads/junk")
    copy = update_mirror(origin, folder)
    assert incoming.size(folder) < 2 * MIB
    assert copy.on_branch(origin.url, lab.tip)


@pytest.mark.parametrize("kind", ["blob", "commit", "tag"])
def test_what_is_small_in_git_and_large_outside_does_not_get_into_memory(
    lab: Lab, tmp_path: Path, kind: str
) -> None:
    """A megabyte of a push can be a thousand of zeros."""
    content = b"0" * (20 * MIB)
    if kind == "blob":
        zeros = _made_of_zeros(lab.origin, 64 * MIB)
        tree = lab.origin.git("mktree", input=f"100644 blob {zeros}\trelease.yaml\n")
        commit = lab.origin.commit_tree(tree, [lab.tip], "Zeros")
    elif kind == "commit":
        tree = lab.origin.git("rev-parse", f"{lab.tip}^{{tree}}")
        commit = lab.origin.commit_tree(tree, [lab.tip], content.decode())
    else:
        commit = lab.tip
        tag = lab.origin.tag(lab.tip, "verified/dev/000000000000", content.decode())
        lab.origin.git("update-ref", "refs/tags/verified/dev/000000000000", tag)
    lab.origin.git("update-ref", "refs/heads/promote/prod", commit)
    bare = _bare(tmp_path / "bare")
    remote = str(lab.origin.path)
    bare.fetch(remote)
    tracemalloc.start()
    try:
        read = bare.describe([commit])[0]
        assert bare.read_all([(commit, "release.yaml")], 1000) == [None]
        tags = bare.tags("verified", remote=remote)
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()
    assert len(tags) == (kind == "tag")
    assert all("bytes long" in str(tag.problem) for tag in tags)
    assert read.subject == {"blob": "Zeros", "commit": "", "tag": "Start"}[kind]


def test_a_name_that_is_too_long_here_keeps_nothing_else_from_coming(lab: Lab) -> None:
    """The address of a server is shorter than the folder of a copy, so a name may fit there alone."""
    room = 4080 - len(f"{lab.origin.path}/refs/tags/verified/staging/")
    name = "/".join("a" * min(240, room - start) for start in range(0, room, 241))
    lab.origin.git("update-ref", f"refs/tags/verified/staging/{name}", lab.tip)
    commit = lab.land({"README.md": b"News\n"})
    assert lab.state().tip == commit
    assert all(len(tag.name) < 100 for tag in lab.clone.tags(remote=lab.remote))
    shutil.move(lab.origin.path, lab.origin.path.with_name("gone"))
    with pytest.raises(GitError):
        lab.state()
