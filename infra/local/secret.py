"""The secrets of an environment: generated at the first start, in a file that only its owner can read."""

import base64
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local import files
from infra.local.errors import EngineError


@dataclass(frozen=True)
class Secrets:
    """The secrets of an environment."""

    api_secret_key: str
    jwt_secret: str
    fernet_key: str
    password: str
    fingerprint_key: str
    """Key of the fingerprints in `started-with.json`."""


def load(path: Path) -> Secrets:
    """Return the secrets in `path`. Generate them if the file does not exist.

    Raises:
        EngineError: The file was not written by this function.

    """
    content = files.read_json(path)
    if content is None:
        made = Secrets(
            api_secret_key=secrets.token_urlsafe(32),
            jwt_secret=secrets.token_urlsafe(48),  # SHA-512 needs 64 characters
            fernet_key=base64.urlsafe_b64encode(os.urandom(32)).decode(),
            password=secrets.token_urlsafe(12),
            fingerprint_key=secrets.token_urlsafe(32),
        )
        files.write_json(path, asdict(made))
        return made
    try:
        if "fingerprint_key" not in content:  # written by a version without this secret
            content["fingerprint_key"] = secrets.token_urlsafe(32)
            files.write_json(path, content)
        return Secrets(**content)
    except TypeError as error:
        raise EngineError(
            f"{path}: not the secrets of an environment; run make clean, then make up"
        ) from error
