"""Forget: the photographs of a person, their labels and their scores, removed from every place.

Each step looks for the data that are still there. The journal is written before anything is erased, and
`data/forgotten.json` is pushed before objects are removed. So a process that is killed at any point goes on
when the same command runs again.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gitops.dvc.objects import Objects, in_folder, members
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.paths import FORGOTTEN
from gitops.people import process
from gitops.people.backups import Backup
from gitops.people.erasure import ARRAYS, GALLERY, Erasure, arrays_of, erasure
from gitops.people.history import Recorded, history, mirror, outs_of
from gitops.people.journal import Journal, path_of
from gitops.people.places import WITHOUT_PEOPLE
from gitops.people.process import Hit, Known, Source
from gitops.people.rebuild import rebuild
from gitops.people.request import Request
from gitops.release.forgotten import Forgotten

_DIR = ".dir"
_MADE = (
    "runs/*/plots/worst_errors.jpg",
    f"workspaces/*/{GALLERY}",
    f"workspaces/*/{ARRAYS}/*",
    GALLERY,
    f"{ARRAYS}/*",
)
"""Galleries of errors and arrays have no ids: their copies are known by the digests of their objects."""


@dataclass(frozen=True)
class Found:
    """The result of a search: hits, and the objects and releases that go."""

    known: Known
    hits: tuple[Hit, ...]
    erasure: Erasure
    copies: tuple[Path, ...]

    def by_place(self) -> dict[str, int]:
        """Return the number of rows or files that were found in each place."""
        rows: Counter[str] = Counter()
        for hit in self.hits:
            rows[hit.source.label] += hit.rows
        rows["copies of galleries and arrays"] += len(self.copies)
        return {place: count for place, count in sorted(rows.items()) if count}

    def unknown(self, request: Request) -> list[str]:
        """Return the ids of a request that no photograph has."""
        ids: dict[str, list[str]] = self.known.content.get("ids", {})
        known = {name for names in ids.values() for name in names}
        known |= {f"{space}:{name}" for space, names in ids.items() for name in names}
        # A face on a photograph has the id of the photograph, and a number
        known |= {name.rpartition("#")[0] for name in known}
        return [name for name in request.ids if name not in known]


@dataclass
class Forget:
    """One forget in a checkout.

    Args:
        repository: The checkout.
        remote: Its git remote.
        request: The request.
        echo: Called with a line about each step.

    """

    repository: Repository
    remote: str
    request: Request
    echo: Callable[[str], None] = print
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.folder = self.repository.path / ".visage" / "forget"
        self.journal_path = path_of(self.folder, self.request.lines)
        self.objects = Objects(self.repository.path)

    def search(self) -> Found:
        """Find everything, by the request and by the journal of a forget that was killed."""
        journal = Journal.read(self.journal_path)
        records = history(mirror(self.repository, self.remote))
        harmless = {
            digest for record in records for path, digest in record.outs.items() if path in WITHOUT_PEOPLE
        }
        with tempfile.TemporaryDirectory(prefix="gitops-forget-") as temporary:
            files = self._files(harmless, Path(temporary))
            with Backup.opened(self.request.backups) as backups:
                return self._found(journal, files, backups, records)

    def _found(
        self, journal: Journal, files: dict[str, Path], backups: list[Backup], records: list[Recorded]
    ) -> Found:
        folders = {digest: members(path).values() for digest, path in files.items() if digest.endswith(_DIR)}
        sources = [
            *(
                Source("object", path, "objects of DVC")
                for digest, path in files.items()
                if digest not in folders
            ),
            *self._folders(),
            *(source for backup in backups for source in _of_backup(backup, set(files))),
        ]
        known, hits = process.search(
            sources, given=self.request.ids, pictures=self.request.pictures, known=Known(journal.known)
        )
        by_path = {path: digest for digest, path in files.items()}
        direct = {by_path[hit.source.path] for hit in hits if hit.source.path in by_path}
        direct |= set(journal.objects) & files.keys()
        due = erasure({*direct, *journal.objects}, folders, records)
        return Found(known, tuple(hits), due, tuple(self._copies(due.objects)))

    def _files(self, harmless: set[str], temporary: Path) -> dict[str, Path]:
        """Return a file for each object of a remote or a cache that may have data about people."""
        sizes = self.objects.sizes()
        wanted: dict[str, list[str]] = {}
        seen: set[str] = set(harmless)
        for name, objects in sizes.items():
            wanted[name] = [digest for digest in objects if digest not in seen]
            seen |= objects.keys()
        files = self.objects.fetch(wanted, temporary) if wanted else {}
        for cache in self.request.caches:
            for digest, path in in_folder(cache).items():
                if digest not in harmless:
                    files.setdefault(digest, path)
        return files

    def _folders(self) -> Iterator[Source]:
        yield Source("checkout", self.repository.path, "this checkout")
        for name, home in self.request.homes.items():
            yield Source("home", home, name)

    def _copies(self, objects: Iterable[str]) -> Iterator[Path]:
        """Yield the copies of galleries and arrays that are removed."""
        gone = set(objects)
        for folder in (self.repository.path, *self.request.homes.values()):
            for pattern in _MADE:
                # A link of DVC into a cache leads nowhere once its object is removed
                for path in filter(Path.is_file, folder.glob(pattern)):
                    with path.open("rb") as content:
                        if hashlib.file_digest(content, "md5").hexdigest() in gone:
                            yield path

    def act(self, found: Found, main: str) -> str | None:
        """Carry it out; return the branch with the rebuilt data, or None if there was nothing to forget.

        Args:
            found: The result of the search.
            main: The commit of main.

        """
        journal = Journal.read(self.journal_path).adding(
            found.known, found.erasure.objects, found.erasure.lost
        )
        if not journal.known["digests"] and not found.hits:
            return None
        journal.write(self.journal_path)
        self.echo("written: the journal of this forget, with names, for its owner alone")
        branch = self._push(journal, main)
        journal = journal.without(self._rebuilt(branch, main))
        journal.write(self.journal_path)
        # No search looks there: objects that a prune took are on their way out anyway
        self.objects.empty_trash()
        removed = self.objects.remove(journal.objects)
        self.echo(f"removed: {removed} objects of the DVC remotes")
        for cache in self.request.caches:
            for digest, path in in_folder(cache).items():
                if digest in journal.objects:
                    path.unlink()
            self.echo(f"removed: objects of {cache}")
        known = Known(journal.known)
        for source in self._folders():
            hits = process.erase([source], known, given=self.request.ids)
            self.echo(f"removed: {sum(hit.rows for hit in hits)} rows and photographs of {source.label}")
        for path in self._copies(journal.objects):
            path.unlink()
        self.echo("removed: copies of galleries and arrays")
        self._clean_backups(journal, known)
        return branch

    def _push(self, journal: Journal, main: str) -> str:
        """Push the branch with the digests and the rebuilt data, unless it is there."""
        present = Forgotten.read(self.repository.read(main, FORGOTTEN))
        forgotten = present.adding(journal.known["digests"], journal.known["fingerprints"], journal.lost)
        name = hashlib.sha256("\n".join(forgotten.photographs).encode()).hexdigest()[:12]
        branch = f"forget/{name}"
        if forgotten == present:
            self.echo(f"main has these photographs in {FORGOTTEN} already")
            return branch
        reference = self.repository.branch_ref(self.remote, branch)
        if self.repository.has(reference):
            pushed = Forgotten.read(self.repository.read(reference, FORGOTTEN))
            if pushed == forgotten and self.repository.is_ancestor(main, self.repository.resolve(reference)):
                self.echo(f"{branch} is pushed already")
                return branch
        config = self.repository.path / ".dvc" / "config.local"
        origin = Origin(self.repository.remote_url(self.remote), dvc_config=config)
        known = Known(journal.known)
        home = self.folder / "workspaces"
        rebuild(origin, main, forgotten, known, self.request.ids, branch=branch, home=home)
        self.echo(f"pushed: {branch}, with {FORGOTTEN} and the data that main has left")
        return branch

    def _rebuilt(self, branch: str, main: str) -> Collection[str]:
        """Return the objects of the arrays that were made of the data that main has left.

        Some are those of before: nobody who is forgotten was among the photographs of that part.
        """
        copy, reference = mirror(self.repository, self.remote), f"refs/heads/{branch}"
        outs = outs_of(copy, copy.resolve(reference) if copy.has(reference) else main)
        made = outs.get(ARRAYS, "")
        wanted = {name: [made] for name, sizes in self.objects.sizes().items() if made in sizes}
        with tempfile.TemporaryDirectory(prefix="gitops-forget-") as temporary:
            files = self.objects.fetch(wanted, Path(temporary)) if wanted else {}
            return arrays_of(outs, {digest: members(path).values() for digest, path in files.items()})

    def _clean_backups(self, journal: Journal, known: Known) -> None:
        with Backup.opened(self.request.backups) as backups:
            for backup in backups:
                sources = [*_of_backup(backup, set())]
                _, hits = process.search(sources, given=self.request.ids, known=known)
                gone = {hit.source.path for hit in hits if hit.source.kind == "object"}
                gone |= {path for digest, path in backup.objects().items() if digest in journal.objects}
                galleries = _galleries_in(backup.folder, journal.objects)
                homes = [source for source in sources if source.kind == "home"]
                if not (hits or gone or galleries):
                    continue
                process.erase(homes, known, given=self.request.ids)
                for path in {*gone, *galleries}:
                    path.unlink(missing_ok=True)
                backup.repack()
                self.echo(f"written: {backup.archive} without {len(hits)} files, or rows of them")

    def prove(self) -> list[str]:
        """Ask every place for every digest again; return a line for each place that still has something."""
        journal = Journal.read(self.journal_path)
        found = self.search()
        left = [f"{hit.source.label}: {hit.rows} in {hit.path or hit.source.path.name}" for hit in found.hits]
        sizes = self.objects.sizes()
        left += [
            f"DVC remote {name}: object {digest}"
            for name, objects in sizes.items()
            for digest in sorted(set(journal.objects) & objects.keys())
        ]
        left += [
            f"{cache}: object {digest}"
            for cache in self.request.caches
            for digest in sorted(set(journal.objects) & in_folder(cache).keys())
        ]
        return [*left, *(f"{path}: a copy of a removed object" for path in found.copies)]

    def close(self) -> None:
        """Remove the journal: from here on nothing on this machine has the names."""
        self.journal_path.unlink(missing_ok=True)


def _of_backup(backup: Backup, known: set[str]) -> Iterator[Source]:
    """Yield the places in a backup, without folders, and without objects that another place has."""
    for source in backup.sources():
        if source.kind == "home" or not (source.label.endswith(_DIR) or source.label in known):
            yield Source(source.kind, source.path, f"backup {backup.archive.parent.name}")


def _galleries_in(folder: Path, objects: Iterable[str]) -> list[Path]:
    gone = set(objects)
    return [
        path
        for path in folder.glob(f"**/{Path(GALLERY).name}")
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() in gone
    ]
