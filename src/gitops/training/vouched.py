"""The check before a model is loaded: whether an earlier environment's signed verdict names it."""

from pathlib import Path

from gitops.errors import ModelError
from gitops.git.workspace import Origin, update_mirror
from gitops.release import vouchers
from gitops.release.load import load_state
from gitops.release.settings import Settings


def require(origin: Origin, release: str, *, mirror: Path, settings: Settings | None = None) -> None:
    """Refuse a model that the settings of this process do not let it load.

    Args:
        origin: The repository.
        release: The full id of a commit.
        mirror: The folder of the environment's own bare copy of `origin`.
        settings: The settings, by default those of this process.

    Raises:
        ModelError: if REQUIRE_SIGNED_MODELS is true, and no earlier environment vouches for the model.
        GitError: if `origin` cannot be reached.

    """
    settings = settings or Settings.from_environ()
    if not settings.require_signed_models:
        return
    repository = update_mirror(origin, mirror)
    state = load_state(repository, remote=origin.url, commits=[release])
    snapshot = state.snapshot(release)
    fault = state.main_fault
    if snapshot is None:
        raise ModelError(release, "not in the repository any more", "declare another release")
    if fault is None:
        fault = vouchers.fault(
            settings.visage_environment, snapshot.model, state.environments, state.verdicts
        )
    if fault is not None:
        raise ModelError(fault.subject, fault.problem, fault.remedy, rule=fault.rule, command=fault.command)
