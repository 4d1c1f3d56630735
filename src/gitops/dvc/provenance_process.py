"""Answers questions about commits with DVC's own reading, for `gitops.dvc.provenance`; run as `python -P -m`.

The commits may be anybody's. So no code of a commit is run and no file of it is written to disk: DVC reads it
from a file system in memory, filled from git. The DVC configuration of the machine and of the commit is left
out, except for `parsing`. Each question is answered in a process of its own, which may open no connection and
start no program, and whose memory and time are limited.

A line of JSON asks, a line of JSON answers. DVC is loaded once for all questions.
"""

# DVC has no types.
# pyright: reportMissingTypeStubs=false

import importlib
import io
import json
import os
import re
import resource
import select
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from scmrepo.git.objects import GitObject

from gitops.dvc import parameters
from gitops.dvc.remote import MODEL
from gitops.text.parse import is_mapping

MEMORY = 1 << 30
FILES = 100_000
FILE_BYTES = 64 << 20
ALL_BYTES = 512 << 20
IDLE = 20.0
"""Seconds without a question after which this process ends."""

# Modules that are loaded once, for all questions: DVC loads many of them only when it needs them
_LOADED = (
    *(
        "dvc.cachemgr",
        "dvc.data_cloud",
        "dvc.dvcfile",
        "dvc.fs.git",
        "dvc.ignore",
        "dvc.lock",
        "dvc.repo.artifacts",
    ),
    *("dvc.repo.datasets", "dvc.repo.graph", "dvc.repo.index", "dvc.repo.metrics", "dvc.repo.params"),
    *(
        "dvc.repo.plots",
        "dvc.repo.stage",
        "dvc.repo.trie",
        "dvc.scm",
        "dvc.utils.serialize",
        "dvc.utils.strictyaml",
    ),
    *(
        "configobj",
        "dvc_data.hashfile.tree",
        "dvc_data.index",
        "jsonschema",
        "networkx",
        "platformdirs",
        "pygtrie",
    ),
    *("referencing", "ruamel.yaml", "scmrepo.fs"),
)
_ABSENT = "git lacks files of this commit here; in a partial clone: git fetch --refetch --no-filter origin"
_TOO_MUCH = "this file, or one that it names, takes too long or too much memory"
_SYMLINK = 0o120000
# The beginning of DVC's messages about a file.
_IN_FILE = re.compile(r"'\./([^']+)' (?:validation failed|is invalid)(?: in revision '[0-9a-f]+')?[:,.]? ")
# Not the root of the file system, so that a path can lead out of the repository.
_ROOT = "/repository"
# Events of Python's audit hooks: connections, and other programs.
_BLOCKED = frozenset(
    {
        *("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname"),
        *("socket.sendmsg", "socket.sendto"),
        *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"),
    }
)


class UnreadableError(Exception):
    """A commit cannot be read as a pipeline of DVC. `file` is the file to repair."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(problem)
        self.file = file
        self.problem = problem


class _Objects:
    """The files of one commit, read with `git cat-file --batch`."""

    def __init__(self, repository: str, commit: str) -> None:
        self.commit = commit
        listed = subprocess.run(
            ["git", "ls-tree", "-r", "-l", "-z", "--full-tree", commit],
            cwd=repository,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if listed.returncode != 0:
            raise UnreadableError("(commit)", _ABSENT)
        self.entries: dict[str, tuple[int, str, int]] = {}
        for entry in listed.stdout.decode("utf-8", "surrogateescape").split("\0"):
            if entry:
                head, _, path = entry.partition("\t")
                mode, kind, name, size = head.split()
                if kind == "blob":
                    self.entries[path] = int(mode, 8), name, int(size)
        if len(self.entries) > FILES:
            raise UnreadableError("(commit)", f"has {len(self.entries):,} files; at most {FILES:,} are read")
        self._read = 0
        self._git = subprocess.Popen(
            ["git", "cat-file", "--batch"], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def read(self, path: str) -> bytes:
        _, name, size = self.entries[path]
        self._read += size
        if size > FILE_BYTES or self._read > ALL_BYTES:
            raise UnreadableError(path, f"too large to be read ({size:,} bytes); keep data under DVC")
        assert self._git.stdin is not None
        assert self._git.stdout is not None
        self._git.stdin.write(f"{name}\n".encode())
        self._git.stdin.flush()
        if not self._git.stdout.readline().endswith(f" blob {size}\n".encode()):
            raise UnreadableError(path, _ABSENT)
        content = self._git.stdout.read(size)
        self._git.stdout.read(1)
        return content


class _Node(GitObject):
    """A file or a folder of a commit, as DVC's file system for git commits wants it."""

    def __init__(self, name: str, content: Callable[[], bytes] | None = None, size: int = 0) -> None:
        self._name = name
        self._content = content
        self._size = size
        self.children: dict[str, _Node] = {}

    # By the type of scmrepo's class it returns None.
    def open(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, mode: str = "r", encoding: str | None = None, **_: Any
    ) -> io.BytesIO | io.StringIO:
        assert self._content is not None
        content = self._content()
        return io.BytesIO(content) if "b" in mode else io.StringIO(content.decode(encoding or "utf-8"))

    @property
    def name(self) -> str:
        return self._name

    @property
    def mode(self) -> int:
        return stat.S_IFREG | 0o644 if self._content else stat.S_IFDIR

    @property
    def size(self) -> int:
        return self._size

    @property
    def sha(self) -> str:
        return ""

    def scandir(self) -> Iterable["_Node"]:
        return self.children.values()


