"""The `origin` of the engine: a bare repository in place of GitHub, and a folder as the DVC remote."""

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from gitops.git import incoming
from gitops.git.repository import Repository
from gitops.paths import EVALUATION, MAIN
from gitops.release.enrol import enrol
from gitops.release.keys import PrivateKey
from infra.local import files
from infra.local.errors import EngineError
from infra.local.layout import Layout

REMOTE = "visage"
REFERENCES = f"refs/gitops/{REMOTE}"


HOOK = Path(__file__).resolve().parents[1] / "git" / "update"


class Origin:
    """The bare repository that belongs to a checkout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.checkout = Repository(layout.checkout)
        self.repository = Repository(layout.origin)

    def prepare(self) -> bool:
        """Create the repository with the checkout's commit as `main`. Return False if it already existed.

        Raises:
            GitError: Git fails.

        """
        if self.repository.path.is_dir():
            _guard(self.repository)
            return False
        # Fetching, unlike pushing, runs no hooks of the checkout and works with a shallow clone.
        options = ("--no-tags", "--update-shallow", str(self.checkout.path), f"HEAD:{MAIN}")
        self._make(*options)
        return True

    def make_empty(self) -> None:
        """Create the repository without any commit, unless it exists."""
        if not self.repository.path.is_dir():
            self._make()

    def restore(self, bundle: Path) -> None:
        """Create the repository with the references of a bundle.

        Raises:
            GitError: The bundle is damaged.

        """
        self._make(str(bundle.resolve()), "+refs/*:refs/*")

    def _make(self, *source: str) -> None:
        unfinished = self._layout.state / "origin.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        fresh = Repository(unfinished)
        fresh.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        fresh.git("config", "uploadpack.allowAnySHA1InWant", "true")
        fresh.git("config", "receive.shallowUpdate", "true")
        _guard(fresh)
        # Garbage collection is not needed, and would disturb readers.
        fresh.git("config", "gc.auto", "0")
        if source:
            fresh.git("fetch", "--quiet", *source, timeout=600)
        unfinished.rename(self.repository.path)

    def enrol(self, environments: Iterable[str]) -> None:
        """Create the key of each environment, and list its public half on `main`.

        Raises:
            GitopsError: A key cannot be used, or `main` has lists that nobody signed.

        """
        layout = self._layout
        keys = {name: PrivateKey.create(layout.paths_of(name).verifier_key) for name in environments}
        known = layout.trust_root.read_text().strip() if layout.trust_root.exists() else None
        root = enrol(self.repository, keys, known)
        if root != known:
            files.write(layout.trust_root, f"{root}\n")
        self.repository.git("config", "visage.trustRoot", str(layout.trust_root))

    def has_model(self) -> bool:
        """Whether `main` has a trained model. False if there is no repository yet."""
        return self.repository.path.is_dir() and self.repository.tree_id(MAIN, EVALUATION) is not None

    def register(self) -> None:
        """Add the repository to the checkout as the remote `visage`.

        Raises:
            EngineError: The checkout has another remote of that name.

        """
        url = str(self.repository.path)
        if REMOTE not in self.checkout.remotes():
            self.checkout.git("remote", "add", REMOTE, url)
        present = self.checkout.git("remote", "get-url", REMOTE)
        if present != url:
            if not present.endswith("/.visage/origin.git"):
                raise EngineError(
                    f"the git remote {REMOTE} of this checkout is {present}; give it another name",
                    command=f"git remote rename {REMOTE} {REMOTE}-before",
                )
            self.checkout.git("remote", "set-url", REMOTE, url)
        self.checkout.git("config", f"remote.{REMOTE}.trustRoot", str(self._layout.trust_root))

    def unregister(self) -> bool:
        """Remove the remote `visage` and its branches from the checkout. Return whether it existed."""
        present = REMOTE in self.checkout.remotes()
        if present and self.checkout.git("remote", "get-url", REMOTE) == str(self.repository.path):
            self.checkout.git("remote", "remove", REMOTE)
        fetched = self.checkout.git("for-each-ref", "--format=%(refname)", f"{REFERENCES}/").splitlines()
        for reference in fetched:
            self.checkout.git("update-ref", "-d", reference)
        return present

    def configure_dvc(self, remote: Path | None = None) -> None:
        """Write the DVC configuration for all processes of the engine.

        Args:
            remote: The folder of the DVC remote; by default that of this engine.

        """
        layout = self._layout
        remote = remote or layout.dvc_remote
        for folder in (remote, layout.dvc_cache, layout.dvc_site_cache):
            folder.mkdir(parents=True, exist_ok=True)
        files.write(
            layout.dvc_config / "config",
            "[core]\n    remote = storage\n    analytics = false\n    check_update = false\n"
            f'[\'remote "storage"\']\n    url = "{remote}"\n'
            f'[cache]\n    dir = "{layout.dvc_cache}"\n    type = "hardlink,symlink"\n',
        )

    def unpushed(self) -> str | None:
        """Return the checkout's commit if `main` does not contain it, else None."""
        head = self.checkout.resolve("HEAD")
        if self.repository.has(head) and self.repository.is_ancestor(head, MAIN):
            return None
        return head

    def branches(self, prefix: str) -> list[str]:
        """Return the branches whose name starts with `prefix`, latest commit first."""
        listed = self.repository.git(
            "for-each-ref", "--sort=-committerdate", "--format=%(refname:lstrip=2)", f"refs/heads/{prefix}"
        )
        return listed.splitlines()

    def merged(self, branch: str) -> bool:
        """Whether `main` contains the branch."""
        return self.repository.is_ancestor(f"refs/heads/{branch}", MAIN)

    def unpack(self, commit: str, folder: Path, *paths: str) -> None:
        """Write the files at `paths`, as they are in `commit`, into `folder`."""
        archive = folder / "unpacked.tar"
        self.repository.git("archive", "--format=tar", f"--output={archive}", commit, "--", *paths)
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
        archive.unlink()


def _guard(repository: Repository) -> None:
    """Make a bare repository refuse broken objects, and pushes that rewrite or delete main."""
    repository.git("config", "receive.fsckObjects", "true")
    # Everybody who fetches has this limit too. Data belong into DVC.
    repository.git("config", "receive.maxInputSize", str(incoming.MOST))
    # Git's default, which a user's own configuration could change. HEAD is main.
    repository.git("config", "receive.denyDeleteCurrent", "refuse")
    # The hook below guards main, and many people's own configuration names another folder of hooks.
    repository.git("config", "core.hooksPath", "hooks")
    target = repository.path / "hooks" / "update"
    target.parent.mkdir(exist_ok=True)
    shutil.copy(HOOK, target)
