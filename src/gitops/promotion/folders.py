"""The folders of environments that main would have: their declarations, settings, ports and windows."""

from collections.abc import Collection

from gitops.errors import CalendarError, EnvironmentsError, SettingsError
from gitops.findings import Finding
from gitops.release import calendar, environments, settings, signatures
from gitops.release.environments import Environments
from gitops.release.signatures import SIGNERS
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState

_MOST_NAMED = 5


def judge_folders(
    state: ReleaseState, head: Snapshot, changed: Collection[str]
) -> tuple[Environments, list[Finding]]:
    """Return the environments that main would have, and everything that is wrong with their folders."""
    findings: list[Finding] = []
    try:
        after = head.environments
    except EnvironmentsError as error:
        return state.environments, [error.finding]
    files = head.listed
    if not any(path.endswith(f"/{environments.FILE}") for path in files) and any(
        path.endswith(f"/{environments.FILE}") for path in changed
    ):
        command = f"git checkout {state.tip[:12]} -- {environments.FOLDER}"
        problem = f"no {environments.FILE} is left"
        findings.append(
            Finding(environments.FOLDER, problem, "restore them", rule="environment", command=command)
        )
    for name in state.environments:
        folder = f"{environments.FOLDER}/{name}"
        if name not in after and any(path.startswith(f"{folder}/") for path in files):
            remedy, path = (
                f"restore it, or remove the environment: git rm -r {folder}",
                environments.path_of(name),
            )
            command = f"git checkout {state.tip[:12]} -- {path}"
            findings.append(Finding(path, "missing", remedy, rule="environment", command=command))
    odd: list[str] = []
    for path in changed:
        _, _, file = path.rpartition("/")
        folder = path.split("/")[1] if path.count("/") == 2 else ""
        ours = path.startswith(f"{environments.FOLDER}/") and file in ("release.yaml", "settings.env")
        if ours and path in files and folder not in after and folder not in state.environments:
            odd.append(path)
    right = f"there are {', '.join(after)}; to make another: make new-environment"
    for path in odd[:_MOST_NAMED]:
        more = f"; so are {len(odd) - _MOST_NAMED} more files" if path in odd[_MOST_NAMED - 1 : -1] else ""
        findings.append(Finding(path, f"no such environment{more}", right, rule="environment"))
    return after, findings


def values(after: Environments, environment: str, head: Snapshot) -> list[Finding]:
    """Name the faults of the settings of an environment."""
    try:
        declared = head.settings(environment)
    except SettingsError as error:
        return [error.finding]
    if declared.require_signed_models and after.follows(environment):
        problem = f"REQUIRE_SIGNED_MODELS: no environment verifies a model before {environment}"
        return [Finding(settings.path_of(environment), problem, "write false", rule="unsigned-model")]
    if declared.require_signed_releases and after.follows(environment):
        problem = f"REQUIRE_SIGNED_RELEASES: {environment} follows main, signed or not"
        return [Finding(settings.path_of(environment), problem, "write false", rule="signers")]
    return []


def ports(after: Environments, head: Snapshot) -> list[Finding]:
    """Name the environments that could not run on one machine, as they have one port."""
    findings: list[Finding] = []
    taken: dict[int, str] = {}
    for environment in after:
        try:
            port = head.settings(environment).web_port
        except SettingsError:
            continue  # `values` tells
        holder = taken.setdefault(port, environment)
        if holder != environment:
            rule = f"WEB_PORT: {port} is that of {holder}"
            findings.append(Finding(settings.path_of(environment), rule, "choose another port", rule="port"))
    return findings


def windows(after: Environments, head: Snapshot) -> list[Finding]:
    """Name the faults of the calendar, and the environments in it that do not exist."""
    try:
        unknown = head.calendar.unknown(after)
    except CalendarError as error:
        return [error.finding]
    right = f"there are {', '.join(after)}"
    return [
        Finding(calendar.PATH, f"{name}: no such environment", right, rule="calendar") for name in unknown
    ]


def policies(after: Environments, head: Snapshot) -> list[Finding]:
    """Name the environments that nothing could ever be promoted into by their own policy."""
    findings: list[Finding] = []
    people = signatures.people(head.contents[SIGNERS] or b"")
    for name in after:
        file, needed = environments.path_of(name), after[name].approvals
        if needed > len(people):
            problem = f"approvals: {needed} are asked for, {SIGNERS} lists {len(people) or 'no'} people"
            findings.append(
                Finding(file, problem, "list who may approve, or ask for fewer", rule="approvals")
            )
        try:
            allowed = head.calendar.allows(name)
        except CalendarError:
            continue  # `windows` reports it
        if after[name].promotion == "in-windows" and not allowed:
            problem = f"promotion: in-windows, but {calendar.PATH} has no allow window for {name}"
            findings.append(Finding(file, problem, "add one, or write after-soak", rule="calendar"))
    return findings
