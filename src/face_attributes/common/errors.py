"""Errors for the user. Each message is one line: the problem, its place and the remedy."""


class FaceAttributesError(Exception):
    """Base class of all expected errors. The user reads the message.

    Args:
        message: The problem, its place and the remedy.
        command: The next command, which can be pasted in a checkout; by default that of the class, and of
            most classes the help of the command that failed.

    """

    next_command = ""

    def __init__(self, message: str = "", *, command: str = "") -> None:
        super().__init__(message)
        self.next_command = command or self.next_command


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class ParamsError(FaceAttributesError):
    """`params.yaml` or an overlay cannot be used."""

    next_command = "git diff params.yaml"


class DataError(FaceAttributesError):
    """A folder, a list, a shard or a hold-out set cannot be used."""


class FileError(FaceAttributesError):
    """A file from outside is refused. The message is the reason, without the name of the file."""


class ImageError(FaceAttributesError):
    """An image cannot be used. The message is the reason in the quarantine list."""


class SearchError(FaceAttributesError):
    """The search for hyperparameters failed."""

    next_command = "source .venv/bin/activate && dvc repro"


class TrainingError(FaceAttributesError):
    """The training stopped. It can go on from its checkpoint."""

    next_command = "source .venv/bin/activate && dvc repro"


class ModelError(FaceAttributesError):
    """A model file cannot be read, or is not a model of this project."""
