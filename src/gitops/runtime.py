"""The runtime: this `gitops`, and the Airflow that it runs in."""

import filecmp
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

CONTRACT = 9
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


def other_code(folder: Path) -> str:
    """Return why this `gitops` may not work in a folder: its checkout has other code; "" if it may.

    The `gitops` of an image, which is installed without a checkout, works everywhere.
    """
    own = Path(__file__).parent
    around = (place for place in (folder, *folder.parents) if (place / "src/gitops/__main__.py").is_file())
    checkout = next(around, None)
    if own.parent.name != "src" or checkout is None or (checkout / "src/gitops").samefile(own):
        return ""
    names = [str(path.relative_to(own)) for path in own.rglob("*.py")]
    _, different, missing = filecmp.cmpfiles(own, checkout / "src/gitops", names, shallow=False)
    if not different and not missing:
        return ""
    return (
        f"this gitops is that of {own.parents[1]}, and {checkout} has another; run make setup there, use the "
        "programs in its .venv, and unset PYTHONPATH"
    )


def installed(library: str) -> bool:
    """Return whether `library`, the name of a module, can be imported here. It is not imported."""
    spec = find_spec(library)
    # Without a file it is a mere folder of that name, which happens to lie on the path.
    return spec is not None and spec.origin is not None
