"""A git repository, driven by the plain `git` command.

Whatever is fetched lands under `refs/gitops/<remote>/`, and commits are made without a working tree: the
branches, tags, index and files of the checkout stay as their owner left them.
"""

import hashlib
import os
import re
import secrets
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from gitops.errors import GitError, PushRejectedError
from gitops.git import incoming
from gitops.git.command import CREDENTIALS, Git
from gitops.git.objects import (
    LARGEST_COMMIT,
    LONGEST_COMMIT,
    LONGEST_TAG,
    Commit,
    Entry,
    Object,
    Tag,
    as_text,
    is_full_sha,
    read_commit,
    read_tag,
)
from gitops.git.reader import Reader, ReaderError

Answer = TypeVar("Answer")

_MOST_REFERENCES = 1000
"""The files of references from which they are packed."""

_PUSHES = "refs/gitops-push"
_LONGEST_PUSH = 24 * 60 * 60
"""Seconds after which no process still works on a push."""


class Repository(Git):
    """The git repository (bare or not) at `path`."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        # A commit that was once here stays, and to ask git again each time takes most of a command's time.
        self._commits: set[str] = set()
        self._reader: Reader | None = None
        self._reads_in: int | None = None

    @classmethod
    def find(cls, start: Path | str = ".") -> Self:
        """Return the repository that holds the folder `start`."""
        question = ("rev-parse", "--show-object-format", "--is-bare-repository", "--show-toplevel")
        asked = cls(start)
        shown = asked.run(*question)
        lines = as_text(shown.stdout).removesuffix("\n").split("\n", 2)
        if shown.returncode != 0:
            if lines[1:] == ["true"]:
                raise GitError(f"{start}: a bare repository, which has no files; run this in a clone of it")
            raise asked._failure(question, shown)
        ids, _, top = lines
        if ids != "sha1":
            raise GitError(
                f"{top}: its ids are {ids.upper().replace('SHA', 'SHA-')}, and release files name SHA-1 ids; "
                "make it again: git init --object-format=sha1"
            )
        return cls(top)

    @classmethod
    def clone(cls, url: str, path: Path, *options: str, timeout: float = 600) -> Self:
        """Clone `url` into `path` (missing or empty); `options` go to `git clone`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        parent = cls(path.parent)
        parent._remote("clone", "--quiet", *options, "--", url, str(path), timeout=timeout)
        return cls(path)

    @contextmanager
    def reading(self) -> Generator[None]:
        """Let one process of git answer all questions about objects, in this thread, until the end."""
        if self._reads_in is not None or not self.path.is_dir():
            yield
            return
        with self.variables() as variables:
            try:
                self._reader = Reader(self.path, variables)
            except OSError:
                self._reader = None  # each command fails with the reason
            self._reads_in = threading.get_ident()
            try:
                yield
            finally:
                self._reads_in = None
                self._close_reader()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _asked(self, ask: Callable[[Reader], Answer]) -> Answer | None:
        """Return the answer of the process of `reading`; None without one that answers."""
        if self._reader is None or self._reads_in != threading.get_ident():
            return None
        try:
            return ask(self._reader)
        except ReaderError:
            self._close_reader()
            return None

    def resolve(self, revision: str) -> str:
        """Return the full id of the commit that `revision` names."""
        if revision in self._commits:
            return revision
        name = f"{revision}^{{commit}}"
        if "\n" not in name and (answers := self._asked(lambda reader: reader.info([name]))) is not None:
            commit = answers[0][0] if answers[0] else ""
        else:
            result = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
            commit = as_text(result.stdout).strip() if result.returncode == 0 else ""
        if not commit:
            raise GitError(f"{revision or 'no name'}: no such commit in {self.path}")
        self._commits.add(commit)
        return commit

    def has(self, revision: str) -> bool:
        """Whether `revision` names a commit that is present here."""
        name = f"{_revision(revision)}^{{commit}}"
        if "\n" not in name and (answers := self._asked(lambda reader: reader.info([name]))) is not None:
            return answers[0] is not None
        return self.run("cat-file", "-e", name).returncode == 0

    def read(self, commit: str, path: str) -> bytes | None:
        """Return the content of the file `path` in `commit`, or None where it has no such file."""
        return self.read_all([(self.resolve(commit), path)])[0]

    def read_all(self, files: Sequence[tuple[str, str]], longest: int | None = None) -> list[bytes | None]:
        """Return the contents of (commit, path) pairs; None where there is no such commit or file.

        With `longest`, a file of more bytes is not read, as if it were not there.
        """
        names = [f"{commit}:{path}" for commit, path in files]
        if longest is None:
            return [content if kind == "blob" else None for kind, content in self._batch(names)]
        files_there = [entry if entry and entry.kind == "blob" else None for entry in self.objects(names)]
        contents = self._contents(files_there, longest)
        return [contents.get(entry.id) if entry else None for entry in files_there]

    def tree_id(self, commit: str, path: str) -> str | None:
        """Return the id of the tree or blob at `path` in `commit`, or None where there is none."""
        return self.object_ids([f"{self.resolve(commit)}:{path}"])[0]

    def object_ids(self, names: Sequence[str]) -> list[str | None]:
        """Return the ids of objects by name (`<commit>:<path>`, `<commit>^{commit}`); None where missing."""
        return [entry.id if entry else None for entry in self.objects(names)]

    def objects(self, names: Sequence[str]) -> list[Object | None]:
        """Return objects by name, as `object_ids` does."""
        if not names:
            return []
        lines = [_one_line(name) for name in names]
        if (answers := self._asked(lambda reader: reader.info(lines))) is not None:
            return [answer and Object(*answer) for answer in answers]
        query = "".join(f"{line}\n" for line in lines)
        lines = self.git("cat-file", "--batch-check", input=query).split("\n")
        matches = (re.fullmatch(r"([0-9a-f]{40,64}) ([a-z]+) ([0-9]+)", line) for line in lines)
        return [Object(match[1], match[2], int(match[3])) if match else None for match in matches]

    def blobs(self, objects: Iterable[Object | None], longest: int) -> dict[str, bytes]:
        """Return the contents of files by their ids; a folder is left out.

        A file of more than `longest` bytes is not read. Zeros of one byte more stand for it, so that whoever
        reads it refuses its size.
        """
        files = [entry for entry in objects if entry and entry.kind == "blob"]
        too_long = {entry.id: bytes(longest + 1) for entry in files if entry.size > longest}
        return too_long | self._contents(files, longest)

    def _contents(self, objects: Iterable[Object | None], longest: int) -> dict[str, bytes]:
        """Return the contents of objects by id; those that are longer are left out."""
        short = list(dict.fromkeys(entry.id for entry in objects if entry and entry.size <= longest))
        return {name: content for name, (_, content) in zip(short, self._batch(short), strict=True)}

    def _batch(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the kind and the content of objects by name. A missing object has an empty kind."""
        if not names:
            return
        lines = [_one_line(name) for name in names]
        if (answers := self._asked(lambda reader: reader.contents(lines))) is not None:
            yield from (answer or ("", b"") for answer in answers)
            return
        query = "".join(f"{line}\n" for line in lines)
        rest = self._output("cat-file", "--batch", input=query.encode())
        for _ in names:
            header, _, rest = rest.partition(b"\n")
            match = re.fullmatch(rb"[0-9a-f]{40,64} ([a-z]+) ([0-9]+)", header)
            if match is None:
                yield "", b""
                continue
            size = int(match[2])
            yield match[1].decode(), rest[:size]
            rest = rest[size + 1 :]

    def entries(self, tree: str) -> list[Entry]:
        """Return the files, links and submodules of a commit or tree, with names that are there twice."""
        listed = self._output("ls-tree", "-r", "-z", "--full-tree", _revision(tree)).decode(
            "utf-8", "surrogateescape"
        )
        rows = (entry.partition("\t") for entry in listed.split("\0") if entry)
        return [Entry(path, *head.split(" ")[::2]) for head, _, path in rows]

    def link_targets(self, links: Sequence[Entry], longest: int) -> dict[str, str | None]:
        """Return where symbolic links lead, by their paths; None for a target longer than `longest`."""
        return {
            path: None if content is None else content.decode("utf-8", "surrogateescape")
            for path, content in self.contents(links, longest).items()
        }

    def contents(self, entries: Sequence[Entry], longest: int) -> dict[str, bytes | None]:
        """Return the contents of files by their paths; None for one of more than `longest` bytes."""
        contents = self._contents(self.objects([entry.object_id for entry in entries]), longest)
        return {entry.path: contents.get(entry.object_id) for entry in entries}

    def pack(self, commits: Sequence[str], *, without: Sequence[str] = ()) -> bytes:
        """Return a pack of all objects of `commits` that the commits `without` do not have."""
        revisions = "\n".join([*commits, *(f"^{commit}" for commit in without), ""])
        args = ("pack-objects", "--quiet", "--revs", "--stdout")
        return self._output(*args, input=revisions.encode(), timeout=600)

    def merge_tree(self, ours: str, theirs: str) -> tuple[str, list[str]]:
        """Merge two commits, given by their full ids, without a checkout.

        Neither the configuration of the repository nor the attributes of its checkout (`.gitattributes`,
        `info/attributes`), which would take both sides of a conflict, have a part in it: git runs in an empty
        repository that has the same objects.

        Returns:
            The tree of the result, and the files in conflict.

        """
        args = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
        with self._aside() as env:
            result = self.run(*args, timeout=300, env=env)
        if result.returncode not in (0, 1):
            raise self._failure(args, result)
        tree, *files = as_text(result.stdout).split("\0")
        conflicts = list(dict.fromkeys(filter(None, files)))
        if result.returncode and not conflicts:
            # Of a folder that one side has split git names no file, and goes on as if it had not been.
            conflicts = ["a folder that one side moved to several places"]
        return tree.strip(), conflicts

    def attributes(self, tree: str, paths: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the attributes that the files `.gitattributes` of a commit or tree give to its files.

        Returns:
            The state or value of each of `names`, as git prints it, by the path.

        """
        with self._aside() as env:
            self.git("read-tree", _revision(tree), env=env, timeout=300)
            given = b"".join(os.fsencode(path) + b"\0" for path in paths)
            options = ("--cached", "--stdin", "-z", *names)
            shown = self._output("check-attr", *options, input=given, env=env, timeout=300)
        fields = shown.decode("utf-8", "surrogateescape").split("\0")
        found: dict[str, dict[str, str]] = {}
        for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
            found.setdefault(path, {})[name] = value
        return found

    @contextmanager
    def _aside(self) -> Generator[dict[str, str]]:
        """Provide the variables of an empty repository that has the objects of this one."""
        folders = self.git("rev-parse", "--git-path", "objects", "--git-path", "shallow").split("\n")
        objects, shallow = ((self.path / name).resolve() for name in folders)
        with tempfile.TemporaryDirectory(prefix="gitops-aside-") as folder:
            self.git("init", "--quiet", "--bare", "--template=", folder)
            env = {"GIT_DIR": folder, "GIT_OBJECT_DIRECTORY": str(objects)}
            yield env | ({"GIT_SHALLOW_FILE": str(shallow)} if shallow.exists() else {})

    def files(self, commit: str, *paths: str, folders: bool = False) -> list[str]:
        """Return all files at or under `paths` in `commit`, relative to the repository's root.

        With `folders`, those are listed too. A name that is in a tree twice is listed twice.
        """
        listed = self.git(
            "ls-tree",
            "-rt" if folders else "-r",
            "-z",
            "--name-only",
            "--full-tree",
            _revision(commit),
            "--",
            *paths,
        )
        return [name for name in listed.split("\0") if name]

    def changed(self, before: str, after: str) -> list[str]:
        """Return the files that differ between two commits; a renamed file counts under both names."""
        listed = self.git(
            "diff-tree", "-r", "-z", "--no-renames", "--name-only", _revision(before), _revision(after)
        )
        return [name for name in listed.split("\0") if name]

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `descendant` is `ancestor` or came after it."""
        args = ("merge-base", "--is-ancestor", _revision(ancestor), _revision(descendant))
        result = self.run(*args)
        if result.returncode not in (0, 1):
            raise self._failure(args, result)
        return result.returncode == 0

    def on_branch(self, remote: str, commit: str) -> bool:
        """Whether a branch last fetched from `remote` contains a commit, given by its full id."""
        if not self.has(commit):
            return False
        branches = f"{self.namespace(remote)}/heads/"
        return bool(self.git("for-each-ref", "--count=1", f"--contains={commit}", branches))

    def merge_bases(self, first: str, second: str) -> list[str]:
        """Return all best common ancestors of two commits: none where their histories never met."""
        args = ("merge-base", "--all", _revision(first), _revision(second))
        result = self.run(*args)
        if result.returncode not in (0, 1):
            raise self._failure(args, result)
        return as_text(result.stdout).split()

    def merge_base(self, first: str, second: str) -> str | None:
        """Return a best common ancestor of two commits, or None where their histories never met."""
        return next(iter(self.merge_bases(first, second)), None)

    def leads_to(self, commit: str, tip: str) -> bool:
        """Whether `tip` grew out of `commit`: whether it is among the first parents of `tip`. Both are ids.

        A merge may have any commit as its first parent. So a commit that contains another one need not have
        grown out of it, and then its history along first parents is another one.
        """
        if commit == tip:
            return True
        grown = self.git("rev-list", "--first-parent", "--parents", f"{commit}..{tip}").split("\n")
        return commit in grown[-1].split(" ")[1:2]

    def log(self, revision: str, *paths: str, options: Iterable[str] = ()) -> list[Commit]:
        """Return the commits that lead to `revision` (and change `paths`, where given), newest first."""
        listed = self.git("rev-list", *options, "--end-of-options", revision, "--", *paths)
        return self.describe(listed.split())

    def describe(self, commits: Collection[str]) -> list[Commit]:
        """Read commits, given by their full ids, as they are stored.

        Git would convert their text to the encoding that they declare. A commit that does not fit into memory
        has no date, as one before 1970, and no text.
        """
        objects = self.objects([*commits])
        huge = {entry.id: b"" for entry in objects if entry and entry.size > LARGEST_COMMIT}
        contents = huge | self._contents(objects, LONGEST_COMMIT)
        return [
            read_commit(commit, contents[commit] if commit in contents else self._beginning(commit))
            for commit in commits
        ]

    def _beginning(self, commit: str) -> bytes:
        return self._output("cat-file", "commit", commit)[:LONGEST_COMMIT]

    def commit_info(self, revision: str) -> Commit:
        """Return id, time and subject of one commit."""
        return self.describe([self.resolve(revision)])[0]

    def namespace(self, remote: str) -> str:
        """Return where the references of `remote` (a name, a URL or a path) are kept."""
        plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", remote)
        return f"refs/gitops/{remote if plain else hashlib.sha256(remote.encode()).hexdigest()[:12]}"

    def branch_ref(self, remote: str, branch: str) -> str:
        """Return the reference under which `fetch` keeps a branch of `remote`."""
        return f"{self.namespace(remote)}/heads/{branch}"

    def remotes(self) -> list[str]:
        """Return the names of the remotes that this repository knows."""
        return self.git("remote").splitlines()

    def remote_url(self, remote: str) -> str:
        """Return the URL of a remote; a URL or a path stands for itself."""
        return self.git("remote", "get-url", remote) if remote in self.remotes() else remote

    def fetch(self, remote: str, *, timeout: float = 300) -> None:
        """Make `refs/gitops/<remote>/` a copy of all branches and tags of `remote`.

        A shallow clone gets the history that it lacks.
        """
        namespace = self.namespace(remote)
        specs = (f"+refs/heads/*:{namespace}/heads/*", f"+refs/tags/*:{namespace}/tags/*")
        # Without its history a release looks as if it had never run, and two branches as if they never met.
        shallow = self.git("rev-parse", "--is-shallow-repository") == "true"
        self.fetch_refs(remote, *specs, timeout=timeout, options=("--unshallow",) if shallow else ())

    def fetch_refs(
        self,
        remote: str,
        *specs: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
        options: Sequence[str] = (),
        most: int = incoming.MOST,
    ) -> None:
        """Fetch exactly these reference specifications, and drop references that the remote no longer has.

        Raises:
            GitError: also if they bring more than `most` bytes, or than half of the room on the disk.

        """
        self._remote(
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--refmap=",  # leaves refs/remotes/ as the owner of the checkout last fetched it
            *options,
            "--",
            remote,
            *specs,
            timeout=timeout,
            env=env,
            most=most,
        )
        self._pack_references()

    def _pack_references(self) -> None:
        """Put references into one file if there are many, as of somebody who pushes thousands of tags.

        Git opens the file of each reference for every list of them, and packs them only with `git gc`.
        """
        git = self.path if (self.path / "objects").is_dir() else self.path / ".git"
        if sum(len(files) for _, _, files in os.walk(git / "refs")) > _MOST_REFERENCES:
            self.git("pack-refs", "--all", timeout=300)

    def fetch_commit(self, remote: str, commit: str, *, timeout: float = 600) -> None:
        """Bring one commit, without its history, from `remote`; no reference comes to name it."""
        if not is_full_sha(commit):
            raise GitError(f"{commit[:80]!r}: not a full commit id, 40 hexadecimal digits")
        args = ("fetch", "--quiet", "--no-tags", "--depth", "1", "--", remote, commit)
        self._remote(*args, timeout=timeout, most=incoming.MOST)

    def tags(self, *patterns: str, remote: str | None = None) -> list[Tag]:
        """Return tags: the repository's own, or those last fetched from `remote`.

        A pattern is a full name, a leading part up to a slash (`verified/staging`) or a glob. Anybody may
        have made a tag, so this never raises: `Tag.problem` is the fault of the tag.
        """
        prefix = f"{self.namespace(remote)}/tags/" if remote else "refs/tags/"
        # Names and ids alone: git stops at a tag whose object it lacks once it is asked for more.
        listed = self.git(
            "for-each-ref",
            "--format=%(objectname) %(refname)",
            *((prefix + pattern).rstrip("/") for pattern in patterns or ("",)),
        )
        names = [line.partition(" ")[::2] for line in listed.split("\n") if line]
        objects = self.objects([object_id for object_id, _ in names])
        contents = self._contents((entry for entry in objects if entry and entry.kind == "tag"), LONGEST_TAG)
        return [
            read_tag(name.removeprefix(prefix), object_id, entry, contents.get(object_id))
            for (object_id, name), entry in zip(names, objects, strict=True)
        ]

    def identity(self) -> dict[str, str]:
        """Return the variables that let git commit where nobody has set a name and an address; else none."""
        listed = self.run("config", "--get-regexp", r"^(user|author|committer)\.(name|email)$")
        configured = {line.split(" ", 1)[0] for line in as_text(listed.stdout).splitlines()}
        return {
            f"GIT_{role.upper()}_{part.upper()}": fallback
            for role in ("author", "committer")
            for part, fallback in (("name", "Visage"), ("email", "visage@localhost"))
            if not configured & {f"user.{part}", f"{role}.{part}"}
            and not os.environ.get(f"GIT_{role.upper()}_{part.upper()}")
        }

    def author(self) -> str:
        """Return the name under which git commits here."""
        return self.git("var", "GIT_AUTHOR_IDENT", env=self.identity()).rpartition(" <")[0]

    def addresses(self) -> tuple[str, str]:
        """Return the e-mail addresses under which git commits here, in lower case: author and committer."""
        names = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
        identity = self.identity()
        idents = [self.git("var", name, env=identity) for name in names]
        author, committer = (ident.rpartition(" <")[2].partition(">")[0].lower() for ident in idents)
        return author, committer

    def signs(self) -> bool:
        """Whether the user wants their commits signed: `commit.gpgSign`."""
        return self.run("config", "--type=bool", "--get", "commit.gpgSign").stdout.strip() == b"true"

    def commit_files(
        self, parent: str | None, files: Mapping[str, bytes | None], message: str, *, sign: bool = False
    ) -> str:
        """Commit `files` (path -> content, None deletes) on top of `parent` and return the new commit's id.

        Touches no reference, no index and no working tree. A file that exists keeps its mode. `sign` signs it
        with the key that git's configuration names.
        """
        with tempfile.TemporaryDirectory(prefix="gitops-index-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if parent is None:
                self.git("read-tree", "--empty", env=index)
            else:
                self.git("read-tree", parent, env=index)
            staged = self.git("ls-files", "--stage", "-z", "--full-name", env=index) if files else ""
            modes = {entry.partition("\t")[2]: entry[:6] for entry in staged.split("\0")}
            written = {path: Path(folder) / str(number) for number, path in enumerate(files)}
            for path, content in files.items():
                written[path].write_bytes(content or b"")
            names = "".join(f"{file}\n" for file in written.values())
            blobs = self.git("hash-object", "-w", "--no-filters", "--stdin-paths", input=names).split()
            entries: list[str] = []
            for (path, content), blob in zip(files.items(), blobs, strict=True):
                mode = modes.get(path, "100644") if content is not None else "0"
                mode = mode if mode == "0" or mode.startswith("100") else "100644"
                entries.append(f"{mode} {blob}\t{path}\0")
            self.git("update-index", "-z", "--index-info", input="".join(entries), env=index)
            tree = self.git("write-tree", env=index)
        parents = () if parent is None else ("-p", self.resolve(parent))
        signature = "--gpg-sign" if sign else "--no-gpg-sign"
        return self.git("commit-tree", signature, *parents, tree, input=message, env=self.identity())

    def commit_tree(
        self, tree: str, parents: Sequence[str], message: str, *, env: Mapping[str, str] | None = None
    ) -> str:
        """Commit a tree, unsigned, and return the new commit's id. No reference comes to name it."""
        options = [option for parent in parents for option in ("-p", parent)]
        return self.git(
            "commit-tree",
            "--no-gpg-sign",
            *options,
            tree,
            input=message,
            env=self.identity() | dict(env or {}),
        )

    def tag(
        self,
        commit: str,
        name: str,
        message: str,
        *,
        at: datetime | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> str:
        """Write an annotated tag object on `commit` and return its id, without making a local tag of it.

        Args:
            commit: The commit that it marks.
            name: The name, without `refs/tags/`.
            message: The message.
            at: The date; by default the present.
            sign: Returns the signature of a content, which is appended to it.

        """
        date = {} if at is None else {"GIT_COMMITTER_DATE": f"@{int(at.timestamp())} +0000"}
        ident = self.git("var", "GIT_COMMITTER_IDENT", env=self.identity() | date)
        header = f"object {self.resolve(commit)}\ntype commit\ntag {name}\ntagger {ident}"
        content = f"{header}\n\n{message}\n".encode("utf-8", "surrogateescape")
        return self.git("mktag", input=content + (sign(content) if sign else b""))

    def signed_tag(self, commit: str, name: str, message: str, *, at: datetime) -> Tag:
        """Write an annotated tag object that git signs with the key of its configuration, and return it.

        Git makes such an object only together with a local tag: that is put back as it was.

        Raises:
            GitError: where git cannot sign.

        """
        reference = f"refs/tags/{name}"
        before = self.object_ids([reference])[0]
        date = {"GIT_COMMITTER_DATE": f"@{int(at.timestamp())} +0000"}
        options = ("--sign", "--force", "--cleanup=verbatim", "--file=-")
        try:
            self.git(
                "tag", *options, name, self.resolve(commit), input=f"{message}\n", env=self.identity() | date
            )
            object_id = self.git("rev-parse", "--verify", reference)
        finally:
            if before is not None:
                self.git("update-ref", reference, before)
            elif self.has(reference):
                self.git("update-ref", "-d", reference)
        entry = self.objects([object_id])[0]
        return read_tag(name, object_id, entry, self._contents([entry], LONGEST_TAG).get(object_id))

    def push(
        self,
        remote: str,
        refs: Mapping[str, str | None],
        *,
        leases: Mapping[str, str | None] | None = None,
        timeout: float = 300,
    ) -> None:
        """Push ids to full reference names of `remote`, all or none; None deletes.

        Without a lease only new references and fast-forwards are accepted. A lease (reference -> the id that
        the remote must still have, None: must not exist) overwrites exactly that.

        Raises:
            PushRejectedError: if the remote refuses; never tried again.
            NetworkError: if the remote stays unreachable.

        """
        options = [f"--force-with-lease={ref}:{expected or ''}" for ref, expected in (leases or {}).items()]
        if len(refs) > 1:
            options.append("--atomic")
        # A mirror takes no single references.
        config = {f"remote.{remote}.mirror": "false"} if remote in self.remotes() else {}
        try:
            with self._by_their_names(refs) as specs:
                # The hooks of the checkout's owner guard their own pushes, not the ones that are made here.
                command = ("push", "--porcelain", "--no-verify", *options, remote, *specs)
                self._remote(*command, timeout=timeout, config=config)
        except PushRejectedError as error:
            if not (obstacle := self._in_the_way(remote, refs)):
                raise
            shown = CREDENTIALS.sub("***@", remote)
            # Somebody else chose the name, and a shell would run a part of it.
            delete = shlex.join(["git", "push", shown, "--delete", obstacle[0]])
            raise PushRejectedError(
                f"git push: '{obstacle[0]}' exists on {shown}, and git writes no '{obstacle[1]}' beside it; "
                f"delete it: {delete}",
                command=delete,
            ) from error

    @contextmanager
    def _by_their_names(self, refs: Mapping[str, str | None]) -> Generator[list[str]]:
        """Provide the arguments by which `git push` writes exactly these references.

        It would take a branch `refs/heads/main` of the remote for `refs/heads/main` as well, and only
        patterns are taken literally. A pattern needs references here. Those of a push that was killed go
        with a later one.
        """
        now = int(time.time())
        left = self.git("for-each-ref", "--format=%(refname)", _PUSHES).splitlines()
        if old := [name for name in left if _begun(name) < now - _LONGEST_PUSH]:
            self.git("update-ref", "--stdin", input="".join(f"delete {name}\n" for name in old))
        folder = f"{_PUSHES}/{now}-{secrets.token_hex(8)}"
        made = {f"{folder}/{ref.removeprefix('refs/')}": target for ref, target in refs.items() if target}
        self.git("update-ref", "--stdin", input="".join(f"create {name} {made[name]}\n" for name in made))
        try:
            yield [*([f"{folder}/*:refs/*"] if made else []), *(f":{ref}" for ref in refs if not refs[ref])]
        finally:
            self.git("update-ref", "--stdin", input="".join(f"delete {name}\n" for name in made))

    def _in_the_way(self, remote: str, refs: Iterable[str]) -> tuple[str, str] | None:
        """Return a reference of the remote beside which git does not write one of `refs`, and that one."""
        for ref in refs:
            parts = ref.split("/")
            parents = ["/".join(parts[:count]) for count in range(3, len(parts))]
            # A branch named `refs/heads/main` could be meant too, for git.
            names = [*parents, f"refs/heads/{ref}", f"refs/tags/{ref}"]
            for name in self.remote_refs(remote, *names, f"{ref}/*"):
                if name in names or name.startswith(f"{ref}/"):
                    return name, ref
        return None

    def remote_refs(self, remote: str, *patterns: str, timeout: float = 60) -> dict[str, str]:
        """Ask what `remote` has right now: full reference name -> id."""
        listed = self._remote("ls-remote", "--quiet", "--refs", remote, *patterns, timeout=timeout)
        return {name: target for target, name in (line.split("\t") for line in listed.splitlines())}


def _begun(name: str) -> int:
    """Return the second in which the push of a reference in _PUSHES began, or 0 if its name has none."""
    second = re.match(rf"{_PUSHES}/([0-9]{{1,12}})-", name)
    return int(second[1]) if second else 0


def _revision(name: str) -> str:
    """Return the name of a commit or tree, unless git would take it for an option."""
    if name.startswith("-"):
        raise GitError(f"{name[:80]!r}: not the name of a commit")
    return name


def _one_line(path: str) -> str:
    if "\n" in path:
        raise GitError(f"{path!r}: a path must not contain a line break")
    return path
