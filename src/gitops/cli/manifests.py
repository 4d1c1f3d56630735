"""The command `manifests`."""

from typing import Annotated

import typer

from gitops.cli.context import open_checkout
from gitops.cli.options import Remote

_Environment = Annotated[str, typer.Argument(metavar="ENV", help="An environment.", show_default=False)]


def manifests(environment: _Environment, remote: Remote = None) -> None:
    """Print the manifests of an environment on Kubernetes: those of its release, with the settings of main.

    kubectl or kustomize renders them. For a cluster without Argo CD: `gitops manifests prod | kubectl apply
    --server-side -f -`.
    """
    from gitops.diff.manifests import assemble, render
    from gitops.errors import ManifestsError
    from gitops.release.load import fetch_state

    repository, remote = open_checkout(remote)
    state = fetch_state(repository, remote)
    files = assemble(repository, state.tip, environment, state.declared(environment).release)
    if not files:
        path, right = f"environments/{environment}/kustomization.yaml", "make one; see docs/kubernetes.md"
        raise ManifestsError(path, "missing", right)
    print(render(files), end="")
