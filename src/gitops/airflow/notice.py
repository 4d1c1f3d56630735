"""The notice about a release that is served: whether its model is its own, for the page and the banner."""

from gitops.dvc import provenance
from gitops.git.repository import Repository
from gitops.release.serving import Serving
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState


def kept(bare: Repository, state: ReleaseState | None, serving: Serving, before: Serving | None) -> Serving:
    """Return a release with the contract that it needs, and the notice that it already has.

    Args:
        bare: The copy of the repository.
        state: The state that main declares, which knows most releases.
        serving: The release.
        before: The release that was served before.

    """
    if serving.commit is None:
        return serving
    if before is not None and before.commit == serving.commit:
        known = before.model_dump(include={"model_notice", "next_command", "needs"})
        return serving.model_copy(update=known)
    known = state.snapshots.get(serving.commit) if state else None
    return serving.model_copy(update={"needs": (known or Snapshot.load(bare, serving.commit)).contract})


def added(bare: Repository, serving: Serving) -> Serving:
    """Return a release with its notice, which takes longer than to serve the release."""
    if serving.commit is None:
        return serving
    notice = provenance.notice(bare, serving.commit)
    text, command = (notice.text, notice.command) if notice else (None, None)
    return serving.model_copy(update={"model_notice": text, "next_command": command})
