"""Backups: the archives of `scripts/backup.sh`, opened beside their place, and written without a person."""

import hashlib
import shutil
import tarfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gitops import atomic
from gitops.dvc.objects import in_folder
from gitops.errors import GitopsError
from gitops.people.alone import alone
from gitops.people.process import Source
from gitops.private import private_folder

_ARCHIVES = ("home.tar", "store.tar")
_SUMS = "SHA256SUMS"
_OPENED = ".forget"
_PARTIAL = ".partial"
_REPLACED = ".replaced"


@dataclass(frozen=True)
class Backup:
    """An archive of a backup, and the folder in which it is open."""

    archive: Path
    folder: Path

    @classmethod
    @contextmanager
    def opened(cls, paths: Iterable[Path]) -> Generator[list[Self]]:
        """Unpack the archives of folders of backups, and remove the open folders in the end.

        Raises:
            GitopsError: A folder has no archive, one of them is damaged, or another command has it open.

        """
        with ExitStack() as stack:
            backups: list[Self] = []
            for path in dict.fromkeys(path.resolve() for path in paths):
                archives = [path / name for name in _ARCHIVES if (path / name).is_file()]
                if not archives:
                    raise GitopsError(
                        f"{path}: has neither {' nor '.join(_ARCHIVES)}; name a folder of backup.sh"
                    )
                stack.enter_context(alone(path))
                backups += [cls(archive, archive.with_name(archive.name + _OPENED)) for archive in archives]
            for backup in backups:
                stack.callback(backup.close)
                backup.check()
                backup.unpack()
            yield backups

    def check(self) -> None:
        """See to it that the archive is the one that the list of digests names.

        A forget that was killed after it replaced the archive left the digest beside it.
        """
        listed = self._listed()
        if listed is not None and (digest := _sha256(self.archive)) != listed:
            if not (self._mark.is_file() and self._mark.read_text("utf-8") == digest):
                raise GitopsError(f"{self.archive}: differs from its digest in {_SUMS}; use another backup")
            self._sum(digest)
        self._unmark()

    def unpack(self) -> None:
        """Open the archive."""
        shutil.rmtree(self.folder, ignore_errors=True)
        private_folder(self.folder)
        try:
            with tarfile.open(self.archive) as archive:
                archive.extractall(self.folder, filter=_inside)  # noqa: S202 - tar's own filter, and no links
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
        partial = self._partial
        with tarfile.open(self.archive) as before, tarfile.open(partial, "w") as after:
            for member in before:
                # The name that it has in the folder, as an archive may have absolute ones
                inside = _inside(member, str(self.folder))
                if inside is None or not (member.isfile() or member.islnk()):
                    after.addfile(member)
                elif (path := self.folder / inside.name).is_file():
                    # A file of its own: the other name of a hard link may be gone
                    member.type, member.linkname = tarfile.REGTYPE, ""
                    member.size = path.stat().st_size
                    with path.open("rb") as content:
                        after.addfile(member, content)
        partial.chmod(self.archive.stat().st_mode & 0o777)
        digest = _sha256(partial)
        atomic.write(self._mark, digest)
        partial.replace(self.archive)
        if self._listed() is not None:
            self._sum(digest)
        self._unmark()

    @property
    def _mark(self) -> Path:
        return self.archive.with_name(self.archive.name + _REPLACED)

    @property
    def _partial(self) -> Path:
        return self.archive.with_name(self.archive.name + _PARTIAL)

    @property
    def _sums(self) -> Path:
        return self.archive.with_name(_SUMS)

    def _listed(self) -> str | None:
        """Return the digest of the archive in the list; None without one."""
        lines = self._sums.read_text("utf-8").splitlines() if self._sums.is_file() else []
        words = [line.split(maxsplit=1) for line in lines]
        return next((line[0] for line in words if line[1:] == [self.archive.name]), None)

    def _sum(self, digest: str) -> None:
        lines = [
            f"{digest}  {self.archive.name}" if line.split(maxsplit=1)[1:] == [self.archive.name] else line
            for line in self._sums.read_text("utf-8").splitlines()
        ]
        atomic.write(self._sums, "\n".join(lines) + "\n")

    def _unmark(self) -> None:
        self._mark.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the open folder, and an archive that is not written to its end."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._partial.unlink(missing_ok=True)


def _inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Return a member as it is unpacked; None for a link, which could lead out of the folder."""
    return None if member.issym() else tarfile.data_filter(member, folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
