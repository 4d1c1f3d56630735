"""Scope: which checks a change needs, by the files that it touches."""

from collections.abc import Iterable
from pathlib import PurePosixPath

CHECKS = ("test", "dags", "train")
"""`test`: `make test`; `dags`: `make dags-test`; `train`: the pipeline on small data."""

_ALL = frozenset(CHECKS)
_NONE: frozenset[str] = frozenset()

# The first matching pattern decides. A file without a match needs all checks: a new kind of file must not be
# overlooked. Linting and `gitops check` are quick, and always run.
_RULES: tuple[tuple[str, frozenset[str]], ...] = (
    # `gitops check` judges these, by the rules and by the gates.
    ("environments/*/release.yaml", _NONE),
    ("dvc.lock", _NONE),
    ("metrics/**", _NONE),
    ("plots/**", _NONE),
    ("search/**", _NONE),
    # A test keeps the tables of this page true.
    ("docs/data.md", frozenset({"test"})),
    # The commands of this one are run.
    ("docs/airflow-guide.md", frozenset({"test"})),
    ("docs/howto/**", frozenset({"test"})),
    ("docs/**", _NONE),
    ("*.md", _NONE),
    ("mkdocs.yml", _NONE),
    ("LICENSE", _NONE),
    # The inputs of the pipeline.
    ("src/drawn_faces/**", _ALL),
    ("src/face_attributes/**", _ALL),
    ("params*.yaml", _ALL),
    ("dvc.yaml", _ALL),
    ("data/**", _ALL),
    ("requirements.lock", _ALL),
    ("Makefile", _ALL),
    # `gitops check` judges parameters with it; a test compares it with the parameters' model.
    ("schemas/**", frozenset({"test"})),
    # The code that runs the DAGs, or is a part of them.
    ("dags/**", frozenset({"test", "dags"})),
    ("environments/**", frozenset({"test", "dags"})),
    ("infra/local/**", frozenset({"test", "dags"})),
    ("infra/dag_smoke_test/**", frozenset({"test", "dags"})),
    ("src/gitops/**", frozenset({"test", "dags"})),
    ("infra/**", frozenset({"test"})),
    ("tests/**", frozenset({"test"})),
    ("benchmarks/**", frozenset({"test"})),
    (".ci/**", frozenset({"test"})),
    (".github/**", frozenset({"test"})),
    (".pre-commit-config.yaml", frozenset({"test"})),
)


def of_file(path: str) -> frozenset[str]:
    """Return the checks that a change of one file needs."""
    for pattern, checks in _RULES:
        if _fits(path, pattern):
            return checks
    return _ALL


def of_files(paths: Iterable[str]) -> dict[str, str]:
    """Return the checks that a change needs, each with the first file that needs it."""
    reasons: dict[str, str] = {}
    for path in paths:
        for check in of_file(path):
            reasons.setdefault(check, path)
    return {check: reasons[check] for check in CHECKS if check in reasons}


def compares_models(paths: Iterable[str]) -> bool:
    """Return whether a change may give an environment another model, which the gates then compare."""
    return any(path == "dvc.lock" or _fits(path, "environments/*/release.yaml") for path in paths)


def _fits(path: str, pattern: str) -> bool:
    if pattern.endswith("/**"):
        folder = pattern.removesuffix("/**")
        return path.startswith(f"{folder}/")
    # A star stands for no slash, and the path is meant from its start.
    return path.count("/") == pattern.count("/") and PurePosixPath(path).match(pattern)
