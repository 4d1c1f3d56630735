import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from gitops.dvc.objects import Discarded, Objects, in_folder
from gitops.errors import StorageError

CONTENT = b"a photograph"
DIGEST = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that DVC itself made, with one remote in a folder."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for arguments in (
        ("init", "--quiet", "--no-scm"),
        ("remote", "add", "--quiet", "--default", "storage", str(tmp_path / "storage")),
    ):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, timeout=120)
    return folder


def test_an_object_is_put_listed_checked_and_removed(checkout: Path, tmp_path: Path) -> None:
    objects, file = Objects(checkout), tmp_path / "photograph"
    file.write_bytes(CONTENT)
    objects.put({DIGEST: file}, "storage")
    assert objects.sizes() == {"storage": {DIGEST: len(CONTENT)}}
    (there,) = in_folder(tmp_path / "storage").values()
    assert objects.fetch({"storage": [DIGEST]}, tmp_path) == {DIGEST: there}
    assert objects.damaged([DIGEST], "storage", tmp_path) == ()

    there.chmod(0o644)
    there.write_bytes(b"other bytes")
    assert objects.damaged([DIGEST], "storage", tmp_path) == (DIGEST,)
    objects.remove([DIGEST])
    assert objects.sizes() == {"storage": {}}


def test_what_is_discarded_waits_in_the_trash_of_its_day(checkout: Path, tmp_path: Path) -> None:
    objects, file = Objects(checkout), tmp_path / "photograph"
    file.write_bytes(CONTENT)
    objects.put({DIGEST: file}, "storage")
    objects.discard([DIGEST, "0" * 32], "2026-01-02")
    store = objects.store()
    assert (store.name, store.objects, store.cache) == ("storage", (), None)
    assert store.trash == (Discarded(DIGEST, "2026-01-02", len(CONTENT)),)
    assert objects.purge("2026-01-02") == 0

    (there,) = (tmp_path / "storage" / "files" / "trash").rglob(f"{DIGEST[2:]}")
    before = there.read_bytes()
    there.chmod(0o644)
    there.write_bytes(b"other bytes")
    assert objects.recover(store.trash) == (DIGEST,)
    there.write_bytes(before)
    assert objects.recover(store.trash) == ()
    assert [one.digest for one in objects.store().objects] == [DIGEST]
    assert objects.read([DIGEST, "0" * 32]) == ("0" * 32,)
    assert objects.purge("2026-01-03") == 1
    assert objects.store().trash == ()


def test_a_remote_that_cannot_be_read_is_one_line(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("a file in its place")
    with pytest.raises(StorageError) as caught:
        Objects(checkout).put({DIGEST: checkout / "none"}, "storage")
    assert "\n" not in str(caught.value)
