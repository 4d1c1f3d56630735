"""Asking the Airflow of each environment for the release that it runs."""

from concurrent.futures import ThreadPoolExecutor

from gitops.airflow.client import VERIFY, Access, Airflow
from gitops.airflow.status import Answer, EnvironmentStatus, row, shown
from gitops.dvc import provenance
from gitops.errors import AirflowError, ReleaseError
from gitops.gates.shadows import Shadowed
from gitops.git.repository import Repository
from gitops.promotion.approved import approved
from gitops.promotion.due import due, runtime_due
from gitops.promotion.evidence import Evidence
from gitops.release.load import add
from gitops.release.people import people
from gitops.release.state import ReleaseState
from gitops.text import instructions
from gitops.text.instructions import Meeting

_MOST_AT_ONCE = 16


def ask(access: Access | None) -> Answer:
    """Ask one Airflow for its running release."""
    if access is None:
        return Answer(trouble="not running (.visage/access.json does not name it); start it: make up")
    try:
        with Airflow(access, timeout=5, retry=False) as airflow:
            running, health = airflow.running(), airflow.health()
            parts = sorted(part for part, state in health.items() if state == "unhealthy")
            ill = f"{', '.join(parts)}: unhealthy" if parts else None
            if running is None:
                return Answer(trouble=ill)
            runs = airflow.runs(VERIFY) if any(dag["dag_id"] == VERIFY for dag in airflow.dags()) else []
            condition = airflow.condition()
            if ill:
                # The process that watches the release may be one of them, and its last result an old one.
                update = {"health": "errored", "ill": "; ".join(filter(None, [ill, condition.ill]))}
                condition = condition.model_copy(update=update)
            last = runs[0] if runs else None
            failed = last is not None and (last.state, last.bundle_version) == ("failed", running)
            return Answer(running, last.state if last else None, condition=condition, failed=failed)
    except AirflowError as error:
        return Answer(trouble=str(error))


def collect(
    repository: Repository, state: ReleaseState, access: dict[str, Access], at: Meeting = instructions.LOCAL
) -> list[EnvironmentStatus]:
    """Ask all environments at once and compare with main; `at` is where proposals are merged."""
    names = [name for members in state.environments.waves.values() for name in members]
    with ThreadPoolExecutor(min(len(names), _MOST_AT_ONCE)) as pool:
        answers = dict(zip(names, pool.map(ask, map(access.get, names)), strict=True))
    waiting = {name: _due(state, name) for name in state.environments.promotable}
    running = [answer.running for answer in answers.values()]
    state, evidence = add(state, repository, [*running, *waiting.values()]), Evidence.of(repository)
    rows: list[EnvironmentStatus] = []
    for name, answer in answers.items():
        commit = shown(state, name, answer)
        notice = provenance.notice(repository, commit) if commit and state.snapshot(commit) else None
        coming = waiting.get(name)
        approvals = approved(state, name, coming, evidence) if coming else None
        declared = state.declarations[name]
        by = None if isinstance(declared, ReleaseError) else people(repository, [declared.by])[declared.by]
        tried = _report(state, name, evidence)
        rows.append(row(state, name, answer, access.get(name), notice, at, approvals, by, tried))
    return rows


def _report(state: ReleaseState, environment: str, evidence: Evidence) -> Shadowed | None:
    """Return the newest report on the shadow or canary that main declares for an environment, or None."""
    commit = state.present(environment).trial
    if commit is None:
        return None
    reports = evidence.shadows(state.lists, environment, state.remote)
    return next((report for report in reports if report.release == commit), None)


def _due(state: ReleaseState, environment: str) -> str | None:
    """Return the release that waits for approvals of an environment, or None."""
    if not state.environments[environment].approvals:
        return None
    commit = due(state, environment)
    has = commit is None or state.has(environment, commit, runtime_due(state, environment, commit))
    return None if has else commit
