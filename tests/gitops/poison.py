"""Tags and commits that git takes and nobody should have made."""

from collections.abc import Callable, Iterator

from gitops.git.repository import Repository

FAR = "99999999999999"

Change = Callable[[bytes], bytes]


def store(repository: Repository, kind: str, content: bytes) -> str:
    """Write an object past all of git's checks and return its id."""
    return repository.git("hash-object", "-t", kind, "-w", "--literally", "--stdin", input=content)


def tag(
    repository: Repository,
    name: str,
    target: str,
    message: bytes,
    *,
    kind: str = "commit",
    tagger: str = f"tagger Eve <eve@localhost> {FAR} +0000\n",
) -> None:
    content = f"object {target}\ntype {kind}\ntag {name}\n{tagger}\n".encode() + message
    repository.git("update-ref", f"refs/tags/{name}", store(repository, "tag", content))


def tags(repository: Repository, word: str, environment: str, commit: str) -> Iterator[str]:
    """Make a tag of each odd kind on `commit` that speaks of `environment`, and name it."""
    # With a letter that no commit id has, so that a true verdict keeps its name.
    start = f"{word}/{environment}/{commit[:11]}"
    tree = repository.git("rev-parse", f"{commit}^{{tree}}")
    blob = repository.git("hash-object", "-w", "--stdin", input=b"x")
    repository.git("update-ref", f"refs/tags/{start}l", commit)
    yield f"{start}l"
    repository.git("update-ref", f"refs/tags/{start}k", blob)
    yield f"{start}k"
    odd = {
        "q": b"{}",
        "n": b'{"verdict": NaN}',
        "j": b"no",
        "r": b"[" * 9000,
        "u": b'{"reason": "\xff"}',
        "z": b"\0\0",
        "o": b"x" * 30_000_000,
        "i": b'{"samples": ' + b"9" * 9000 + b"}",
    }
    for letter, message in odd.items():
        tag(repository, f"{start}{letter}", commit, message)
        yield f"{start}{letter}"
    tag(repository, f"{start}t", tree, b"x", kind="tree")
    yield f"{start}t"
    tag(repository, f"{start}x", commit, b"{}", tagger="")
    yield f"{start}x"
    tag(
        repository,
        f"{start}m",
        commit,
        b"{}",
        tagger="tagger Eve <eve@localhost> -9999999999999999999 +0000\n",
    )
    yield f"{start}m"
    inner = repository.git("rev-parse", f"refs/tags/{start}q")
    tag(repository, f"{start}s", inner, b"{}", kind="tag")
    yield f"{start}s"
    repository.git("update-ref", f"refs/tags/{word}/{environment}/\u00fc", commit)
    yield f"{word}/{environment}/\u00fc"


def commit(
    repository: Repository,
    tree: str,
    parents: list[str],
    message: bytes = b"Odd\n",
    *,
    date: str = f"{FAR} +0000",
    extra: str = "",
) -> str:
    """Make a commit with an odd date, header or message."""
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author Eve <eve@localhost> {date}", f"committer Eve <eve@localhost> {date}"]
    content = "\n".join(lines).encode() + b"\n" + extra.encode() + b"\n" + message
    return store(repository, "commit", content)
