"""The attestation of a model: the digest of the file on the DVC remote, and the figures of its release."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.model.download import fetch_model
from gitops.model.evaluation import evaluation
from gitops.paths import EVALUATION, MODEL


@dataclass(frozen=True)
class Attestation:
    """The statement that a forge signs: the model of a commit of main has this digest, and these figures.

    Attributes:
        digest: The SHA-256 of the model.
        predicate: The statement about it, as JSON has it.

    """

    digest: str
    predicate: dict[str, Any]


def attest(repository: Repository, commit: str, cache: Path) -> Attestation:
    """Fetch the model of a commit, compare it with the digests that the commit records, and describe it.

    Raises:
        ModelError: if the DVC remote has another file.
        GateError: if the commit has no model.
        StorageError: if the DVC remote does not give it.

    """
    origin = Origin(str(repository.path), dvc_config=repository.path / ".dvc" / "config.local")
    file = fetch_model(origin, commit, cache=cache, configuration=repository.path)
    figures = evaluation(repository.read(commit, EVALUATION), commit)
    predicate = {
        "release": commit,
        "path": MODEL,
        "bytes": file.stat().st_size,
        "profile": figures.profile,
        "mean_accuracy": figures.mean_accuracy,
        "samples": figures.samples,
    }
    return Attestation(figures.model_sha256, predicate)
