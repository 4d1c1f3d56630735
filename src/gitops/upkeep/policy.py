"""The policy of an environment that prunes by schedule, and that of commands."""

from collections.abc import Iterable

from gitops.release.settings import Settings
from gitops.upkeep.plan import Policy


def policy_of(settings: Settings) -> Policy | None:
    """Return the policy of an environment; None for one that does not prune."""
    if not settings.retention_days_objects:
        return None
    return Policy(
        settings.retention_days_objects,
        settings.retention_runs,
        settings.retention_releases,
        settings.retention_days_candidates,
    )


def strictest(policies: Iterable[Policy | None]) -> Policy:
    """Return the policy by which objects are gone: the least that one of them keeps, or the default."""
    some = [policy for policy in policies if policy]
    if not some:
        return Policy()
    return Policy(
        min(policy.days for policy in some),
        min(policy.runs for policy in some),
        _least(policy.releases for policy in some),
        _least(policy.candidate_days for policy in some),
    )


def _least(numbers: Iterable[int]) -> int:
    """Return the smallest number, of which 0 stands for no limit."""
    return min((number for number in numbers if number), default=0)
