"""Files that other processes read: written beside their place, then renamed."""

import os
import tempfile
from pathlib import Path


def write(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Replace the content of `path` at once: a reader gets the old content or the new, never half."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
