"""The file with addresses and passwords of the Airflows, for programs of the checkout's owner."""

from collections.abc import Mapping
from pathlib import Path

from infra.local import files
from infra.local.variables import USERNAME, Address


def write(path: Path, addresses: Mapping[str, Address], passwords: Mapping[str, str]) -> None:
    """Write addresses, user name and passwords. Only the owner can read the file."""
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