def _tree(objects: _Objects) -> _Node:
    """Return the root folder. A link stands for the file of the commit that it leads to, or for nothing."""
    top, root = _Node(""), _Node(_ROOT[1:])
    top.children[root.name] = root
    for path, (_, _, size) in objects.entries.items():
        target = _followed(objects, path)
        parts = path.split("/")
        if target is None or parts[0] == ".dvc" or {".git", "..", ".", ""} & set(parts):
            continue
        _place(root, parts, _Node(parts[-1], lambda target=target: objects.read(target), size))
    _place(root, [".dvc", "config"], _Node("config", lambda: b"\n", 1))
    return top


def _place(root: _Node, parts: list[str], file: _Node) -> None:
    folder = root
    for part in parts[:-1]:
        folder = folder.children.setdefault(part, _Node(part))
    folder.children[parts[-1]] = file


def _followed(objects: _Objects, path: str) -> str | None:
    for _ in range(8):
        entry = objects.entries.get(path)
        if entry is None:
            return None
        if stat.S_IFMT(entry[0]) != _SYMLINK:
            return path
        target = objects.read(path).decode("utf-8", "surrogateescape")
        if target.startswith("/"):
            return None
        path = os.path.normpath(str(PurePosixPath(path).parent / target))
    return None


class _Commit:
    """A commit as DVC sees it."""

    def __init__(self, objects: _Objects) -> None:
        from dvc.fs import GitFileSystem
        from scmrepo.git.objects import GitTrie

        self.objects = objects
        self.fs = GitFileSystem(trie=GitTrie(_tree(objects), objects.commit))

    @cached_property
    def repo(self) -> Any:
        from dvc.dependency.repo import RepoDependency
        from dvc.repo import Repo
        from dvc.scm import SCM

        # DVC would clone the repository as soon as it reads the pointer.
        RepoDependency._make_fs = _refuse_import  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
        scm = SCM(str(Path.cwd()), no_scm=True)
        self.fs.chdir(_ROOT)
        return Repo(_ROOT, fs=self.fs, scm=scm, config={"parsing": self._parsing()})

    def _parsing(self) -> dict[str, str]:
        """Return how values are put into commands: all of `.dvc/config` that the pipeline's reading needs."""
        content = _content(self.objects, ".dvc/config") or b""
        config = ConfigParser(interpolation=None, strict=False)
        try:
            config.read_string(content.decode())
        except (ConfigError, UnicodeDecodeError) as error:
            raise UnreadableError(".dvc/config", "not written by DVC") from error
        return dict(config["parsing"]) if config.has_section("parsing") else {}


def _refuse_import(dependency: Any, **_: Any) -> None:
    problem = f"imports {dependency.def_path} from another repository, which no environment does"
    file = dependency.repo.fs.relpath(dependency.stage.path, _ROOT)
    raise UnreadableError(file, f"{problem}; take the file itself: dvc add")


