"""The sources that a judgement asks about models and their origin."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from gitops.dvc import provenance
from gitops.dvc.lockfile import Lock
from gitops.dvc.provenance import Provenance
from gitops.dvc.remote import Presence, Storage
from gitops.findings import Finding
from gitops.gates import shadows
from gitops.gates.comparison import Compare
from gitops.gates.shadows import Shadowed
from gitops.git.repository import Repository
from gitops.model import decisions
from gitops.model.decisions import Decisions
from gitops.release import approvals, licences
from gitops.release.signatures import Lists


@dataclass(frozen=True)
class Evidence:
    """The sources that a judgement asks about models.

    Attributes:
        provenance: Returns how the model of a commit was made; raises ProvenanceError.
        parameter_faults: Returns the problems of a commit's parameters, judged by its schema or that of main.
        decisions: Returns the decisions that a commit records, or None.
        md5: Returns the MD5 digest of a file of a commit, or None without the file.
        authors: Returns the addresses of the people who had a part in a change: from a commit, or None, to
            another, by a list of signers.
        batches: Returns the labelled batches that a commit has.
        shadows: Returns the reports of an environment on shadows, by the lists of keys and the remote.
        storage: The DVC remote; None where nobody asks whether a model exists there.
        compare: The comparison of two models; None where only recorded accuracies are compared.

    """

    provenance: Callable[[str], Provenance]
    parameter_faults: Callable[[str, str], tuple[Finding, ...]]
    decisions: Callable[[str], Decisions | None]
    md5: Callable[[str, str], str | None]
    authors: Callable[[str | None, str, bytes | None], frozenset[str]]
    batches: Callable[[str], tuple[str, ...]]
    shadows: Callable[[Lists, str, str | None], Sequence[Shadowed]]
    storage: Storage | None = None
    compare: Compare | None = None

    @classmethod
    def of(
        cls, repository: Repository, storage: Storage | None = None, compare: Compare | None = None
    ) -> Self:
        """Return the evidence that a repository has."""
        return cls(
            partial(provenance.of_commit, repository),
            partial(provenance.parameter_faults, repository),
            partial(decisions.of_commit, repository),
            partial(_md5, repository),
            partial(approvals.authors, repository),
            partial(_batches, repository),
            lambda lists, environment, remote: shadows.reports(repository, lists, environment, remote=remote),
            storage,
            compare,
        )

    def presence(self, lock: Lock) -> Presence:
        """Return whether the model that a commit records can be fetched."""
        return self.storage.presence(lock) if self.storage else Presence()


def _md5(repository: Repository, commit: str, path: str) -> str | None:
    content = repository.read(commit, path)
    return None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()


def _batches(repository: Repository, commit: str) -> tuple[str, ...]:
    return licences.batches(repository.files(commit, licences.BATCHES))
