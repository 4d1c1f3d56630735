"""The release of a preview: the files of a branch, with one environment, in a repository of its own.

No other repository has that commit on a branch, and no other main lists the key of the preview. So nobody can
promote it, and its verdicts count for the preview alone.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gitops.errors import GitError
from gitops.git.repository import Repository
from gitops.paths import MAIN
from gitops.release import environments, keys, settings
from gitops.release.environments import Environment
from gitops.release.file import Release, path_of, render
from gitops.release.settings import Settings
from gitops.release.signatures import SIGNERS
from gitops.release.snapshot import Snapshot
from gitops.text.markdown import one_line
from infra.new_environment import settings_like
from infra.preview.record import Preview

_CALENDAR = f"{environments.FOLDER}/calendar.yaml"
_SEEN = "refs/gitops/preview"


@dataclass(frozen=True)
class Place:
    """The repository of a preview.

    Attributes:
        url: Its path, or an address that git knows.
        prefix: The words before the command of git that reads or writes it.

    """

    url: str
    prefix: Sequence[str] = ()

    def command(self, name: str) -> str:
        """Return the command that git runs at the other side of a transfer."""
        # Docker Compose gives the repository to the user of its containers.
        return shlex.join([*self.prefix, "git", "-c", f"safe.directory={self.url}", name])

    @property
    def options(self) -> tuple[str, ...]:
        """The options of git on this side."""
        return ("-c", "protocol.ext.allow=always") if self.url.startswith("ext::") else ()


def files(repository: Repository, preview: Preview, verifiers: bytes | None) -> dict[str, bytes | None]:
    """Return the files in which the release differs from its branch; None for a file that it lacks.

    The settings are those of the environment that follows main, as the branch has them.

    Args:
        repository: Has the commit of the branch.
        preview: The preview.
        verifiers: The keys of its verdicts, or None without any.

    Raises:
        GitopsError: The environments or the settings of the branch are not valid.

    """
    release = Snapshot.load(repository, preview.commit)
    name, known = preview.name, release.environments
    root = known[known.root]
    own = Environment(name, f"Preview {name.removeprefix('preview-')}", root.color, (), name)
    text = (repository.read(preview.commit, settings.path_of(root.name)) or b"").decode("utf-8", "replace")
    values = {
        "SERVING_PORT": str(preview.port + 100),
        "NOTIFY_EMAIL": "",
        # It may delete nothing of others.
        "RETENTION_DAYS_OBJECTS": "0",
    }
    content = settings_like(text, root, own, preview.port, **values).encode()
    Settings.from_file(content, name)
    theirs = [path for path in repository.files(preview.commit, environments.FOLDER) if _is_theirs(path)]
    title = json.dumps(own.title, ensure_ascii=False)
    return {
        **dict.fromkeys(theirs),
        environments.path_of(name): f"title: {title}\ncolor: {own.color}\n".encode(),
        path_of(name): render(Release(follow="main"), name),
        settings.path_of(name): content,
        **({keys.path_of(name): verifiers} if verifiers else {}),
    }


def _is_theirs(path: str) -> bool:
    return path.count("/") > 1 or path in (SIGNERS, _CALENDAR)


def declare(repository: Repository, preview: Preview, verifiers: bytes | None, place: Place) -> str:
    """Make the release the main of the preview's repository, and return its commit.

    Args:
        repository: The checkout. It gets the objects, and no branch.
        preview: The preview.
        verifiers: The keys of its verdicts, where its repository does not list them yet.
        place: The repository of the preview.

    Raises:
        GitopsError: The branch cannot be read, or the repository of the preview cannot be reached.

    """
    before = _present(repository, place)
    listed = repository.read(before, keys.path_of(preview.name)) if before else None
    changed = repository.commit_files(
        preview.commit, files(repository, preview, listed or verifiers), "Files of a preview\n"
    )
    tree = repository.git("rev-parse", f"{changed}^{{tree}}")
    if before and repository.git("rev-parse", f"{before}^{{tree}}") == tree:
        return before
    message = f"Preview of {one_line(preview.branch)} at {preview.commit[:12]}\n"
    parents = [*filter(None, [before]), preview.commit]
    commit = repository.commit_tree(tree, parents, message)
    program = f"--receive-pack={place.command('receive-pack')}"
    try:
        repository.git(*place.options, "push", "--quiet", program, place.url, f"{commit}:{MAIN}", timeout=600)
    except GitError as error:
        right = f".venv/bin/gitops preview down {shlex.quote(preview.branch)}"
        raise GitError(
            f"{preview.name}: its repository does not take the release: {error}", command=right
        ) from error
    return commit


def _present(repository: Repository, place: Place) -> str | None:
    """Fetch the main of the preview's repository, and return its commit; None before its first release."""
    program = f"--upload-pack={place.command('upload-pack')}"
    if not repository.git(*place.options, "ls-remote", program, place.url, MAIN, timeout=60):
        return None
    options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", program)
    repository.git(*place.options, "fetch", *options, place.url, f"+{MAIN}:{_SEEN}", timeout=600)
    commit = repository.resolve(_SEEN)
    repository.git("update-ref", "-d", _SEEN)
    return commit
