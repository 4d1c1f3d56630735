"""Backups: the archives of `scripts/backup.sh`, opened beside their place, and written without a person."""

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitops import atomic
from gitops.dvc.objects import in_folder
from gitops.errors import GitopsError
from gitops.people.process import Source
from gitops.private import private_folder

_ARCHIVES = ("home.tar", "store.tar")
_SUMS = "SHA256SUMS"
_OPENED = ".forget"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Backup:
    """An archive of a backup, and the folder in which it is open."""

    archive: Path
    folder: Path

    @classmethod
    def open_all(cls, paths: list[Path]) -> list["Backup"]:
        """Unpack the archives of folders of backups.

        Raises:
            GitopsError: A folder has no archive, or one of them is damaged.

        """
        backups: list[Backup] = []
        for path in paths:
            archives = [path / name for name in _ARCHIVES if (path / name).is_file()]
            if not archives:
                raise GitopsError(
                    f"{path}: has neither {' nor '.join(_ARCHIVES)}; name a folder of backup.sh"
                )
            backups += [cls(archive, archive.with_name(archive.name + _OPENED)) for archive in archives]
        for backup in backups:
            backup.unpack()
        return backups

    def unpack(self) -> None:
        """Open the archive."""
        shutil.rmtree(self.folder, ignore_errors=True)
        private_folder(self.folder)
        try:
            with tarfile.open(self.archive) as archive:
                archive.extractall(self.folder, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise GitopsError(f"{self.archive}: cannot be unpacked: {error}") from error

    def sources(self) -> Iterator[Source]:
        """Yield the places in it: a home, or the objects of a store."""
        if self.archive.name == _ARCHIVES[0]:
            yield Source("home", self.folder, "")
        for digest, path in self.objects().items():
            yield Source("object", path, digest)

    def objects(self) -> dict[str, Path]:
        """Return the objects of DVC in it."""
        found: dict[str, Path] = {}
        for folder in self.folder.glob("**/files/md5"):
            found |= in_folder(folder.parents[1])
        return found

    def repack(self) -> None:
        """Write the archive with the files that are still in the folder, and its digest into the list."""
        partial = self.archive.with_name(self.archive.name + _PARTIAL)
        with tarfile.open(self.archive) as before, tarfile.open(partial, "w") as after:
            for member in before:
                path = self.folder / member.name
                if not member.isfile():
                    after.addfile(member)
                elif path.is_file():
                    member.size = path.stat().st_size
                    with path.open("rb") as content:
                        after.addfile(member, content)
        partial.chmod(self.archive.stat().st_mode & 0o777)
        partial.replace(self.archive)

    def close(self) -> None:
        """Remove the open folder, and see to it that the list of digests is that of the archives."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.archive.with_name(self.archive.name + _PARTIAL).unlink(missing_ok=True)
        sums = self.archive.with_name(_SUMS)
        if not sums.is_file():
            return
        with self.archive.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        lines = [
            f"{digest}  {self.archive.name}" if line.split()[1:] == [self.archive.name] else line
            for line in sums.read_text("utf-8").splitlines()
        ]
        atomic.write(sums, "\n".join(lines) + "\n")
