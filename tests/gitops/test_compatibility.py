"""Every DAG of this repository's history loads with today's `gitops`, and its calls fit."""

import ast
import inspect
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gitops import compatibility
from gitops.training.verification import knows_details
from tests.support import dagbag

ROOT = Path(__file__).resolve().parents[2]


# Opens a workspace as the tasks of each release do, in prod, whose release is that commit.
WORK = """
import os, sys
from pathlib import Path

for commit in sys.argv[2:]:
    child = os.fork()
    if not child:
        sys.path.insert(0, str(Path(sys.argv[1]) / commit / "dags"))
        from gitops.workspace import workspace
        from visage_dags import place

        place.release = lambda: commit
        with workspace(place.origin(), commit, Path(os.environ["VISAGE_HOME"]) / "workspaces") as space:
            assert (space.path / "dags" / "ml_pipeline_dag.py").is_file()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, commit
"""


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, timeout=60).stdout


def released(path: str) -> list[str]:
    """Return every commit that changed a path, the latest first; none in a shallow clone."""
    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        return []
    return git("log", "--format=%H", "--diff-filter=ACMRD", "HEAD", "--", path).decode().split()


COMMITS = released("dags")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder dags/ of each commit, beside its parameters."""
    if not COMMITS:
        pytest.skip("a shallow clone has no history to look at: git fetch --unshallow")
    base = tmp_path_factory.mktemp("releases")
    for commit in COMMITS:
        paths = git("ls-tree", "--name-only", commit, "dags", "params.yaml").decode().split()
        with tarfile.open(fileobj=BytesIO(git("archive", commit, *paths))) as archive:
            archive.extractall(base / commit, filter="data")
    return {commit: base / commit / "dags" for commit in COMMITS}


@dataclass(frozen=True)
class Use:
    """An object of gitops that a file imports, for one function or for the whole file."""

    module: str
    name: str
    local: str
    scope: ast.AST

    def target(self) -> Any:
        module = import_module(self.module)
        try:
            return getattr(module, self.name)
        except AttributeError:
            return import_module(f"{self.module}.{self.name}")


def uses(tree: ast.Module) -> Iterator[Use]:
    scopes: list[ast.AST] = [tree]
    while scopes:
        scope = scopes.pop()
        waiting = list(ast.iter_child_nodes(scope))
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                scopes.append(node)
                continue
            waiting += ast.iter_child_nodes(node)
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gitops":
                for alias in node.names:
                    yield Use(str(node.module), alias.name, alias.asname or alias.name, scope)


def called(use: Use, target: Any) -> Iterator[tuple[ast.Call, Callable[..., Any]]]:
    """Find the calls of an object, or of the functions of a module."""
    for node in ast.walk(use.scope):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == use.local and callable(target):
            yield node, target
        elif isinstance(function, ast.Attribute) and ast.unparse(function.value) == use.local:
            yield node, getattr(target, function.attr)


def test_every_import_resolves_and_every_call_fits(folders: dict[str, Path]) -> None:
    looked_at = 0
    for commit, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            for use in uses(ast.parse(path.read_text())):
                target = use.target()
                attributes = [node for node in ast.walk(use.scope) if isinstance(node, ast.Attribute)]
                for node in attributes if isinstance(target, ModuleType) else ():
                    known = ast.unparse(node.value) != use.local or hasattr(target, node.attr)
                    assert known, (commit, path.name, ast.unparse(node))
                for call, function in called(use, target):
                    positional = [None for argument in call.args if not isinstance(argument, ast.Starred)]
                    named = {keyword.arg: None for keyword in call.keywords if keyword.arg}
                    where = f"{commit[:12]}: {path.name}:{call.lineno}: {ast.unparse(call)}"
                    signature = inspect.signature(function)
                    bind = signature.bind
                    if len(positional) + len(named) < len(call.args) + len(call.keywords):
                        bind = signature.bind_partial  # a starred argument hides how many there are
                    try:
                        bind(*positional, **named)
                    except TypeError as error:
                        pytest.fail(f"{where}: {error}")
                    looked_at += 1
    assert looked_at > 20 * len(folders)


def test_the_dags_of_every_earlier_commit_load(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, found in zip(folders, dagbag.load(*folders.values(), home=tmp_path), strict=True):
        assert found["errors"] == {}, name
        assert "ml_pipeline_face_attributes" in found["dags"], name


def test_the_tasks_of_earlier_releases_open_their_workspaces(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    had_place = [commit for commit, folder in folders.items() if (folder / "visage_dags/place.py").is_file()]
    # Each version of the module that opens them, once
    versions = {(folders[commit] / "visage_dags/place.py").read_bytes(): commit for commit in had_place}
    base = next(iter(folders.values())).parents[1]
    variables = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_GIT_DEFAULT": json.dumps({"conn_type": "git", "host": str(ROOT)}),
        "VISAGE_ENVIRONMENT": "prod",
        "VISAGE_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(base), *versions.values()],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(versions) > 3


def test_a_shim_names_the_commits_that_need_it(folders: dict[str, Path]) -> None:
    needed: dict[str, list[str]] = {}
    for commit, folder in folders.items():
        for path in folder.rglob("*.py"):
            for use in uses(ast.parse(path.read_text())):
                module = f"gitops.{use.name}" if use.module == "gitops" else use.module
                needed.setdefault(module, []).append(commit)
    dags = {name: shim for name, shim in compatibility.SHIMS.items() if name in needed}
    # The classes that settings name
    assert set(compatibility.SHIMS) - set(dags) == {"gitops.bundle", "gitops.executor"}
    for name, shim in dags.items():
        commits = list(dict.fromkeys(needed[name]))
        assert (commits[-1][:7], commits[0][:7]) == shim.needed_by, name


def test_a_name_that_no_release_needs_is_not_there() -> None:
    import gitops.candidate

    import gitops.model

    assert not hasattr(gitops.candidate, "METRICS")
    with pytest.raises(ImportError):
        import_module("gitops.model.candidate")
    with pytest.raises(ImportError):
        import_module("gitops.no_such")
    assert not hasattr(gitops.model, "no_such")


def test_the_evaluation_of_each_release_is_asked_for_details_only_if_it_has_them() -> None:
    """How a release is verified depends on the commands that it has."""
    answers: set[bool] = set()
    for commit in released("src/face_attributes/cli.py"):
        content = git("show", f"{commit}:src/face_attributes/cli.py")
        functions = [node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.FunctionDef)]
        has = any(one.name == "evaluate" and "details" in str(ast.dump(one.args)) for one in functions)
        assert knows_details(content) == has, commit
        answers.add(has)
    assert answers in (set(), {True, False})
