"""The runtime: this `gitops`, and the Airflow that it runs in."""

from importlib.util import find_spec

CONTRACT = 4
"""The number of the contract that `gitops.tasks` keeps. It grows with each name that is added there."""


def installed(library: str) -> bool:
    """Return whether `library`, the name of a module, can be imported here. It is not imported."""
    spec = find_spec(library)
    # Without a file it is a mere folder of that name, which happens to lie on the path.
    return spec is not None and spec.origin is not None
