"""Folders that no other user of the machine may enter."""

from pathlib import Path

from gitops.errors import GitopsError

_OTHERS = 0o077


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter; close one that others may enter.

    Parents that are missing are made the same way. Parents that exist stay as they are.

    Args:
        path: The folder.

    Returns:
        `path`.

    Raises:
        GitopsError: If others may enter the folder and it belongs to another user, or there can be none.

    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise GitopsError(f"{error.filename}: a link to nothing; remove it, or make its target") from error
    except OSError as error:
        raise GitopsError(f"{error.filename}: cannot be made: {error.strerror}") from error
    if not path.is_dir():
        raise GitopsError(f"{path}: a file, where a folder is needed; move it away")
    if path.stat().st_mode & _OTHERS:
        try:
            path.chmod(0o700)
        except PermissionError as error:
            raise GitopsError(
                f"{path}: other users can read it, and it belongs to another user; "
                f"its owner closes it: chmod 700 {path}"
            ) from error
    return path
