"""Errors for the user. Each message is one line: the problem, its place and the remedy."""


class FaceAttributesError(Exception):
    """Base class of all expected errors. The user reads the message."""


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class ParamsError(FaceAttributesError):
    """`params.yaml` or an overlay cannot be used."""


class DataError(FaceAttributesError):
    """A folder, a list, a shard or a hold-out set cannot be used."""


class FileError(FaceAttributesError):
    """A file from outside is refused. The message is the reason, without the name of the file."""


class ImageError(FaceAttributesError):
    """An image cannot be used. The message is the reason in the quarantine list."""


class SearchError(FaceAttributesError):
    """The search for hyperparameters failed."""


class TrainingError(FaceAttributesError):
    """The training stopped. It can go on from its checkpoint."""


class ModelError(FaceAttributesError):
    """A model file cannot be read, or is not a model of this project."""