def lineage(objects: _Objects) -> dict[str, Any]:
    """Compare `dvc.lock` with the commit itself, stage by stage, as `dvc status` does."""
    try:
        repo = _Commit(objects).repo
        index = repo.index
        index.check_graph()
        stages = [stage for stage in index.stages if not stage.is_data_source]
        producers = {out.fs_path: (stage, out) for stage in index.stages for out in stage.outs}
        files = {stage.path: stage.dvcfile for stage in stages}
        locks = {path: file.stages.lockfile_data for path, file in files.items()}
        answer: dict[str, Any] = {"stages": [], "contradictions": [], "made": []}
        concerned = _around(index, producers, f"{_ROOT}/{MODEL}")
        for stage in stages:
            answer["made"] += [_path(out) for out in stage.outs]
            lock = locks[stage.path].get(stage.name)
            # DVC never runs a frozen stage. Only of one beside the model it is no matter what changes.
            frozen = stage.frozen and stage not in concerned
            changes = list(_changes(repo, stage, lock, producers, frozen=frozen))
            if changes and stage.frozen and not frozen:
                changes.append(f"dvc.yaml freezes it: dvc unfreeze {_address(repo, stage)}")
            if changes:
                answer["stages"].append({"name": _address(repo, stage), "changes": changes})
            answer["contradictions"] += _contradictions(repo, stage, producers)
        if f"{_ROOT}/{MODEL}" in producers:
            _fetchable(repo, *producers[f"{_ROOT}/{MODEL}"])
    except UnreadableError:
        raise
    except Exception as error:  # DVC raises many types for files that it did not write
        raise _unreadable(error) from error
    return answer


def _fetchable(repo: Any, stage: Any, out: Any) -> None:
    """Refuse a model that `dvc push` would leave out, or bring to another place than the default remote."""
    options = {
        "cache: false": not out.use_cache,
        "push: false": not out.can_push,
        f"remote: {out.remote}": out.remote is not None,
    }
    for option in (option for option, given in options.items() if given):
        problem = f"{MODEL} has {option}, so no release could fetch it from the DVC remote; remove {option}"
        raise UnreadableError(repo.fs.relpath(stage.path, _ROOT), problem)


def _around(index: Any, producers: dict[str, Any], path: str) -> set[Any]:
    """Return the stage that makes a file, those that use it, and all that lead to any of these."""
    if path not in producers:
        return set()
    # An edge leads from a stage to one whose output it reads.
    users = _reached({producers[path][0]}, index.graph.predecessors)
    return _reached(users, index.graph.successors)


def _reached(reached: set[Any], further: Callable[[Any], Iterable[Any]]) -> set[Any]:
    waiting = list(reached)
    while waiting:
        new = set(further(waiting.pop())) - reached
        reached |= new
        waiting += new
    return reached


def pipeline(objects: _Objects) -> dict[str, Any]:
    """Return the inputs and outputs of each stage, with `dvc.yaml` resolved, and the lock's digests."""
    from dvc.dependency import ParamsDependency

    try:
        repo = _Commit(objects).repo
        stages: dict[str, Any] = {}
        outs = [(stage, out) for stage in repo.index.stages for out in stage.outs if out.use_cache]
        for stage in repo.index.stages:
            if stage.is_data_source:
                continue
            deps = [dep for dep in stage.deps if type(dep) is not ParamsDependency]
            stages[_address(repo, stage)] = {
                "pulls": list(dict.fromkeys(_pulls(repo, deps, outs))),
                "outs": [[_path(out), out.use_cache, out.hash_info.value] for out in stage.outs],
                "recorded": any(item.hash_info for item in (*stage.deps, *stage.outs)),
                "dropped": bool(_dropped(stage, stage.dvcfile.stages.lockfile_data.get(stage.name))),
            }
    except UnreadableError:
        raise
    except Exception as error:  # DVC raises many types for files that it did not write
        raise _unreadable(error) from error
    return stages


