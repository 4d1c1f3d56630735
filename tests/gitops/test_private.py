import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops.errors import GitopsError
from gitops.private import private_folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_and_its_new_parents_are_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    made = private_folder(tmp_path / "state/gates")
    assert [mode(path) for path in (made, made.parent, tmp_path)] == [0o700, 0o700, 0o755]


def test_an_open_folder_is_closed_and_keeps_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    (folder / "photo.jpg").write_text("a photograph")
    assert mode(private_folder(folder)) == 0o700
    assert (folder / "photo.jpg").read_text() == "a photograph"


def test_the_folder_behind_a_link_is_closed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o755)
    (tmp_path / "state").symlink_to(disk)
    private_folder(tmp_path / "state")
    assert mode(disk) == 0o700


def test_what_is_no_folder_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file, link = tmp_path / "state", tmp_path / "link"
    file.write_text("notes")
    file.chmod(0o644)
    link.symlink_to(tmp_path / "unplugged")
    for path, why in (
        (file, "state: a file, where a folder is needed"),
        (file / "gates", "cannot be made: Not a directory"),
        (link, "link: a link to nothing"),
        (link / "gates", "link: a link to nothing"),
    ):
        with pytest.raises(GitopsError, match=why):
            private_folder(path)
    assert (mode(file), file.read_text()) == (0o644, "notes")
    assert not (tmp_path / "unplugged").exists()


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Give up root's rights for the test, where root runs it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("ordinary_user")
def test_an_open_folder_of_another_user_is_refused() -> None:
    with pytest.raises(GitopsError, match=r"/usr: other users can read it.*chmod 700 /usr"):
        private_folder(Path("/usr"))
