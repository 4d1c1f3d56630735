"""Backups that are damaged, hostile or in use are refused by name, and stay as they are."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from gitops.errors import GitopsError
from gitops.people.backups import Backup


def backup(folder: Path, *members: tuple[str, bytes | str]) -> Path:
    """Make a folder of backup.sh: a member with a text as its content is a hard link, or `-> ` a link."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "home.tar", "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type = tarfile.SYMTYPE if content.startswith("-> ") else tarfile.LNKTYPE
                member.linkname = content.removeprefix("-> ")
                archive.addfile(member)
    write_sums(folder)
    return folder


def write_sums(folder: Path) -> None:
    digest = hashlib.sha256((folder / "home.tar").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  home.tar\n")


def is_whole(folder: Path) -> bool:
    digest, _, _ = (folder / "SHA256SUMS").read_text().partition(" ")
    return hashlib.sha256((folder / "home.tar").read_bytes()).hexdigest() == digest


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["../outside.jpg", "scored/../../outside.jpg"])
def test_a_member_outside_is_refused_and_nothing_is_left_open(tmp_path: Path, name: str) -> None:
    folder = backup(tmp_path / "backup", ("scored/a/me.jpg", b"me"), (name, b"out"))
    before = files(folder)
    with pytest.raises(GitopsError, match=r"home\.tar: cannot be unpacked"), Backup.opened([folder]):
        pass
    assert files(folder) == before
    assert not (tmp_path / "outside.jpg").exists()


def test_a_member_with_an_absolute_name_takes_nothing_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = backup(tmp_path / "backup", (str(secret), b"harmless"))
    with Backup.opened([folder]) as (opened,):
        opened.repack()
    with tarfile.open(folder / "home.tar") as archive:
        assert [(archive.extractfile(member) or io.BytesIO()).read() for member in archive] == [b"harmless"]


def test_a_link_to_this_machine_is_not_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "me.jpg").write_bytes(b"not of the backup")
    folder = backup(tmp_path / "backup", ("scored/link", f"-> {tmp_path / 'other'}"), ("a.jpg", b"a"))
    with Backup.opened([folder]) as (opened,):
        assert [path.name for path in opened.folder.rglob("*") if path.is_file()] == ["a.jpg"]
        opened.repack()
    with tarfile.open(folder / "home.tar") as archive:
        assert archive.getmember("scored/link").linkname == str(tmp_path / "other")


def test_a_hard_link_outlives_the_name_that_it_points_to(tmp_path: Path) -> None:
    folder = backup(tmp_path / "backup", ("a.jpg", b"me"), ("b.jpg", "a.jpg"), ("c.jpg", b"c"))
    with Backup.opened([folder]) as (opened,):
        (opened.folder / "a.jpg").unlink()
        opened.repack()
    with tarfile.open(folder / "home.tar") as archive:
        archive.extractall(tmp_path / "restored", filter="data")
    assert files(tmp_path / "restored") == {"b.jpg": b"me", "c.jpg": b"c"}
    assert is_whole(folder)


def test_a_damaged_backup_is_refused_and_stays_known_as_damaged(tmp_path: Path) -> None:
    folder = backup(tmp_path / "backup", ("a.jpg", b"some bytes"))
    content = (folder / "home.tar").read_bytes()
    (folder / "home.tar").write_bytes(content.replace(b"some bytes", b"same bytes"))
    before = files(folder)
    with pytest.raises(GitopsError, match=r"home\.tar: differs from its digest"), Backup.opened([folder]):
        pass
    assert files(folder) == before
    assert not is_whole(folder)


@pytest.mark.parametrize("stop", ["replaced", "summed", "marked"])
def test_a_repack_that_is_killed_goes_on(tmp_path: Path, stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = backup(tmp_path / "backup", ("a.jpg", b"me"), ("c.jpg", b"c"))

    child = os.fork()
    if child == 0:
        rename = Path.replace
        with Backup.opened([folder]) as (opened,):
            (opened.folder / "a.jpg").unlink()
            if stop == "marked":
                monkeypatch.setattr(
                    Path, "replace", lambda *two: os._exit(9) if "partial" in two[0].name else rename(*two)
                )
            else:
                name = {"replaced": "_sum", "summed": "_unmark"}[stop]
                monkeypatch.setattr(Backup, name, lambda *_: os._exit(9))
            opened.repack()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with Backup.opened([folder]) as (opened,):
        assert (opened.folder / "c.jpg").is_file()
        assert (opened.folder / "a.jpg").is_file() == (stop == "marked")
    assert is_whole(folder)
    assert sorted(files(folder)) == ["SHA256SUMS", "home.tar"]


def test_two_at_once_do_not_open_the_same_backup(tmp_path: Path) -> None:
    folder = backup(tmp_path / "backup", ("a.jpg", b"a"))
    with Backup.opened([folder]) as (opened,):
        with pytest.raises(GitopsError, match="another command works here"), Backup.opened([folder]):
            pass
        assert (opened.folder / "a.jpg").is_file()
    with Backup.opened([folder, folder]) as opened_once:
        assert len(opened_once) == 1
