"""Vouchers: the verdicts of earlier environments that name the digest of a model.

Where REQUIRE_SIGNED_MODELS is true, a model is loaded only if an environment before this one measured that
very file, and signed its verdict. So whoever changes main, the release and the storage brings no other model.
"""

from gitops.findings import Finding
from gitops.release.environments import Environments
from gitops.release.settings import path_of
from gitops.release.verdicts import Verdicts

SETTING = "REQUIRE_SIGNED_MODELS"


def fault(
    environment: str, digest: str | None, environments: Environments, verdicts: Verdicts
) -> Finding | None:
    """Return the reason why a model may not be loaded in an environment, or None if it may.

    Args:
        environment: The environment.
        digest: The SHA-256 digest of the model; None for a release without one.
        environments: The environments of main.
        verdicts: The verdicts whose signatures count.

    """
    if digest is None or environment not in environments:
        return None
    earlier = environments.chain(environment)
    for name in earlier:
        # Any of them: the first may be of an earlier runtime, which named no model.
        releases = [first.release for first in verdicts.verifications(name)]
        every = (verdict for release in releases for verdict in verdicts.every(name, release))
        if any(verdict.model_sha256 == digest for verdict in every):
            return None
    names = " or ".join(earlier)
    problem = f"{SETTING}: no signed verdict of {names} names the model {digest[:12]}"
    remedy = f"wait for verify_release in {names}"
    if not earlier:
        problem, remedy = f"{SETTING}: no environment comes before {environment}", "write false"
    return Finding(path_of(environment), problem, remedy, rule="unsigned-model")
