"""A git repository, driven by the plain `git` command.

Whatever is fetched lands under `refs/gitops/<remote>/`, and commits are made without a working tree: the
branches, tags, index and files of the checkout stay as their owner left them.
"""

import hashlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import GitError, GitTimeoutError, NetworkError, PushRejectedError

# Git sets these for the hooks that it runs. Inherited, they would point every command at another repository.
_INHERITED_FROM_HOOKS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
)
_REJECTION = re.compile(r"\[(?:remote )?rejected\]|\(stale info\)|pre-receive hook declined")
_NETWORK = re.compile(
    r"could not resolve|couldn't resolve|couldn't connect|failed to connect|connection (?:refused|timed out)"
    r"|connection (?:reset|closed)|operation timed out|network is unreachable|no route to host|early eof"
    r"|rpc failed|hung up unexpectedly|unexpected disconnect|returned error: (?:429|5\d\d)|tls connection"
    r"|temporary failure|cannot lock ref|unable to create '.*\.lock'",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_ATTEMPTS = 4


def is_full_sha(text: str) -> bool:
    """Whether `text` is a full commit id: 40 lower-case hexadecimal digits."""
    return _FULL_SHA.fullmatch(text) is not None


@dataclass(frozen=True)
class Tag:
    """A tag: its name without `refs/tags/`, its own object id, the commit that it marks, message and time."""

    name: str
    object_id: str
    commit: str
    message: str
    at: datetime | None


@dataclass(frozen=True)
class Commit:
    """A commit's id, committer time and subject line."""

    id: str
    at: datetime
    subject: str


class Repository:
    """The git repository (bare or not) at `path`.

    Every command has a timeout, never asks a question and never goes through a shell. Commands that talk to
    a remote are tried again, with growing pauses, when the network fails, and only then.

    :raises GitError: from every method, with git's own last line, when git fails.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        # A commit that was once here stays, and to ask git again each time takes most of a command's time.
        self._commits: set[str] = set()

    def __repr__(self) -> str:
        return f"Repository({str(self.path)!r})"

    @classmethod
    def find(cls, start: Path | str = ".") -> Self:
        """Return the repository that holds the folder `start`."""
        return cls(cls(start).git("rev-parse", "--show-toplevel"))

    @classmethod
    def clone(cls, url: str, path: Path, *options: str, timeout: float = 600) -> Self:
        """Clone `url` into `path` (missing or empty); `options` go to `git clone`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        cls(path.parent)._remote("clone", "--quiet", *options, "--", url, str(path), timeout=timeout)
        return cls(path)

    def run(
        self,
        *args: str,
        timeout: float = 60,
        input: bytes | None = None,  # noqa: A002, the name that subprocess gives it
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `git ARGS` here and return its exit status and bytes, whatever the status."""
        variables = {key: value for key, value in os.environ.items() if key not in _INHERITED_FROM_HOOKS}
        variables |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(env or {})}
        try:
            process = subprocess.Popen(
                ["git", *args],
                cwd=self.path,
                env=variables,
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that a timeout also ends git's own helpers (ssh, https)
            )
        except FileNotFoundError as error:
            missing = "the command git is not installed" if self.path.is_dir() else "no such folder"
            raise GitError(f"git {args[0]}: {missing} (in {self.path})") from error
        except NotADirectoryError as error:
            raise GitError(f"git {args[0]}: not a folder (in {self.path})") from error
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise GitTimeoutError(
                    f"git {args[0]}: no answer within {timeout:g} s (in {self.path})"
                ) from error
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def git(
        self,
        *args: str,
        timeout: float = 60,
        input: bytes | str | None = None,  # noqa: A002, the name that subprocess gives it
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run `git ARGS` here and return what it printed, without the final newline."""
        data = input.encode() if isinstance(input, str) else input
        result = self.run(*args, timeout=timeout, input=data, env=env)
        if result.returncode != 0:
            raise self._failure(args, result)
        return _text(result.stdout).removesuffix("\n")

    def resolve(self, revision: str) -> str:
        """Return the full id of the commit that `revision` names."""
        if revision in self._commits:
            return revision
        result = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if result.returncode != 0:
            raise GitError(f"{revision or 'no name'}: no such commit in {self.path}")
        commit = _text(result.stdout).strip()
        self._commits.add(commit)
        return commit

    def has(self, revision: str) -> bool:
        """Whether `revision` names a commit that is present here."""
        return self.run("cat-file", "-e", f"{revision}^{{commit}}").returncode == 0

    def read(self, commit: str, path: str) -> bytes | None:
        """Return the content of the file `path` in `commit`, or None where it has no such file."""
        return self.read_all([(self.resolve(commit), path)])[0]

    def read_all(self, files: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """Return the contents of (commit, path) pairs; None where there is no such commit or file."""
        if not files:
            return []
        query = "".join(f"{commit}:{_one_line(path)}\n" for commit, path in files)
        result = self.run("cat-file", "--batch", input=query.encode())
        if result.returncode != 0:
            raise self._failure(("cat-file",), result)
        rest, found = result.stdout, []
        for _ in files:
            header, _, rest = rest.partition(b"\n")
            if header.endswith(b" missing"):
                found.append(None)
                continue
            _, kind, size = header.split(b" ")
            content, rest = rest[: int(size)], rest[int(size) + 1 :]
            found.append(content if kind == b"blob" else None)
        return found

    def tree_id(self, commit: str, path: str) -> str | None:
        """Return the id of the tree or blob at `path` in `commit`, or None where there is none."""
        return self.object_ids([f"{self.resolve(commit)}:{path}"])[0]

    def object_ids(self, names: Sequence[str]) -> list[str | None]:
        """Return the ids of objects by name (`<commit>:<path>`, `<commit>^{commit}`); None where missing."""
        if not names:
            return []
        query = "".join(f"{_one_line(name)}\n" for name in names)
        lines = self.git("cat-file", "--batch-check", input=query).splitlines()
        return [None if line.endswith((" missing", " ambiguous")) else line.split(" ")[0] for line in lines]

    def files(self, commit: str, path: str = "") -> list[str]:
        """Return all files at or under `path` in `commit`, relative to the repository's root."""
        listed = self.git(
            "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", *filter(None, [path])
        )
        return [name for name in listed.split("\0") if name]

    def changed(self, before: str, after: str) -> list[str]:
        """Return the files that differ between two commits; a renamed file counts under both names."""
        listed = self.git("diff-tree", "-r", "-z", "--no-renames", "--name-only", before, after)
        return [name for name in listed.split("\0") if name]

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `descendant` is `ancestor` or came after it."""
        args = ("merge-base", "--is-ancestor", ancestor, descendant)
        result = self.run(*args)
        if result.returncode not in (0, 1):
            raise self._failure(args, result)
        return result.returncode == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor of two commits, or None where their histories never met."""
        args = ("merge-base", one, other)
        result = self.run(*args)
        if result.returncode not in (0, 1):
            raise self._failure(args, result)
        return _text(result.stdout).strip() or None

    def log(self, revision: str, *paths: str, options: Iterable[str] = ()) -> list[Commit]:
        """Return the commits that lead to `revision` (and change `paths`, where given), newest first."""
        listed = self.git(
            "log", "-z", "--format=%H%x1f%ct%x1f%s", *options, "--end-of-options", revision, "--", *paths
        )
        rows = (entry.split("\x1f") for entry in listed.split("\0") if entry)
        return [Commit(row[0], datetime.fromtimestamp(int(row[1]), UTC), row[2]) for row in rows]

    def commit_info(self, revision: str) -> Commit:
        """Return id, time and subject of one commit."""
        return self.log(self.resolve(revision), options=("-1",))[0]

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
        """Make `refs/gitops/<remote>/` what `remote` has: all its branches and tags, and no other."""
        namespace = self.namespace(remote)
        specs = (f"+refs/heads/*:{namespace}/heads/*", f"+refs/tags/*:{namespace}/tags/*")
        self.fetch_refs(remote, *specs, timeout=timeout)

    def fetch_refs(
        self, remote: str, *specs: str, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> None:
        """Fetch exactly these reference specifications, and drop what the remote dropped from under them."""
        self._remote(
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--refmap=",  # leaves refs/remotes/ as the owner of the checkout last fetched it
            remote,
            *specs,
            timeout=timeout,
            env=env,
        )

    def fetch_commit(self, remote: str, commit: str, *, timeout: float = 600) -> None:
        """Bring one commit, without its history, from `remote`; no reference comes to name it."""
        self._remote("fetch", "--quiet", "--no-tags", "--depth", "1", remote, commit, timeout=timeout)

    def tags(self, pattern: str = "", *, remote: str | None = None) -> list[Tag]:
        """Return tags: the repository's own, or those last fetched from `remote`.

        `pattern` is a full name, a leading part up to a slash (`verified/staging`) or a glob.
        """
        prefix = f"{self.namespace(remote)}/tags/" if remote else "refs/tags/"
        fields = (
            "%(refname)",
            "%(objectname)",
            "%(objecttype)",
            "%(*objectname)",
            "%(creatordate:unix)",
            "%(contents)",
        )
        listed = self.git(
            "for-each-ref", f"--format={'%00'.join(fields)}%00%01", (prefix + pattern).rstrip("/")
        )
        found = []
        for entry in listed.split("\0\x01"):
            if not entry.strip():
                continue
            name, object_id, kind, target, at, message = entry.lstrip("\n").split("\0")
            annotated = kind == "tag"
            found.append(
                Tag(
                    name=name.removeprefix(prefix),
                    object_id=object_id,
                    commit=target if annotated else object_id,
                    message=message.rstrip("\n") if annotated else "",
                    at=datetime.fromtimestamp(int(at), UTC) if at else None,
                )
            )
        return found

    def identity(self) -> dict[str, str]:
        """Return the variables that let git commit where nobody has set a name and an address; else none."""
        listed = self.run("config", "--get-regexp", r"^(user|author|committer)\.(name|email)$")
        configured = {line.split(" ", 1)[0] for line in _text(listed.stdout).splitlines()}
        return {
            f"GIT_{role.upper()}_{part.upper()}": fallback
            for role in ("author", "committer")
            for part, fallback in (("name", "Visage"), ("email", "visage@localhost"))
            if not configured & {f"user.{part}", f"{role}.{part}"}
            and not os.environ.get(f"GIT_{role.upper()}_{part.upper()}")
        }

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
            entries = []
            for path, content in files.items():
                if content is None:
                    entries.append(f"0 {'0' * 40}\t{path}\0")
                    continue
                blob = self.git("hash-object", "-w", "--stdin", input=content)
                mode = modes.get(path, "100644")
                entries.append(f"{mode if mode.startswith('100') else '100644'} {blob}\t{path}\0")
            self.git("update-index", "-z", "--index-info", input="".join(entries), env=index)
            tree = self.git("write-tree", env=index)
        parents = () if parent is None else ("-p", self.resolve(parent))
        signature = "--gpg-sign" if sign else "--no-gpg-sign"
        return self.git("commit-tree", signature, *parents, tree, input=message, env=self.identity())

    def tag(self, commit: str, name: str, message: str) -> str:
        """Write an annotated tag object on `commit` and return its id, without making a local tag of it."""
        ident = self.git("var", "GIT_COMMITTER_IDENT", env=self.identity())
        content = f"object {self.resolve(commit)}\ntype commit\ntag {name}\ntagger {ident}\n\n{message}\n"
        return self.git("mktag", input=content)

    def push(
        self,
        remote: str,
        refs: Mapping[str, str | None],
        *,
        leases: Mapping[str, str | None] | None = None,
        timeout: float = 300,
    ) -> None:
        """Push ids to full reference names of `remote`, all or none; None deletes.

        Without a lease only what is new or fast-forwards is accepted. A lease (reference -> the id that the
        remote must still have, None: must not exist) overwrites exactly that.

        :raises PushRejectedError: when the remote refuses; never tried again.
        :raises NetworkError: when the remote stays unreachable.
        """
        options = [f"--force-with-lease={ref}:{expected or ''}" for ref, expected in (leases or {}).items()]
        if len(refs) > 1:
            options.append("--atomic")
        specs = [f"{target or ''}:{ref}" for ref, target in refs.items()]
        # The hooks of the checkout's owner guard their own pushes, not the ones that are made here.
        self._remote("push", "--porcelain", "--no-verify", *options, remote, *specs, timeout=timeout)

    def remote_refs(self, remote: str, *patterns: str, timeout: float = 60) -> dict[str, str]:
        """Ask what `remote` has right now: full reference name -> id."""
        listed = self._remote("ls-remote", "--quiet", "--refs", remote, *patterns, timeout=timeout)
        return {name: target for target, name in (line.split("\t") for line in listed.splitlines())}

    def _remote(self, *args: str, timeout: float, env: Mapping[str, str] | None = None) -> str:
        retrying = Retrying(
            retry=retry_if_exception_type(NetworkError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.3, max=5),
            reraise=True,
        )
        return retrying(self.git, *args, timeout=timeout, env=env)

    def _failure(self, args: tuple[str, ...], result: subprocess.CompletedProcess[bytes]) -> GitError:
        stderr, stdout = _text(result.stderr), _text(result.stdout)
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        line = lines[-1] if lines else f"exit status {result.returncode}"
        kind = GitError
        refused = [row for row in (*stdout.splitlines(), *lines) if _REJECTION.search(row)]
        if args[0] == "push" and refused:
            kind, line = PushRejectedError, " ".join(refused[0].removeprefix("!").split())
        elif network := [row for row in lines if _NETWORK.search(row)]:
            kind, line = NetworkError, network[0]
        elif fatal := [row for row in lines if row.startswith(("fatal: ", "error: "))]:
            # The last line may only explain it: "Stopping at filesystem boundary".
            line = fatal[0] if args[0] in ("fetch", "clone", "push", "ls-remote") else fatal[-1]
        line = line.removeprefix("fatal: ").removeprefix("error: ")
        return kind(_CREDENTIALS.sub("***@", f"git {args[0]}: {line} (in {self.path})"))


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _one_line(path: str) -> str:
    if "\n" in path:
        raise GitError(f"{path!r}: a path must not contain a line break")
    return path
