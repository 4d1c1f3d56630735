"""Commands and DVC, run in the checkout of a commit, with their output in the log."""

import configparser
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from gitops import isolation
from gitops.dvc import commands as dvc_commands
from gitops.dvc.process import own_module, with_files
from gitops.errors import KilledError, StepError, TimeLimitError

log = logging.getLogger(__name__)

# Before each command, in the log.
_PROMPT = "$ "
_LONGEST_LINE = 100_000
# DVC's own lines around the output of a stage.
_STAGE_BEGAN, _STAGE_FAILED = ("Running stage", "> "), "ERROR: failed to reproduce"


def call(command: Sequence[str], folder: Path, timeout: timedelta, *, writable: bool = True) -> None:
    """Run `command` in the checkout `folder`, with its own code on the path, each line of output to the log.

    The command is code of a commit: it runs isolated, see `gitops.isolation`. DVC itself is not, and has the
    credentials of its remote; the commands of stages that it runs are.
    The whole process group ends with this call: at the timeout, and when the calling task is stopped.

    Args:
        command: The program and its arguments.
        folder: The checkout.
        timeout: The time that it may take.
        writable: Whether it may change the checkout.

    Raises:
        StepError: if it fails or takes longer than `timeout`.

    """
    if command[0] == "dvc":
        call_dvc([command[1:]], folder, timeout)
        return
    shown = " ".join(command)
    log.info("%s%s", _PROMPT, shown)
    caches = list(_caches(folder))
    places = _isolated(folder, writable=writable, caches=caches if writable else ())
    with _without_keys(folder), places as place:
        before = dvc_commands.configuration(folder)
        _run([*place.prefix, *command], shown, folder, timeout, place.variables)
        if dvc_commands.configuration(folder) != before:
            raise StepError(f"{shown}: {dvc_commands.CONFIGURES}")
    if writable and (link := isolation.foreign_link(folder, known=caches)):
        raise StepError(f"{shown}: made the link {link.relative_to(folder)}, which leads out of its folder")


def call_dvc(
    commands: Sequence[Sequence[str]], folder: Path, timeout: timedelta, *, cache: Path | None = None
) -> None:
    """Run DVC `commands`, each without the word dvc, up to the first that fails; else as `call`.

    Args:
        commands: The commands.
        folder: The checkout.
        timeout: The time that they may take.
        cache: A folder for DVC's cache. With it, DVC itself is isolated too: it has no credentials, asks no
            remote, and follows no configuration of the checkout out of its place.

    Raises:
        StepError: naming the command that failed.

    """
    shown = " ".join(["dvc", *commands[0]])
    # DVC would add its folders to `.dvc/.gitignore`, which it can only read there.
    with _isolated(folder, caches=[cache] if cache else (), git=cache is None) as place:
        if cache is None:
            _run(dvc_program(commands, folder, place), shown, folder, timeout, environment(folder))
            return
        inner = isolation.Isolated((), place.variables)
        program = [*place.prefix, *dvc_program(commands, folder, inner, cache)]
        _run(program, shown, folder, timeout, place.variables)


def dvc_program(
    commands: Sequence[Sequence[str]],
    folder: Path,
    place: isolation.Isolated | None = None,
    cache: Path | None = None,
) -> list[str]:
    """Return the program that runs DVC commands, which imports nothing of the checkout.

    Args:
        commands: The commands, each without the word dvc.
        folder: The checkout.
        place: Where the commands of stages run; without it, a command that runs a stage fails.
        cache: A folder for DVC's cache, beside those of the configuration.

    """
    stages = {"prefix": place.prefix, "variables": dict(place.variables)} if place else None
    arguments = {
        "folder": str(folder),
        # DVC links outputs from them
        "caches": [str(path) for path in (*_caches(folder), *([cache] if cache else []))],
        "commands": [list(command) for command in commands],
        "stages": stages,
    }
    return [sys.executable, "-I", dvc_commands.__file__, json.dumps(arguments)]


