"""What can go wrong, as one line each: what, where, and what to do about it."""


class FaceAttributesError(Exception):
    """Base of every error that a user can meet; its text is the one line that they read."""


def first_line(error: Exception) -> str:
    """Return what another library says of a failure: the first line, or its kind if there is none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class ParamsError(FaceAttributesError):
    """`params.yaml` or an overlay cannot be used."""


class DataError(FaceAttributesError):
    """A folder, a list, a shard or a hold-out set cannot be used."""


class ImageError(FaceAttributesError):
    """One image cannot be used. Its text is the reason that the quarantine list gives."""


class SearchError(FaceAttributesError):
    """The search for hyperparameters came to nothing."""


class ModelError(FaceAttributesError):
    """A model file cannot be read, or is not one of this project's."""
