"""The plain `git` command: how it is started, how it fails, and when it is tried again."""

import logging
import re
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from gitops.errors import GitError, GitTimeoutError, TransientError
from gitops.git import config as git_config
from gitops.git import incoming
from gitops.git.objects import as_text
from gitops.git.process import finish
from gitops.git.reason import failure, names_too_long, too_large

log = logging.getLogger(__name__)

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
"""A name and a password in a URL, which no message may show."""

_ATTEMPTS = 4


class Git:
    """The `git` command in the folder `path`.

    Every command has a timeout, never asks a question, and no shell reads its words. Commands that talk to
    a remote are tried again, with growing pauses, when the network fails or another git has a lock.

    Raises:
        GitError: from every method, with git's own last line, when git fails.

    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._configured: git_config.Configured | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def run(
        self,
        *args: str,
        timeout: float = 60,
        input: bytes | None = None,  # noqa: A002, the name that subprocess gives it
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        most: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `git ARGS` here and return its exit status and bytes, whatever the status.

        `env` are variables, and `config` is configuration, for this command alone. It writes no file of more
        than `most` bytes.
        """
        with self.variables(env, config) as variables:
            done = self._run(args, timeout, input, variables, most)
        if args[0] == "config":
            self._configured = None
        return done

    @contextmanager
    def variables(
        self, env: Mapping[str, str] | None = None, config: Mapping[str, str] | None = None
    ) -> Generator[dict[str, str]]:
        """Provide the variables of a command here, as `run` takes them."""
        with git_config.variables(self._configuration().personal, env, config) as variables:
            yield variables

    def setting(self, name: str) -> str:
        """Return a value of the repository's own configuration; empty where it has none.

        Args:
            name: The name as git lists it: section and key in lower case.

        """
        return self._configuration().own.get(name, "")

    def _configuration(self) -> git_config.Configured:
        if self._configured is None and self.path.is_dir():
            self._configured = git_config.read(self.path)
        return self._configured or git_config.Configured()

    def _run(
        self,
        args: tuple[str, ...],
        timeout: float,
        data: bytes | None,
        variables: dict[str, str],
        most: int | None,
    ) -> subprocess.CompletedProcess[bytes]:
        log.debug("%s: git %s", self.path, CREDENTIALS.sub("", " ".join(" ".join(args).split())))
        try:
            process = subprocess.Popen(
                incoming.command(args, most),
                cwd=self.path,
                env=variables,
                stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that a timeout also ends git's own helpers (ssh, https)
            )
        except FileNotFoundError as error:
            missing = "the command git is not installed" if self.path.is_dir() else "no such folder"
            raise GitError(f"git {args[0]}: {missing} (in {self.path})") from error
        except NotADirectoryError as error:
            raise GitError(f"git {args[0]}: not a folder (in {self.path})") from error
        except ValueError as error:
            raise GitError(f"git {args[0]}: a name with a NUL in it (in {self.path})") from error
        try:
            stdout, stderr = finish(process, data, timeout)
        except subprocess.TimeoutExpired as error:
            raise GitTimeoutError(
                f"git {args[0]}: no answer within {timeout:g} s (in {self.path})"
            ) from error
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def git(
        self,
        *args: str,
        timeout: float = 60,
        input: bytes | str | None = None,  # noqa: A002, the name that subprocess gives it
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Run `git ARGS` here and return its output, without the final newline."""
        data = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
        return as_text(self._output(*args, timeout=timeout, input=data, env=env, config=config)).removesuffix(
            "\n"
        )

    def _output(
        self,
        *args: str,
        timeout: float = 60,
        input: bytes | None = None,  # noqa: A002, the name that subprocess gives it
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> bytes:
        result = self.run(*args, timeout=timeout, input=input, env=env, config=config)
        if result.returncode != 0:
            raise self._failure(args, result)
        return result.stdout

    def _remote(
        self,
        *args: str,
        timeout: float,
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        most: int | None = None,
    ) -> str:
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.3, max=5),
            reraise=True,
        )
        if most is None:
            return retrying(self.git, *args, timeout=timeout, env=env, config=config)
        return retrying(self._bounded, args, timeout, env, most)

    def _bounded(
        self, args: tuple[str, ...], timeout: float, env: Mapping[str, str] | None, most: int
    ) -> str:
        with incoming.room(self.path, most) as room:
            result = self.run(*args, timeout=timeout, env=env, most=room)
            if too_large(as_text(result.stderr)):
                where = CREDENTIALS.sub("***@", args[args.index("--") + 1])
                raise GitError(
                    f"git {args[0]}: {where} sends more than {room / 1024**2:.0f} MiB at once; delete its "
                    f"branch or tag with a large file, or make room (in {self.path})"
                )
            if result.returncode != 0 and not names_too_long(as_text(result.stderr)):
                raise self._failure(args, result)
        return as_text(result.stdout)

    def _failure(self, args: tuple[str, ...], result: subprocess.CompletedProcess[bytes]) -> GitError:
        kind, line = failure(args[0], as_text(result.stdout), as_text(result.stderr), result.returncode)
        return kind(CREDENTIALS.sub("***@", f"git {args[0]}: {line} (in {self.path})"))
