"""The runtime: this `gitops`, and the Airflow that it runs in."""

import os
from collections.abc import Mapping
from importlib.util import find_spec

CONTRACT = 7
"""The number of the contract that `gitops.tasks` keeps. It grows with each name that is added there."""


OWN_RUNNER = "VISAGE_OWN_RUNNER"
# Each is set by the runners of a forge; those of Forgejo and Gitea set the first one too.
_RUNNERS = ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TF_BUILD", "BUILDKITE", "TRAVIS")


def foreign_runner(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the variable that shows a runner of a forge, or None on a machine or a runner of your own.

    Photographs do not go to a runner that is not yours.
    """
    if environ.get(OWN_RUNNER) == "true":
        return None
    return next((name for name in _RUNNERS if environ.get(name)), None)


def installed(library: str) -> bool:
    """Return whether `library`, the name of a module, can be imported here. It is not imported."""
    spec = find_spec(library)
    # Without a file it is a mere folder of that name, which happens to lie on the path.
    return spec is not None and spec.origin is not None