def storage_problem(folder: Path) -> str:
    """Ask the DVC remote of the checkout `folder` for a listing; return why it cannot be used, or "".

    DVC runs in a process of its own, as it is heavy to import.
    """
    try:
        done = subprocess.run(
            own_module("gitops.dvc.place"),
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 120 s"
    return (done.stderr.strip().splitlines() or ["no answer"])[-1] if done.returncode else ""


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of DVC in the checkout `folder`: those of this process, credentials included.

    Code of the checkout never gets them.
    """
    # DVC lets every user write to this cache (by default in /var/tmp), and unpickles the files that it holds.
    # A workspace is closed to other users, and a stage cannot write to its `.git`.
    own = folder / ".git" if (folder / ".git").is_dir() else folder / ".dvc" / "tmp"
    site_cache = {"DVC_SITE_CACHE_DIR": str(own / "dvc-site-cache")}
    # The user's git may ignore files that DVC makes.
    git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return site_cache | os.environ | git | {"PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


@contextmanager
def _isolated(
    folder: Path, *, writable: bool = True, caches: Sequence[Path] = (), git: bool = True
) -> Generator[isolation.Isolated]:
    """Provide the place in which code of the checkout `folder` runs, and may write to `caches` of DVC.

    Without `git`, DVC there writes no ignore files of git.
    """
    data = folder / ".dvc"
    variables = {
        # It is the checkout's own code, not the one that this interpreter has installed.
        "PYTHONPATH": str(folder / "src"),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(data / "tmp" / "site-cache"),
    }
    # All but the state in `.dvc` is configuration of the DVC that has the keys.
    readable = [folder / ".git", data, *_caches(folder)]
    for cache in caches:
        # A folder that is missing would be made in the isolation, and lost with it.
        cache.mkdir(parents=True, exist_ok=True)
    written, hidden = [*caches], list[Path]()
    if home := os.environ.get("VISAGE_HOME"):
        written.append(Path(home))
        # Others work in the first. This environment reads releases and results from the others.
        hidden += [Path(home) / name for name in ("workspaces", "origin.git", "comparisons")]
        for folder_of_others in hidden if writable else ():
            # A folder that is missing cannot be hidden, and the code would make it.
            folder_of_others.mkdir(parents=True, exist_ok=True)
    if celeba := os.environ.get(isolation.CELEBA):
        readable.append(Path(celeba).expanduser())
    (written if writable else readable).append(folder)
    temporary = None
    if writable and data.is_dir():
        temporary = data / "tmp"  # which is removed with the workspace, however this process ends
        for state in (data / "cache", temporary):
            if data.is_symlink() or state.is_symlink():
                raise StepError(f"{state.relative_to(folder)}: a link; put a folder in its place")
            state.mkdir(exist_ok=True)
            written.append(state)
    readable = [path for path in readable if path not in written]
    place = isolation.Place(writable=tuple(written), readable=tuple(readable), hidden=tuple(hidden))
    with isolation.isolated(place, variables, temporary=temporary) as isolated:
        if caches:
            # The cache, and nothing else of the configuration, which may hold keys
            config = Path(isolated.variables["HOME"]) / "dvc" / "config"
            config.parent.mkdir()
            core = "" if git else "[core]\n    no_scm = true\n"
            config.write_text(f'{core}[cache]\n    dir = {caches[-1]}\n    type = "hardlink,symlink"\n')
            variables = {**isolated.variables, "DVC_GLOBAL_CONFIG_DIR": str(config.parent)}
            isolated = isolation.Isolated(isolated.prefix, variables)
        yield isolated


@contextmanager
def _without_keys(folder: Path) -> Generator[None]:
    """Take the person's own DVC configuration, which may hold keys, away while code of a commit runs."""
    own = folder / ".dvc" / "config.local"
    if not own.is_file():
        yield
        return
    content = own.read_bytes()
    own.unlink()
    try:
        yield
    finally:
        own.write_bytes(content)


def _caches(folder: Path) -> Iterator[Path]:
    """Yield the folders of DVC's cache, to which links in a checkout lead."""
    files = [folder / ".dvc" / "config", folder / ".dvc" / "config.local"]
    if user := os.environ.get("DVC_GLOBAL_CONFIG_DIR"):
        files.append(Path(user) / "config")
    for file in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(file, "utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # DVC names the problem
        if parser.has_option("cache", "dir"):
            yield file.parent / parser.get("cache", "dir").strip("\"'")


def _run(
    program: Sequence[str], shown: str, folder: Path, timeout: timedelta, variables: Mapping[str, str]
) -> None:
    process = subprocess.Popen(
        list(program),
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(timeout.total_seconds(), expire)
    watchdog.start()
    last = complaint = ""
    try:
        assert process.stdout is not None
        # Code may print a line without end.
        for line in iter(partial(process.stdout.readline, _LONGEST_LINE), ""):
            if text := line.rstrip():
                # DVC prints the problem first, and then a link to its documentation. For a stage that failed
                # it prints nothing more; the last output of the stage comes before that line.
                if text.startswith(_STAGE_FAILED):
                    complaint = text if not last or last.startswith(_STAGE_BEGAN) else last
                elif text.startswith("ERROR: "):
                    complaint = text
                elif text.startswith(f"{_PROMPT}dvc "):
                    shown = text.removeprefix(_PROMPT)
                if not text.startswith(isolation.NEXT):
                    last = text
                log.info("%s", text)
        status = process.wait()
    finally:
        watchdog.cancel()
        isolation.end_group(process)
    if expired.is_set():
        raise TimeLimitError(f"{shown}: stopped, it took longer than {timeout}", command=shown)
    if status != 0:
        failure = KilledError if status in isolation.KILLED else StepError
        raise failure(f"{shown}: exit status {status}: {with_files(complaint or last)}", command=shown)
