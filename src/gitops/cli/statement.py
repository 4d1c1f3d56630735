"""The command `provenance`: a statement about the model of a release, signed and verified."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from gitops.cli.context import commit_of, open_checkout
from gitops.cli.options import OUT, Remote
from gitops.errors import GitopsError


def provenance(
    commit: Annotated[
        str, typer.Argument(metavar="COMMIT", help="A release, a branch or a commit.", show_default=False)
    ],
    form: Annotated[
        Literal["slsa", "cyclonedx"],
        typer.Option(
            "--format", help="slsa: how the model was made. cyclonedx: its bill of materials (ML-BOM)."
        ),
    ] = "slsa",
    sign: Annotated[
        bool,
        typer.Option(
            "--sign", help="Print it in an envelope, signed with the key that VISAGE_VERIFIER_KEY names."
        ),
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(
            "--verify",
            metavar="FILE",
            help="Verify such an envelope: an environment of --environment signed it, about this commit.",
            show_default=False,
        ),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(metavar="ENV", help="With --verify: the environment that signed.", show_default=False),
    ] = None,
    remote: Remote = None,
) -> None:
    """Print how the model of a commit was made, from the records of the commit.

    The subject is the digest of the model. The materials are the commit, each digest of dvc.lock, the
    dependency lock and the runtime. The same commit always gives the same statement.
    """
    from gitops.release.keys import PrivateKey, path_of
    from gitops.release.load import fetch_state
    from gitops.statement import cyclonedx, slsa
    from gitops.statement.envelope import LARGEST, Envelope
    from gitops.statement.materials import Materials
    from gitops.text import parse

    if sign and verify:
        raise GitopsError("give --sign or --verify, and not both")
    if verify and not environment:
        raise GitopsError("--verify needs --environment ENV, the environment that signed")
    repository, remote = open_checkout(remote, needed=verify is not None)
    name = commit_of(repository, remote, commit)
    materials = Materials.load(repository, name)
    made = slsa.statement(materials) if form == "slsa" else cyclonedx.bill(materials)
    if verify and environment:
        state = fetch_state(repository, remote)
        listed = state.lists.keys(state.environments[environment].name)
        if listed is None or state.lists.problem:
            problem = state.lists.problem or f"there is no {path_of(environment)} on main"
            raise GitopsError(f"no key of {environment} counts: {problem}")
        try:
            content = parse.file(verify, LARGEST)
        except OSError as error:
            raise GitopsError(f"{verify}: {error.strerror}") from error
        Envelope.read(content).verify(made, form, listed)
        OUT.print(
            f"{environment} signed this statement about {materials.model_sha256[:12]} ({name[:12]}).",
            style="green",
            markup=False,
            soft_wrap=True,
        )
    elif sign:
        print(Envelope.sign(made, form, PrivateKey.of_process()))
    else:
        print(json.dumps(made, indent=1))
