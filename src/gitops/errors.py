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
    """Base of every error that a user of `gitops` can meet; its text is the one line that they read.

    Args:
        message: That line.
        command: The next command, which can be pasted in a checkout; "" where none is known.

    """

    rule = ""
    """The rule that explains it, a heading of docs/rules.md or rules-files.md; "" where there is none."""

    def __init__(self, message: str = "", *, command: str = "") -> None:
        super().__init__(message)
        self.next_command = command


class FindingError(GitopsError):
    """An error about one subject.

    Args:
        subject: The file, commit or environment that it is about.
        problem: The fault.
        remedy: The way to repair it.
        rule: The rule that it breaks; by default that of the class.
        command: The next command.

    """

    rule = "model-figures"

    def __init__(
        self, subject: str, problem: str, remedy: str = "", *, rule: str = "", command: str = ""
    ) -> None:
        self.finding = Finding(subject, problem, remedy, rule=rule or self.rule, command=command)
        super().__init__(str(self.finding), command=command)


class GitError(GitopsError):
    """A git command failed. Its text ends with the last line that git wrote."""


class GitTimeoutError(GitError):
    """A git command was stopped because it took too long."""

    rule = "git-remote"


class TransientError(GitError):
    """A git command failed for a reason that may pass. Trying again later may help."""


class NetworkError(TransientError):
    """A git remote could not be reached."""

    rule = "git-remote"


class BusyError(TransientError):
    """Another git works with the same repository."""


class PushRejectedError(GitError):
    """A git remote refused a push, for instance because somebody else pushed first."""

    rule = "push-refused"


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

    rule = "unusable-files"


class ReleaseError(FindingError):
    """A release file is missing or does not name the commit to run."""

    rule = "release-file"


class EnvironmentsError(ReleaseError):
    """The environments of a tree are not declared, or do not fit together."""

    rule = "environment"
    meant = ""
    """The name that was probably meant, after a mistake in typing."""


class LicencesError(FindingError):
    """`data/licences.yaml` cannot be used."""

    rule = "licence"


class StatementError(GitopsError):
    """A statement about a model is not signed by a listed key, or is about something else."""


class CalendarError(FindingError):
    """`environments/calendar.yaml` cannot be used."""

    rule = "calendar"


class ManifestsError(FindingError):
    """The manifests of an environment cannot be put together or rendered."""

    rule = "manifests"


class SettingsError(FindingError):
    """A `settings.env`, or a setting of a process, cannot be used."""

    rule = "settings"


class VerdictError(GitopsError):
    """A verdict tag cannot be read or recorded."""

    rule = "verdict"


class KeyFileError(FindingError):
    """The key of an environment is missing, or cannot be used."""

    rule = "key"


class GateError(FindingError):
    """A commit does not carry the figures that its gates need."""


class NoModelError(GateError):
    """A commit has no trained model yet, as before the first training."""

    rule = "no-model"


class ComparisonError(GitopsError):
    """Two models could not be compared."""

    rule = "comparison"


class NotComparableError(ComparisonError):
    """Nothing here could compare two models: no DVC remote is configured to fetch them from."""


class RuleError(GitopsError):
    """A promotion, rollback or merge breaks rules.

    Args:
        findings: Each broken rule.

    """

    def __init__(self, *findings: Finding) -> None:
        self.findings: tuple[Finding, ...] = findings
        super().__init__("\n".join(map(str, findings)))


class NothingToDoError(GitopsError):
    """The requested state is already reached. The command line reports it and exits with status 0."""


class ModelError(FindingError):
    """A model could not be fetched, or is not the one that its release records."""

    rule = "model"


class UnfinishedModelError(ModelError):
    """The scoring of a sample took too long, or the system killed it. The machine may be the reason."""


class ProvenanceError(FindingError):
    """DVC cannot read the pipeline of a commit."""

    rule = "pipeline"


class DagsError(GitopsError):
    """The DAG files of a commit cannot be loaded."""

    rule = "dags"


class UnfinishedDagsError(DagsError):
    """Loading DAG files took too long, or the system killed it. The machine may be the reason."""


class AirflowError(GitopsError):
    """An Airflow could not be asked, or refused."""

    rule = "airflow"


class TrainingError(GitopsError):
    """A training cannot be started, failed, or is not over in time."""

    rule = "training"


class StepError(GitopsError):
    """A stage of the pipeline failed, took too long, or could not leave its outputs at the DVC remote.

    `command` is the one that failed, if one did: DAGs of earlier releases read it.
    """

    rule = "stage"

    def __init__(self, message: str, *, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


class KilledError(StepError):
    """The system killed a command, as it does when memory runs out."""


class TimeLimitError(StepError):
    """A command took longer than it may."""


class StorageError(StepError):
    """The DVC remote does not answer, or does not have the requested object.

    `following` is the next command of the person.
    """

    rule = "dvc-remote"

    def __init__(self, message: str, *, command: str | None = None, following: str = "") -> None:
        super().__init__(message, command=command)
        self.next_command = following


class CandidateError(GitopsError):
    """The results of a run cannot be proposed."""

    rule = "candidate"


class AuditError(GitopsError):
    """An export of the audit cannot be read, or git does not bear it out."""


class ForgeError(GitopsError):
    """A forge could not be asked, or refused."""

    rule = "forge"
