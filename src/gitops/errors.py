"""The errors of `gitops`. The text of each is one line for a person: the problem, its place and the remedy.

GitopsError
├── FindingError            carries the finding
│   ├── ReleaseError, CalendarError, LicencesError, SettingsError, KeyFileError, GateError (NoModelError),
│   │   ModelError, ProvenanceError
├── RuleError               carries every finding that forbids a change
└── the rest                one for each part
"""

from gitops.findings import Finding


class GitopsError(Exception):
    """Base of every error that a user of `gitops` can meet; its text is the one line that they read."""


class FindingError(GitopsError):
    """An error about one subject.

    Args:
        subject: The file, commit or environment that it is about.
        problem: The fault.
        remedy: The way to repair it.

    """

    def __init__(self, subject: str, problem: str, remedy: str = "") -> None:
        self.finding = Finding(subject, problem, remedy)
        super().__init__(str(self.finding))


class GitError(GitopsError):
    """A git command failed. Its text ends with the last line that git wrote."""


class GitTimeoutError(GitError):
    """A git command was stopped because it took too long."""


class NetworkError(GitError):
    """A git remote could not be reached. Trying again later may help."""


class PushRejectedError(GitError):
    """A git remote refused a push, for instance because somebody else pushed first."""


class ParseError(GitopsError):
    """A text is not YAML or JSON, or exceeds a limit. `line` is the number of the line, where it is known."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line

    def place(self, name: str) -> str:
        """Return the file's name with the number of the line, where it is known."""
        return f"{name}:{self.line}" if self.line else name

    def at(self, name: str) -> str:
        """Return the problem after the place."""
        return f"{self.place(name)}: {self}"


class CheckoutError(GitopsError):
    """A commit has a file that cannot be made in a checkout."""


class ReleaseError(FindingError):
    """A release file is missing or does not name the commit to run."""


class EnvironmentsError(ReleaseError):
    """The environments of a tree are not declared, or do not fit together."""


class LicencesError(FindingError):
    """`data/licences.yaml` cannot be used."""


class StatementError(GitopsError):
    """A statement about a model is not signed by a listed key, or is about something else."""


class CalendarError(FindingError):
    """`environments/calendar.yaml` cannot be used."""


class SettingsError(FindingError):
    """A `settings.env`, or a setting of a process, cannot be used."""


class VerdictError(GitopsError):
    """A verdict tag cannot be read or recorded."""


class KeyFileError(FindingError):
    """The key of an environment is missing, or cannot be used."""


class GateError(FindingError):
    """A commit does not carry the figures that its gates need."""


class NoModelError(GateError):
    """A commit has no trained model yet, as before the first training."""


class ComparisonError(GitopsError):
    """Two models could not be compared."""


class NotComparableError(ComparisonError):
    """Nothing here could compare two models: no DVC remote is configured to fetch them from."""


class RuleError(GitopsError):
    """A promotion, rollback or merge breaks rules.

    Args:
        findings: Each broken rule.

    """

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        super().__init__("\n".join(map(str, findings)))


class NothingToDoError(GitopsError):
    """The requested state is already reached. The command line reports it and exits with status 0."""


class ModelError(FindingError):
    """A model could not be fetched, or is not the one that its release records."""


class ProvenanceError(FindingError):
    """DVC cannot read the pipeline of a commit."""


class DagsError(GitopsError):
    """The DAG files of a commit cannot be loaded."""


class AirflowError(GitopsError):
    """An Airflow could not be asked, or refused."""


class TrainingError(GitopsError):
    """A training cannot be started, failed, or is not over in time."""


class StepError(GitopsError):
    """A stage of the pipeline failed, took too long, or could not leave its outputs at the DVC remote.

    `command` is the one that failed, if one did.
    """

    def __init__(self, message: str, *, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


class StorageError(StepError):
    """The DVC remote does not answer, or does not have the requested object."""


class CandidateError(GitopsError):
    """The results of a run cannot be proposed."""


class AuditError(GitopsError):
    """An export of the audit cannot be read, or git does not bear it out."""


class ForgeError(GitopsError):
    """A forge could not be asked, or refused."""
