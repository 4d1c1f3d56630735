"""The configuration and the variables that every git command of Visage runs with.

A machine reads git's output here, so nothing that a user, a system or a repository has configured may change
it. The user's own configuration is read first, and only the part that a person decides is passed on: who
commits, how a commit is signed, and how git logs into a server.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gitops.errors import GitError, GitTimeoutError
from gitops.git.process import finish
from gitops.git.reason import lines_of, reason

_OURS = {
    # Set at each command, as the variable below names a file of grafts.
    "advice.graftFileDeprecated": "false",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.excludesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "true",
    "color.ui": "false",
    "diff.renames": "true",
    # One broken object on any branch of a remote must not keep everybody from fetching, and so from rolling
    # back. `gitops.git.merge_result` runs git fsck on the objects that a branch brings.
    "fetch.fsckObjects": "false",
    "transfer.fsckObjects": "false",
    "fetch.writeCommitGraph": "false",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "init.defaultBranch": "main",
    "log.showSignature": "false",
    "merge.conflictStyle": "merge",
    "merge.directoryRenames": "conflict",
    "merge.renames": "true",
    "merge.renormalize": "false",
    "protocol.version": "2",
    "push.followTags": "false",
    "push.gpgSign": "false",
    "push.pushOption": "",
    "push.recurseSubmodules": "no",
    "submodule.recurse": "false",
}
"""Beats the configuration of the repository too."""

_PERSONAL = re.compile(
    r"(?:user|author|committer|credential|gpg|http|protocol|ssh|url)\..+"
    r"|commit\.gpgsign|core\.(?:askpass|gitproxy|sshcommand)|safe\.directory"
)
_SCOPES = ("system", "global")
_TIMEOUT = 60.0

_VARIABLES = re.compile(
    r"GIT_(?:SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|PROXY_COMMAND|ALLOW_PROTOCOL|EXEC_PATH|CURL_VERBOSE"
    r"|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM"
    r"|SSL_.+|HTTP_.+|TRACE.*|AUTHOR_.+|COMMITTER_.+|CONFIG_(?:COUNT|(?:KEY|VALUE)_\d+))"
)
"""The variables of git that are passed on. Git sets others for the hooks that it runs; inherited, they would
point every command at another repository."""

_ALWAYS = {
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    # Local replacements and grafts show another commit than the one that is pushed.
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Configured:
    """The configuration that git finds for a folder.

    Attributes:
        personal: The part of the user's and the system's that is passed on, as a configuration file.
        own: The last value of each name in the repository's own.

    """

    personal: str = ""
    own: Mapping[str, str] = field(default_factory=dict[str, str])


def read(folder: Path) -> Configured:
    """Read the configuration for a folder, which is empty where there is no git, or no such folder.

    Args:
        folder: The folder that git will run in: a configuration may include files for some folders only.

    Raises:
        GitError: when git cannot read the configuration, or takes too long.

    """
    try:
        process = subprocess.Popen(
            ["git", "config", "--list", "-z", "--show-scope"],
            cwd=folder,
            env=_inherited(os.environ, keep=r"GIT_CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM)") | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError):
        return Configured()  # the command itself fails with the reason
    try:
        stdout, stderr = finish(process, None, _TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise GitTimeoutError(f"git config: no answer within {_TIMEOUT:g} s (in {folder})") from error
    if process.returncode != 0:
        lines = lines_of(stderr.decode("utf-8", "replace")) or ["no reason given"]
        raise GitError(f"git config: {reason(lines)} (in {folder})")
    fields = stdout.decode("utf-8", "surrogateescape").split("\0")
    entries = list(zip(fields[::2], fields[1::2], strict=False))
    return Configured(
        "".join(_line(entry) for scope, entry in entries if scope in _SCOPES and _is_personal(entry)),
        {
            name: value
            for scope, entry in entries
            if scope == "local"
            for name, _, value in [entry.partition("\n")]
        },
    )


@contextmanager
def variables(
    content: str, env: Mapping[str, str] | None = None, config: Mapping[str, str] | None = None
) -> Generator[dict[str, str]]:
    """Provide the variables of one git command.

    Args:
        content: The user's part of the configuration, from `read`.
        env: Variables of this command alone.
        config: Configuration of this command alone.

    """
    variables = _inherited(os.environ) | _ALWAYS | dict(env or {})
    variables |= _overrides({**_OURS, **(config or {})}.items(), variables)
    if not content:
        yield variables | {"GIT_CONFIG_GLOBAL": os.devnull}
        return
    # A file rather than variables: git hides those from its helper at a remote that is a folder, which asks
    # for safe.directory as well, and the repository's own configuration must go on beating the user's.
    with tempfile.NamedTemporaryFile(prefix="gitops-config-") as file:
        file.write(content.encode("utf-8", "surrogateescape"))
        file.flush()
        yield variables | {"GIT_CONFIG_GLOBAL": file.name}


@contextmanager
def applied(folder: Path) -> Generator[None]:
    """Give this process the variables of our git commands, for a library that runs git itself.

    Args:
        folder: The folder that git will run in.

    """
    before = dict(os.environ)
    with variables(read(folder).personal) as ours:
        os.environ.clear()
        os.environ.update(ours)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _inherited(environ: Mapping[str, str], keep: str = "") -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or _VARIABLES.fullmatch(name) or (keep and re.fullmatch(keep, name))
    }


def _overrides(settings: Iterable[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Add settings after those that the variables already carry: the last one counts."""
    count = environ.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isascii() and count.isdigit() else 0
    variables: dict[str, str] = {}
    for number, (name, value) in enumerate(settings, start=first):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables | {"GIT_CONFIG_COUNT": str(first + len(variables) // 2)}


def _is_personal(entry: str) -> bool:
    return _PERSONAL.fullmatch(entry.partition("\n")[0]) is not None


def _line(entry: str) -> str:
    name, has_value, value = entry.partition("\n")
    section, _, rest = name.partition(".")
    subsection, dot, key = rest.rpartition(".")
    quoted = f' "{_escaped(subsection)}"' if dot else ""
    escaped = _escaped(value).replace("\n", "\\n").replace("\t", "\\t")
    return f"[{section}{quoted}]\n\t{key}" + (f' = "{escaped}"\n' if has_value else "\n")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
