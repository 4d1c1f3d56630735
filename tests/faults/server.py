"""Servers that a test starts, kills and starts again at the same address."""

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.local import port
from tests.support.waiting import wait_for


class Server:
    """A process that listens on a port of this machine."""

    def __init__(self, command: Sequence[str], number: int, log: Path) -> None:
        self._command, self.port, self._log = command, number, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for(self._listens)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


def git_daemon(folder: Path, log: Path) -> Server:
    """Serve the repositories in `folder` at `git://127.0.0.1:<port>/`, for reading and writing."""
    number = port.unused()
    program = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip()) / "git-daemon"
    options = ["--export-all", "--enable=receive-pack", "--reuseaddr", "--listen=127.0.0.1"]
    return Server([str(program), *options, f"--port={number}", f"--base-path={folder}"], number, log)


S3_CLIENT = {
    "AWS_ACCESS_KEY_ID": "user",
    "AWS_SECRET_ACCESS_KEY": "password",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # rclone's server does not know the newer checksums
    "AWS_DEFAULT_REGION": "us-east-1",
}


def s3(folder: Path, log: Path, *options: str) -> Server:
    """Serve the folders in `folder` as buckets."""
    number = port.unused()
    address = ["--addr", f"127.0.0.1:{number}", "--auth-key", "user,password"]
    return Server(["rclone", "serve", "s3", *address, *options, str(folder)], number, log)
