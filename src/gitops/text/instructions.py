"""The commands that a person pastes to move a release: from the proposal to seeing that it worked.

The command line, the page *Visage*, notices and documents print the results of these functions, so that all
show the same. The commands work in a shell where nothing is activated, in the checkout's folder.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

_GITOPS = ".venv/bin/gitops"
_GITHUB = re.compile(
    r"(?:https?://|ssh://git@|git@)(?:[^@/]*@)?(github\.[\w.]+)[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?"
)
_ELSEWHERE = re.compile(r"(?!file:)[a-z+]+://|[^/]+@[^/]+:")


@dataclass(frozen=True)
class Meeting:
    """Where proposals are merged, as seen from a checkout.

    Attributes:
        remote: The git remote that the proposals go to.
        before: Commands that a new shell needs first.
        forge: Whether proposals are merged as pull requests.
        web: The address of the repository on the forge; None where that is not known.

    """

    remote: str
    before: tuple[str, ...] = ()
    forge: bool = False
    web: str | None = None


LOCAL = Meeting("visage")
COMPOSE = Meeting("compose", ("export GITOPS_REMOTE=compose DVC_GLOBAL_CONFIG_DIR=$PWD/.compose/dvc-config",))


def meeting(url: str) -> Meeting:
    """Return where proposals are merged that go to the git repository `url`, as git names it.

    Only the repository is known here, as in an Airflow. A checkout in which `make up` ran has two
    remotes, so the commands name the remote.
    """
    if url.endswith("/.visage/origin.git"):
        return LOCAL
    # Containers know the repository of Docker Compose by another address.
    if url.endswith("/.compose/origin.git") or url == "git://git/origin.git":
        return COMPOSE
    if match := _GITHUB.fullmatch(url):
        return Meeting("origin", (_remote("origin"),), forge=True, web=f"https://{match[1]}/{match[2]}")
    return Meeting("origin", (_remote("origin"),), forge=bool(_ELSEWHERE.match(url)))


def _remote(name: str) -> str:
    return f"export GITOPS_REMOTE={shlex.quote(name)}"


def meeting_of(url: str, remote: str, default: str) -> Meeting:
    """Return where proposals are merged, as a checkout sees it.

    Args:
        url: The git repository of the remote.
        remote: The name of the remote.
        default: The remote that commands take which name none.

    """
    at = meeting(url)
    if at == COMPOSE:
        return at
    return replace(at, remote=remote, before=() if remote == default else (_remote(remote),))


def promote(environment: str, at: Meeting = LOCAL, *, override: str | None = None) -> tuple[str, ...]:
    """Return the commands that promote the release of the previous environment into an environment.

    They wait for the verdict that a promotion needs. `override` is the reason to need no window.
    """
    why = ("--override", override) if override else ()
    return _moved("promote", environment, at, why, last=("--wait",))


def approve(environment: str, commit: str) -> str:
    """Return the command that approves a release for an environment."""
    return shlex.join([_GITOPS, "approve", environment, commit[:12], "--push"])


def trial(kind: str, environment: str, commit: str | None, share: int | None = None) -> str:
    """Return the command that proposes a shadow or a canary, or without a commit to end it."""
    part = ["--share", f"{share}%"] if share else []
    what = [commit[:12], *part] if commit else ["--stop"]
    return shlex.join([_GITOPS, kind, environment, *what, "--push"])


def trials(
    kind: str, environment: str, commit: str | None, share: int | None = None, at: Meeting = LOCAL
) -> tuple[str, ...]:
    """Return all the commands for that: from the proposal to seeing that it worked."""
    command = trial(kind, environment, commit, share)
    return (*at.before, command, *after_push(f"{kind}/{environment}", at))


def promote_wave(wave: str, at: Meeting = LOCAL) -> tuple[str, ...]:
    """Return the commands that promote to all environments of a wave."""
    command = shlex.join([_GITOPS, "promote", "--wave", wave, "--push", "--wait"])
    return (*at.before, command, *after_push(f"promote-wave/{wave}", at))


def roll_back(
    environment: str,
    at: Meeting = LOCAL,
    *,
    to: str | None = None,
    reason: str | None = None,
    keep_runtime: bool = False,
) -> tuple[str, ...]:
    """Return the commands that bring an environment back to an earlier release.

    Args:
        environment: One that takes promotions; for the one that follows main see `revert`.
        at: Where proposals are merged.
        to: The commit of that release; by default the last one that the environment verified.
        reason: Why; it is kept as the hold.
        keep_runtime: Whether its present runtime stays.

    """
    named = ("--to", to[:12]) if to else ()
    why = ("--reason", reason) if reason else ()
    kept = ("--keep-runtime",) if keep_runtime else ()
    return _moved("rollback", environment, at, (*named, *why, *kept))


def begin(branch: str, at: Meeting = LOCAL) -> str:
    """Return the command that begins a branch from main as it is now."""
    fetch = shlex.join(["git", "fetch", at.remote])
    return f"{fetch} && {shlex.join(['git', 'switch', '--create', branch, f'{at.remote}/main'])}"


def train(branch: str, *options: str) -> str:
    """Return the command that trains from a branch and waits for the candidate."""
    return shlex.join([_GITOPS, "train", branch, "--wait", *options])


def review(branch: str) -> tuple[str, str]:
    """Return the commands that check a branch and merge it where no forge does."""
    return shlex.join([_GITOPS, "check", "--head", branch]), shlex.join([_GITOPS, "merge", branch])


def explain(rule: str) -> str:
    """Return the command that prints the page of a rule."""
    return shlex.join([_GITOPS, "explain", rule])


def push(remote: str, branch: str) -> str:
    """Return the command that pushes a branch of a checkout."""
    return shlex.join(["git", "push", remote, branch])


def of_branch(branch: str) -> str:
    """Return the command that makes and pushes a branch like `promote/ENV`; "" for another branch."""
    kind, _, environment = branch.partition("/")
    if kind == "promote-wave":
        return propose("promote", "--wave", environment)
    if kind not in ("promote", "rollback", "hold", "unhold", "shadow", "canary"):
        return ""
    return propose(kind, environment, *(("--reason", "REASON") if kind == "hold" else ()))


def lift_hold(environment: str, at: Meeting = LOCAL, reasons: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the commands that allow promotions into an environment again.

    Args:
        environment: The environment.
        at: Where proposals are merged.
        reasons: The reasons of its holds, which are lifted in turn; of one hold, none is needed.

    """
    if len(reasons) < 2:
        return unhold(environment, at)
    branch, status = f"unhold/{environment}", after_push("", at)[-1]
    lifted = ((lift(environment, reason), _merge(branch, at)) for reason in reasons)
    return (*at.before, *(command for pair in lifted for command in pair), status)


