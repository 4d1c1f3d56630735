"""What can go wrong, as one line each: what, where, and what to do about it."""


class GitopsError(Exception):
    """Base of every error that a user of `gitops` can meet; its text is the one line that they read."""


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

    def at(self, name: str) -> str:
        """Return the problem with the file's name, and the line where it is known, before it."""
        return f"{name}:{self.line}: {self}" if self.line else f"{name}: {self}"


class CheckoutError(GitopsError):
    """A commit has a file that cannot be made in a checkout."""


class ReleaseError(GitopsError):
    """A release file is missing or does not say which commit runs."""


class SettingsError(GitopsError):
    """A `settings.env` cannot be used."""


class VerdictError(GitopsError):
    """A verdict tag cannot be read or recorded."""


class GateError(GitopsError):
    """A commit does not carry the figures that its gates need."""


class NoModelError(GateError):
    """A commit has no trained model yet, as before the first training."""


class ComparisonError(GitopsError):
    """Two models could not be compared."""


class NotComparableError(ComparisonError):
    """Nothing here could compare two models: no DVC remote is configured to fetch them from."""


class RuleError(GitopsError):
    """A promotion, rollback or merge breaks a rule."""


class NothingToDoError(GitopsError):
    """What was asked for is already so. The command line reports it and exits 0."""


class ModelError(GitopsError):
    """A model could not be fetched, or is not the one that its release records."""


class ProvenanceError(GitopsError):
    """DVC cannot read the pipeline of a commit: the file to repair, and the problem with it."""

    def __init__(self, commit: str, file: str, problem: str) -> None:
        super().__init__(f"{file} in {commit[:12]}: {problem}")
        self.file = file
        self.problem = problem


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
    """The DVC remote does not answer, or does not have what is asked for."""


class CandidateError(GitopsError):
    """The results of a run cannot be proposed."""


class ForgeError(GitopsError):
    """GitHub could not be asked, or refused."""
