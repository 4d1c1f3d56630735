"""The pipeline of a change: its parameters, `dvc.yaml` and `dvc.lock`, and the model that they made."""

from collections.abc import Collection, Iterator

from gitops.dvc.provenance import train_command
from gitops.errors import ProvenanceError
from gitops.findings import Finding
from gitops.paths import LOCK
from gitops.promotion.evidence import Evidence
from gitops.release import file as release_file
from gitops.text import instructions


def pipeline(evidence: Evidence, main: str, commit: str, changed: Collection[str]) -> list[Finding]:
    """Return the problems of the parameters, `dvc.yaml` and `dvc.lock` of a commit.

    A model that was made from another commit is no violation: main takes such a change, and dev trains from
    there; see `note`.

    Args:
        evidence: The sources about models.
        main: The newest commit of main.
        commit: The result of the merge, or the branch if there is no result.
        changed: The files that the change touches. A change of release files alone cannot break a pipeline,
            and a rollback must not wait for somebody to repair one.

    """
    if not touches_pipeline(changed):
        return []
    findings = unreadable(evidence, main, commit)
    if findings:
        return findings
    for contradiction in evidence.provenance(commit).contradictions:
        right = f"take {LOCK} whole from one side of the merge, then train the branch"
        findings.append(
            Finding(
                LOCK,
                str(contradiction),
                right,
                rule="lock-contradiction",
                command=instructions.train("BRANCH"),
            )
        )
    return findings


def unreadable(evidence: Evidence, main: str, commit: str) -> list[Finding]:
    """Return the errors at which a stage of the commit, or DVC, would stop; `main` is that of the remote."""
    findings = list(evidence.parameter_faults(commit, main))
    try:
        evidence.provenance(commit)
    except ProvenanceError as error:
        if error.finding.subject not in {finding.subject for finding in findings}:
            findings.append(error.finding)
    return findings


def note(evidence: Evidence, commit: str, changed: Collection[str], branch: str) -> str | None:
    """Return a line about a model that was made before the change itself, or None where it was not.

    Args:
        evidence: The sources about models.
        commit: As for `pipeline`.
        changed: The files that the change touches.
        branch: The branch that the training should start from.

    """
    if not touches_pipeline(changed):
        return None
    try:
        made = evidence.provenance(commit)
    except ProvenanceError:
        return None  # `pipeline` tells
    if made.belongs or not made.trained:
        return None
    return (
        f"its model was made before this change: {made.summary}. It may be merged, but not promoted before a "
        f"training; {train_command(branch)}"
    )


def made_from(evidence: Evidence, environment: str, commit: str) -> Iterator[Finding]:
    """Refuse a release whose model was made from another commit's parameters, code or data."""
    file, short = release_file.path_of(environment), commit[:12]
    try:
        made = evidence.provenance(commit)
    except ProvenanceError as error:
        problem = f"{error.finding.subject} of {short}: {error.finding.problem}"
        yield Finding(file, problem, "repair it on main and promote that", rule="pipeline")
        return
    # Without a model there is nothing to report; the gates refuse it.
    if made.trained and not made.belongs:
        yield Finding(
            file,
            f"{short} has the model of an earlier commit: {made.summary}",
            "train main, merge its candidate and promote that",
            rule="model-of-another-commit",
            command=instructions.train("main"),
        )


def touches_pipeline(changed: Collection[str]) -> bool:
    return not all(path.startswith("environments/") and path.endswith("/release.yaml") for path in changed)