def hold(environment: str, at: Meeting = LOCAL, *, reason: str, until: str | None = None) -> tuple[str, ...]:
    """Return the commands that keep promotions out of an environment."""
    end = ("--until", until) if until else ()
    return _moved("hold", environment, at, ("--reason", reason, *end))


def unhold(environment: str, at: Meeting = LOCAL, *, reason: str | None = None) -> tuple[str, ...]:
    """Return the commands that lift one hold."""
    return _moved("unhold", environment, at, ("--reason", reason) if reason else ())


def lift(environment: str, reason: str) -> str:
    """Return the command that proposes to lift one of several holds."""
    return shlex.join([_GITOPS, "unhold", environment, "--reason", reason, "--push"])


def back_up(environment: str, runtime: str | None) -> tuple[str, ...]:
    """Return the commands that save an environment, for the engines that name their runtime so."""
    if runtime and runtime.startswith("sha256:"):
        dump = shlex.join(["pg_dump", "--format=custom", f"--file={environment}.dump"])
        return (f'{dump} --dbname="$DATABASE_URL"  # Kubernetes', _compose_backup(environment))
    local = f".venv/bin/python -m infra.local backup backups/before-{environment}"
    return (f"{local}  # local engine", _compose_backup(environment))


def _compose_backup(environment: str) -> str:
    return f"{shlex.join(['scripts/backup.sh', environment])}  # Docker Compose"


def downgrade(environment: str, version: str, runtime: str | None) -> str:
    """Return the command that changes the database of an environment back to a version of Airflow."""
    change = ["airflow", "db", "downgrade", "--to-version", version, "--yes"]
    if runtime and runtime.startswith("sha256:"):
        pod = ["kubectl", "-n", f"visage-{environment}", "exec", "deployment/airflow-scheduler", "--"]
        return f"{shlex.join([*pod, *change])}  # Kubernetes"
    return shlex.join(change)


def revert(commit: str, parents: int, at: Meeting = LOCAL) -> tuple[str, ...]:
    """Return the commands that take a change of main back, which is how dev goes back.

    Args:
        commit: The change.
        parents: How many parents it has; of a merge, git has to know which one stays.
        at: Where proposals are merged.

    """
    branch = f"revert-{commit[:12]}"
    which = "-m 1 " if parents > 1 else ""
    # Joined: a step that fails must not let the next one change another branch.
    steps = (
        begin(branch, at),
        f"git revert --no-edit {which}{commit[:12]}",
        push(at.remote, branch),
    )
    return (*at.before, " && ".join(steps), *after_push(branch, at))


def propose(verb: str, environment: str, *options: str) -> str:
    """Return the command that pushes a proposal; it prints the ones that merge it."""
    return shlex.join([_GITOPS, verb, environment, *options, "--push"])


def after_push(branch: str, at: Meeting = LOCAL) -> tuple[str, ...]:
    """Return the commands that are left when a proposal has been pushed."""
    return (_merge(branch, at), f"{_GITOPS} status")


def text(commands: Sequence[str], indent: str = "") -> str:
    """Return commands as the lines of a text."""
    return "\n".join(f"{indent}{command}" for command in commands)


def _moved(
    verb: str, environment: str, at: Meeting, options: Sequence[str] = (), last: Sequence[str] = ()
) -> tuple[str, ...]:
    command = shlex.join([_GITOPS, verb, environment, *options, "--push", *last])
    return (*at.before, command, *after_push(f"{verb}/{environment}", at))


def _merge(branch: str, at: Meeting) -> str:
    if not at.forge:
        return review(branch)[1]
    # To a shell it is a comment.
    if at.web is None:
        return f"# open a pull request from {branch} into main, and merge it"
    return f"# merge the pull request: {at.web}/compare/main...{branch}?expand=1"
