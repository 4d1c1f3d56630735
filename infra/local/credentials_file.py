"""The file by which programs of the checkout's owner reach the Airflows."""

from collections.abc import Mapping
from pathlib import Path

from infra.local import files
from infra.local.variables import USERNAME, Address


def write(path: Path, addresses: Mapping[str, Address], passwords: Mapping[str, str]) -> None:
    """Write addresses, user and passwords, which no other user can read."""
    content = {
        environment: {
            "url": address.url,
            "web": address.web,
            "username": USERNAME,
            "password": passwords[environment],
        }
        for environment, address in addresses.items()
    }
    files.write_json(path, content)
