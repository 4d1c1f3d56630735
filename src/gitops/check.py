"""The required check of every change to `main`: release files, settings and models are in order."""

from gitops import gate, promotion, release, settings
from gitops.errors import GateError, ReleaseError, SettingsError
from gitops.lock import LOCK
from gitops.promotion import Ledger, Violation
from gitops.release import ENVIRONMENTS

_MODEL_FILES = {LOCK, gate.EVALUATION, gate.EXPORT}


def check(ledger: Ledger, head: str) -> list[Violation]:
    """Return every rule that merging `head` into main would break; none means that it may be merged.

    What counts is what `head` changed since it left main, against what main declares now.
    """
    repository = ledger.repository
    head = repository.resolve(head)
    base = repository.merge_base(ledger.tip, head)
    if base is None:
        return [Violation("(history)", "this branch shares no history with main", "branch off main")]
    changed = repository.changed(base, head)
    found: list[Violation] = []
    for environment in ENVIRONMENTS:
        found += _release(ledger, environment, base, head, changed)
        found += _settings(ledger, environment, head)
    known = {f"environments/{environment}/" for environment in ENVIRONMENTS}
    for path in changed:
        folder = "/".join(path.split("/")[:2]) + "/"
        ours = path.startswith("environments/") and path.endswith(("/release.yaml", "/settings.env"))
        if ours and folder not in known:
            found.append(Violation(path, "no such environment", f"there are {', '.join(ENVIRONMENTS)}"))
    if _MODEL_FILES & set(changed):
        found += _model(ledger, head)
    return found


def _release(ledger: Ledger, environment: str, base: str, head: str, changed: list[str]) -> list[Violation]:
    file = release.path_of(environment)
    try:
        after = release.read(ledger.repository, head, environment)
    except ReleaseError as error:
        return [Violation(file, *_split(str(error), file))]
    if after is None:
        return [Violation(file, "missing", f"restore it: git checkout {base[:12]} -- {file}")]
    if file not in changed or after == ledger.present(environment):
        return []
    found = promotion.violations(ledger, environment, after)
    if others := [path for path in changed if path != file]:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        found.append(
            Violation(
                file, f"changes together with {shown}", "put the release into a pull request of its own"
            )
        )
    return found


def _settings(ledger: Ledger, environment: str, head: str) -> list[Violation]:
    file = settings.path_of(environment)
    content = ledger.repository.read(head, file)
    if content is None:
        return [Violation(file, "missing", "every environment has its settings")]
    try:
        settings.parse(content, environment)
    except SettingsError as error:
        return [Violation(file, *_split(str(error), file))]
    return []


def _model(ledger: Ledger, head: str) -> list[Violation]:
    found = []
    objection = ledger.storage.objection(ledger.repository, head) if ledger.storage else None
    if objection:
        found.append(Violation(LOCK, objection.rule, objection.right))
    # Merging to main is a release into dev.
    try:
        rows = ledger.judge("dev", head, ledger.tip, fetch=objection is None)
    except (GateError, SettingsError) as error:
        return [*found, Violation(gate.EVALUATION, *_split(str(error), gate.EVALUATION))]
    found += [
        Violation(
            gate.EVALUATION,
            f"the model fails a gate: {row}",
            row.remedy or "train a better one at profile full",
        )
        for row in rows
        if not row.ok
    ]
    return found


def _split(message: str, file: str) -> tuple[str, str]:
    rule, _, right = message.removeprefix(f"{file}: ").rpartition("; ")
    return (rule, right) if rule else (right, "repair it")
