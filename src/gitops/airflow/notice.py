"""The notice about a release that is served: whether its model is its own, for the page and the banner."""

from gitops.dvc import provenance
from gitops.git.repository import Repository
from gitops.release.serving import Serving
from gitops.release.snapshot import Snapshot


def added(bare: Repository, serving: Serving, before: Serving | None) -> Serving:
    """Return the release with its notice, which is found out once for each release.

    Args:
        bare: The copy of the repository.
        serving: The release.
        before: The release that was served before.

    """
    if serving.commit is None:
        return serving
    if before is not None and before.commit == serving.commit:
        known = before.model_dump(include={"model_notice", "next_command", "needs"})
        return serving.model_copy(update=known)
    notice = provenance.notice(bare, serving.commit)
    update: dict[str, object] = {"needs": Snapshot.load(bare, serving.commit).contract}
    if notice is not None:
        update |= {"model_notice": notice.text, "next_command": notice.command}
    return serving.model_copy(update=update)
