"""The identity of a job of GitHub Actions, with which a cloud gives it keys for an hour."""

import os
from pathlib import Path

import requests

from gitops import atomic
from gitops.errors import ForgeError

_URL, _TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


def write_token(path: Path, audience: str) -> None:
    """Write the signed token that names this job and its repository.

    Args:
        path: A file that only this user may read.
        audience: Who may take it, as `sts.amazonaws.com`.

    Raises:
        ForgeError: outside of a job with the permission `id-token: write`, or if GitHub does not answer.

    """
    url, token = os.environ.get(_URL), os.environ.get(_TOKEN)
    if not (url and token):
        raise ForgeError(f"{_URL}: not set; only a job with the permission id-token: write has an identity")
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = requests.get(url, params={"audience": audience}, headers=headers, timeout=30)
        answer.raise_for_status()
        value = str(answer.json()["value"])
    except (requests.RequestException, ValueError, KeyError) as error:
        raise ForgeError(f"GitHub gives this job no token of its identity: {type(error).__name__}") from error
    atomic.write(path, value, mode=0o600)
