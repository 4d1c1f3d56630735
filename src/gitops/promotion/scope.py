"""Scope: which checks a change needs, by the files that it touches."""

from collections.abc import Iterable
from pathlib import PurePosixPath

CHECKS = ("lint", "review", "test", "dags", "train")
"""`lint`: `make lint`; `review`: known vulnerabilities of packages and actions; `test`: `make test`;
`dags`: `make dags-test`; `train`: the pipeline on small data.

A change that needs none of them is one of documents, metrics and release files, and `make lint-documents`
checks it in seconds.
"""

_ALL = frozenset(CHECKS)
_PIPELINE = frozenset({"lint", "test", "dags", "train"})
_NONE: frozenset[str] = frozenset()
_TEST = frozenset({"lint", "test"})
_DAGS = frozenset({"lint", "test", "dags"})

# The first matching pattern decides. A file without a match needs all checks: a new kind of file must not be
# overlooked. `gitops check` always runs.
_RULES: tuple[tuple[str, frozenset[str]], ...] = (
    # `gitops check` judges these, by the rules and by the gates.
    ("environments/*/release.yaml", _NONE),
    ("dvc.lock", _NONE),
    ("metrics/**", _NONE),
    ("plots/**", _NONE),
    ("search/**", _NONE),
    # The commands of these are run.
    ("docs/airflow-guide.md", _TEST),
    ("docs/airflow-settings.md", _TEST),
    ("docs/data.md", _TEST),
    ("docs/drawn-faces.md", _TEST),
    ("docs/write-a-dag.md", _TEST),
    ("docs/how-to.md", _TEST),
    ("docs/how-to-platform.md", _TEST),
    ("docs/howto/**", _TEST),
    ("docs/operating.md", _TEST),
    ("docs/**", _NONE),
    ("*.md", _NONE),
    ("mkdocs.yml", _NONE),
    ("LICENSE", _NONE),
    # The inputs of the pipeline.
    ("src/drawn_faces/**", _PIPELINE),
    ("src/face_attributes/**", _PIPELINE),
    ("params*.yaml", _PIPELINE),
    ("dvc.yaml", _PIPELINE),
    # The parameters that `gitops trial` compares
    ("experiments.yaml", frozenset({"train"})),
    ("data/**", _PIPELINE),
    ("requirements.lock", _ALL),
    ("Makefile", _PIPELINE),
    # `gitops check` judges parameters with it; a test compares it with the parameters' model.
    ("schemas/**", _TEST),
    # The code that runs the DAGs, or is a part of them.
    ("dags/**", _DAGS),
    ("environments/**", _DAGS),
    ("infra/local/**", _DAGS),
    ("infra/dag_smoke_test/**", _DAGS),
    ("src/gitops/**", _DAGS),
    ("infra/**", _TEST),
    ("tests/**", _TEST),
    ("benchmarks/**", _TEST),
    (".ci/**", _TEST),
    (".github/workflows/**", _TEST | {"review"}),
    (".github/actions/**", _TEST | {"review"}),
    (".gitea/**", _TEST),
    (".github/**", _TEST),
    (".pre-commit-config.yaml", _TEST),
)


def of_file(path: str) -> frozenset[str]:
    """Return the checks that a change of one file needs."""
    for pattern, checks in _RULES:
        if _fits(path, pattern):
            return checks
    return _ALL


def of_files(paths: Iterable[str]) -> dict[str, str]:
    """Return the checks that a change needs, each with the first file that needs it."""
    changed = list(paths)
    reasons: dict[str, str] = {}
    for path in changed:
        # A candidate brings the labelled images that its model was trained with.
        if "dvc.lock" in changed and path.startswith("data/") and path.endswith(".dvc"):
            continue
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
