"""Repositories with a long past, written by one process of git: real commits, merges and tags at any time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gitops.git.repository import Repository

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


@dataclass
class Writer:
    """Writes a stream for `git fast-import`."""

    now: datetime = START
    stream: list[bytes] = field(default_factory=list)
    marks: int = 0
    main: int = 0

    def later(self, **span: float) -> datetime:
        """Let time pass, backwards for a negative span."""
        self.now += timedelta(**span)
        return self.now

    def commit(
        self,
        files: Mapping[str, bytes | None],
        *,
        who: str = "Ada <ada@example.org>",
        merged: Sequence[int] = (),
        on: int | None = None,
        message: str = "Change",
    ) -> int:
        """Put a commit on main, or on a side branch that starts `on` a commit; returns its mark."""
        self.marks += 1
        when = f"{int(self.now.timestamp())} +0000"
        side = on is not None
        self.stream += [
            f"commit refs/heads/{f'side-{self.marks}' if side else 'main'}\nmark :{self.marks}\n".encode(),
            f"author {who} {when}\ncommitter {who} {when}\n".encode(),
            _data(message.encode()),
        ]
        start = on if side else self.main
        if start:
            self.stream.append(f"from :{start}\n".encode())
        self.stream += [f"merge :{mark}\n".encode() for mark in merged]
        for path, content in files.items():
            if content is None:
                self.stream.append(f"D {path}\n".encode())
            else:
                self.stream += [f"M 100644 inline {path}\n".encode(), _data(content)]
        if not side:
            self.main = self.marks
        return self.marks

    def tag(self, name: str, mark: int, message: str, who: str = "Bot <bot@example.org>") -> None:
        """Write an annotated tag on a commit."""
        when = f"{int(self.now.timestamp())} +0000"
        self.stream += [
            f"tag {name}\nfrom :{mark}\ntagger {who} {when}\n".encode(),
            _data(message.encode()),
        ]

    def into(self, folder: Path) -> "Written":
        """Make a bare repository of it."""
        folder.mkdir(parents=True)
        repository = Repository(folder)
        repository.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
        marks = folder / "marks.txt"
        options = ("--quiet", "--date-format=raw-permissive", f"--export-marks={marks}")
        repository.git("fast-import", *options, input=b"".join(self.stream))
        rows = (line.split() for line in marks.read_text().splitlines())
        return Written(repository, {int(mark[1:]): commit for mark, commit in rows})


@dataclass(frozen=True)
class Written:
    """A repository, and the id of the commit of each mark."""

    repository: Repository
    ids: Mapping[int, str]


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def ids(repository: Repository, *arguments: str) -> Iterable[str]:
    """Return the lines that plain git prints."""
    return lines(repository.git(*arguments))


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