def _pulls(repo: Any, deps: Iterable[Any], outs: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    """Yield the targets of `dvc pull` for the inputs of a stage: outputs, parts of these, `.dvc` files."""
    for dep in deps:
        for stage, out in outs:
            if not out.hash_info or out is dep:
                continue
            if dep.fs_path == out.fs_path or dep.fs.isin(dep.fs_path, out.fs_path):
                yield _address(repo, stage) if stage.is_data_source else _path(dep)
            elif dep.fs.isin(out.fs_path, dep.fs_path):
                yield _address(repo, stage) if stage.is_data_source else _path(out)


def _address(repo: Any, stage: Any) -> str:
    """Return the name by which DVC's command line takes a stage."""
    file = repo.fs.relpath(stage.path, _ROOT)
    if stage.is_data_source:
        return str(file)
    return str(stage.name) if file == "dvc.yaml" else f"{file}:{stage.name}"


def _unreadable(error: Exception) -> UnreadableError:
    text = " ".join(str(error).split()) or type(error).__name__
    if cause := error.__cause__:
        more = " ".join(str(cause).split())
        text = text if more in text else f"{text}: {more}"
    if match := _IN_FILE.match(text):
        return UnreadableError(match[1], text[match.end() :][:400])
    file = next((name for name in ("dvc.lock", "params.yaml", "dvc.yaml") if name in text), "dvc.yaml")
    return UnreadableError(file, text[:400])


def _changes(repo: Any, stage: Any, lock: Any, producers: dict[str, Any], *, frozen: bool) -> Iterator[str]:
    from dvc.dependency import ParamsDependency

    if not lock:
        yield "was never run"
        return
    if stage.cmd_changed:
        yield f"its command was {_shown(lock.get('cmd'))}, is {_shown(stage.cmd)}"
    if frozen:
        return
    if stage.is_callback or stage.always_changed:
        yield "dvc.yaml makes it run each time"
    for dep in stage.deps:
        if type(dep) is ParamsDependency:
            yield from _parameters(repo, dep)
        else:
            yield from _input(repo, dep, producers)
    for out in stage.outs:
        yield from _output(repo, out)
    for name in _dropped(stage, lock):
        yield f"its record has {name}, which dvc.yaml does not give it any more"


def _dropped(stage: Any, lock: Any) -> list[str]:
    """Return the entries of a stage's record that `dvc.yaml` lacks, which DVC itself does not check.

    The stage was run with it. Whatever becomes of it now would change nothing.
    """
    from dvc.dependency import ParamsDependency

    files: dict[str, Any] = {item.def_path: item for item in stage.deps if type(item) is ParamsDependency}
    known = {item.def_path for item in (*stage.deps, *stage.outs) if type(item) is not ParamsDependency}
    record: dict[str, Any] = lock or {}
    paths = [item["path"] for part in ("deps", "outs") for item in record.get(part, [])]
    unlocked = [path for path in paths if path not in known]
    for file, values in record.get("params", {}).items():
        wanted = files[file].params if file in files else None
        # Without names the whole file is read.
        if wanted is None or wanted:
            unlocked += [f"{file}: {name}" for name in values if name not in (wanted or ())]
    return unlocked


def _parameters(repo: Any, dep: Any) -> Iterator[str]:
    _inside(repo, dep)
    status = dep.status().get(str(dep))
    if not status:
        return
    if isinstance(status, str):
        yield f"{_path(dep)}: {'is missing' if status == 'deleted' else 'is new to it'}"
        return
    before: dict[str, Any] = dep.hash_info.value or {}
    after = dep.read_params()
    for name in status:
        for key, old, new in _leaves(name, before.get(name, _NONE), after.get(name, _NONE)):
            yield f"{_path(dep)}: {key} {_shown(old)} -> {_shown(new)}"


class _None:
    """There is no such parameter."""


_NONE = _None()


def _leaves(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if is_mapping(old) and is_mapping(new):
        for key in dict.fromkeys([*old, *new]):
            yield from _leaves(f"{name}.{key}", old.get(key, _NONE), new.get(key, _NONE))
    elif old != new:
        yield name, old, new


def _shown(value: Any) -> str:
    if value is _NONE:
        return "none"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _input(repo: Any, dep: Any, producers: dict[str, Any]) -> Iterator[str]:
    path = _path(dep)
    _inside(repo, dep)
    if not dep.hash_info:
        yield f"{path} is new to it"
        return
    if dep.fs_path in producers:
        if not _equal(dep.hash_info, producers[dep.fs_path][1].hash_info):
            yield f"{path} was made again"
        return
    if repo.fs.exists(dep.fs_path):
        present = _digest(repo, dep, producers)
        if present is None:
            yield f"{path} holds an output that is a folder; depend on that folder itself"
        elif present != dep.hash_info.value:
            yield f"{path} changed"
        return
    if any(dep.fs.isin(dep.fs_path, made) for made in producers):
        yield f"{path} is a part of an output; depend on that output itself"
    else:
        yield f"{path} is missing"


def _output(repo: Any, out: Any) -> Iterator[str]:
    path = _path(out)
    _inside(repo, out)
    if not out.hash_info:
        yield f"its output {path} is new"
    elif repo.fs.exists(out.fs_path):
        if _digest(repo, out, {}) != out.hash_info.value:
            yield f"its output {path} was edited"
    elif not out.use_cache:
        yield f"its output {path} is missing"


def _inside(repo: Any, item: Any) -> None:
    if item.fs is not repo.fs or not item.is_in_repo:
        where = repo.fs.relpath(item.stage.path, _ROOT)
        raise UnreadableError(where, f"{item.def_path} is not in the repository, so it cannot be checked")


def _digest(repo: Any, item: Any, producers: dict[str, Any]) -> str | None:
    """Return the digest of a file or folder of the commit, with the files that DVC tracks in it."""
    from dvc_data.hashfile.hash import hash_file  # pyright: ignore[reportUnknownVariableType]
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    fs, top, algorithm = repo.fs, item.fs_path, item.hash_name
    if not fs.isdir(top):
        return hash_file(top, fs, algorithm)[1].value
    tree = Tree()
    for root, _, files in repo.dvcignore.walk(fs, top):
        for name in files:
            path = fs.join(root, name)
            tree.add(fs.relparts(path, top), None, hash_file(path, fs, algorithm)[1])
    for path, (_, out) in producers.items():
        if not fs.isin(path, top) or repo.dvcignore.is_ignored_file(path):
            continue
        if not out.hash_info or out.hash_info.isdir:
            return None
        tree.add(fs.relparts(path, top), None, HashInfo(algorithm, out.hash_info.value))
    tree.digest()
    assert tree.hash_info is not None
    return tree.hash_info.value


def _contradictions(repo: Any, stage: Any, producers: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the inputs that differ from the output of the stage that makes them, by the lock alone."""
    from dvc.dependency import ParamsDependency

    for dep in stage.deps:
        maker, out = producers.get(dep.fs_path, (None, None))
        if type(dep) is ParamsDependency or out is None or not (out.hash_info and dep.hash_info):
            continue
        if not _equal(out.hash_info, dep.hash_info):
            yield {
                "path": _path(dep),
                "maker": _address(repo, maker),
                "made": out.hash_info.value,
                "reader": _address(repo, stage),
                "read": dep.hash_info.value,
            }


def _equal(first: Any, second: Any) -> bool:
    return bool(first and second) and first.value == second.value


def _path(item: Any) -> str:
    return item.fs.relpath(item.fs_path, _ROOT)


def faults(objects: _Objects, main: _Objects) -> dict[str, Any]:
    """Return the problems of the parameter files, by the schema of the commit, or else that of main."""
    content = _content(objects, parameters.SCHEMA) or _content(main, parameters.SCHEMA)
    if content is None:
        return {"faults": []}
    problems: list[tuple[str, str]] = []
    file = parameters.SCHEMA
    try:
        schema = parameters.load_schema(content)
        file = parameters.FILE
        base = _content(objects, file)
        if base is None:
            raise parameters.FaultError("missing")
        document = parameters.read(base)
        problems += [(file, fault) for fault in parameters.faults(schema, document)]
    except parameters.FaultError as error:
        return {"faults": [(file, str(error))]}
    # A profile is the merge of both files: if one is wrong, the other cannot be checked.
    for file in [] if problems else sorted(filter(parameters.is_overlay, objects.entries)):
        try:
            overlay = parameters.read(objects.read(file))
            profile = parameters.merged(document, overlay, parameters.sources(schema))
            problems += [(file, fault) for fault in parameters.faults(schema, profile)]
        except parameters.FaultError as error:
            problems.append((file, str(error)))
    return {"faults": problems}


def _content(objects: _Objects, path: str) -> bytes | None:
    return objects.read(path) if path in objects.entries else None


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "faults": faults,
    "lineage": lineage,
    "pipeline": pipeline,
}


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    try:
        objects = [_Objects(question["repository"], commit) for commit in question["commits"]]
        sys.addaudithook(_forbid)
        return {"answer": _QUESTIONS[question["ask"]](*objects)}
    except UnreadableError as error:
        return {"unreadable": [error.file, error.problem]}
    except RecursionError:
        return {"unreadable": ["dvc.yaml", "nested too deeply"]}
    except MemoryError:
        return {"unreadable": ["dvc.yaml", "too large to be read"]}


def _forbid(event: str, _: tuple[Any, ...]) -> None:
    if event in _BLOCKED:
        raise PermissionError(f"{event}: not while a commit is read")


def _limit_memory() -> None:
    """Limit further memory of this process to `MEMORY`. Only Linux can enforce such a limit."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _serve(question: dict[str, Any]) -> bytes:
    """Answer one question in a child process."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(here)
            _limit_memory()
            seconds = int(question["seconds"])
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            with os.fdopen(there, "wb") as pipe:
                pipe.write(json.dumps(_answer(question)).encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or json.dumps({"unreadable": ["dvc.yaml", _TOO_MUCH]}).encode()


def main() -> None:
    """Answer questions until there are no more."""
    for module in _LOADED:
        importlib.import_module(module)

    while True:
        ready, _, _ = select.select([sys.stdin], [], [], IDLE)
        line = sys.stdin.readline() if ready else ""
        if not line:
            return
        sys.stdout.buffer.write(_serve(json.loads(line)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
