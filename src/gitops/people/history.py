"""History: the outputs that each commit of any branch or tag records, read from a copy of every reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitops.dvc.lockfile import PIPELINE, Lock
from gitops.errors import GateError, ParseError
from gitops.git.repository import Repository
from gitops.paths import LOCK
from gitops.private import private_folder
from gitops.text import parse

LABELLED = "data/labelled"
_LARGEST = 4 << 20


@dataclass(frozen=True)
class Recorded:
    """The outputs that some commits record.

    Attributes:
        commits: The commits, which record the same.
        outs: The digest of each output, by its path; a labelled batch among them.

    """

    commits: tuple[str, ...]
    outs: Mapping[str, str]


def mirror(repository: Repository, remote: str) -> Repository:
    """Return a bare copy of a remote with all of its references, those of other tools among them.

    Raises:
        GitError: if the remote cannot be reached.

    """
    copy = Repository(private_folder(repository.path / ".visage") / "mirror.git")
    if not (copy.path / "HEAD").is_file():
        copy.path.mkdir(parents=True, exist_ok=True)
        copy.git("init", "--quiet", "--bare", "--template=", ".")
    url = repository.remote_url(remote)
    copy.git(
        "fetch", "--quiet", "--prune", "--force", "--no-write-fetch-head", url, "+refs/*:refs/*", timeout=600
    )
    return copy


def history(copy: Repository) -> list[Recorded]:
    """Return the outputs of every commit that a reference of a bare copy leads to; equal ones once."""
    commits = copy.git("rev-list", "--all").split()
    names = [f"{commit}:{path}" for commit in commits for path in (LOCK, PIPELINE, LABELLED)]
    objects = copy.objects(names)
    groups: dict[tuple[str | None, ...], list[str]] = {}
    for number, commit in enumerate(commits):
        key = tuple(entry.id if entry else None for entry in objects[3 * number : 3 * number + 3])
        groups.setdefault(key, []).append(commit)
    return [Recorded(tuple(some), outs_of(copy, some[0])) for some in groups.values()]


def outs_of(repository: Repository, commit: str) -> dict[str, str]:
    """Return the digest of each output that a commit records; those that cannot be read are left out."""
    try:
        found = Lock.load(repository, commit).digests()
    except GateError:
        found = {}
    return {**found, **dict(_batches(repository, commit))}


def _batches(repository: Repository, commit: str) -> Iterator[tuple[str, str]]:
    pointers = [path for path in repository.files(commit, LABELLED) if path.endswith(".dvc")]
    contents = repository.read_all([(commit, path) for path in pointers], _LARGEST)
    for path, content in zip(pointers, contents, strict=True):
        try:
            outs = parse.sequence(parse.mapping(parse.yaml_value(content or b"", parse.LOCK)).get("outs"))
        except ParseError:
            continue  # DVC could not read it either
        for out in map(parse.mapping, outs):
            if isinstance(digest := out.get("md5"), str):
                yield path.removesuffix(".dvc"), digest
