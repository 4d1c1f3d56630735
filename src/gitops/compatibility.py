"""Names that releases made before `gitops.tasks` import, kept importable.

A rollback may declare such a release, and its DAGs then run with this `gitops`. Each name below leads to the
object that replaced it, which takes the calls of those releases. `tests/gitops/test_compatibility.py` loads
the DAGs of every earlier commit and compares their calls with the signatures.

A shim may go once no environment declares, or may go back to, a release that needs it.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from operator import attrgetter
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Shim:
    """A module that is gone, or whose name is a package now.

    Attributes:
        names: Each name that was imported from it, and the place of the object as module:name.
        needed_by: The first and the last commit whose DAGs or settings import it.

    """

    names: dict[str, str]
    needed_by: tuple[str, str]


SHIMS = {
    "gitops.archive": Shim({"archive": "gitops.training.archive:archive"}, ("2795a84", "babac88")),
    "gitops.bundle": Shim({"ReleaseBundle": "gitops.airflow.bundle:ReleaseBundle"}, ("64ed29e", "babac88")),
    "gitops.candidate": Shim(
        {
            "DRIFTED": "gitops.model.drift_comparison:PATH",
            "judge": "gitops.training.candidate:judge",
            "propose": "gitops.training.candidate:propose",
            "run_branch": "gitops.training.candidate:run_branch",
            "slug": "gitops.training.candidate:slug",
        },
        ("64ed29e", "babac88"),
    ),
    "gitops.deadline": Shim(
        {"FirstQueued": "gitops.airflow.deadline:EarlierFirstQueued"}, ("30b5e98", "babac88")
    ),
    "gitops.drifted": Shim({"PATH": "gitops.model.drift_comparison:PATH"}, ("a62a812", "babac88")),
    "gitops.executor": Shim(
        {"KubernetesExecutor": "gitops.airflow.executor:KubernetesExecutor"}, ("d04e157", "babac88")
    ),
    "gitops.gate": Shim({"markdown": "gitops.gates.gates:markdown"}, ("2795a84", "babac88")),
    "gitops.instructions": Shim(
        {
            "meeting": "gitops.text.instructions:meeting",
            "roll_back": "gitops.text.instructions:roll_back",
            "text": "gitops.text.instructions:text",
        },
        ("d3e88fb", "babac88"),
    ),
    "gitops.model": Shim(
        {
            "fetch_model": "gitops.model.download:fetch_model",
            "fetch_reference": "gitops.model.download:fetch_reference",
        },
        ("64ed29e", "babac88"),
    ),
    "gitops.notices": Shim(
        {
            "on_late_run": "gitops.tasks:on_late_run",
            "run_link": "gitops.airflow.notices:run_link",
            "send_notice": "gitops.airflow.notices:send_notice",
        },
        ("d04e157", "babac88"),
    ),
    "gitops.parse": Shim(
        {
            "PARAMS": "gitops.text.parse:PARAMS",
            "mapping": "gitops.text.parse:mapping",
            "yaml_value": "gitops.text.parse:yaml_value",
        },
        ("aab936a", "babac88"),
    ),
    "gitops.release": Shim(
        {"PREVIOUS": "gitops.release.environments:EARLIER.promotable"}, ("d3e88fb", "babac88")
    ),
    "gitops.repository": Shim(
        {
            "Repository": "gitops.git.repository:Repository",
            "is_full_sha": "gitops.git.objects:is_full_sha",
        },
        ("64ed29e", "babac88"),
    ),
    "gitops.runbooks": Shim({"link": "gitops.airflow.runbooks:link"}, ("d04e157", "babac88")),
    "gitops.step": Shim(
        {
            "call": "gitops.dvc.run:call",
            "pull": "gitops.training.stages:pull",
            "push": "gitops.training.stages:push",
            "run_command": "gitops.training.stages:run_command",
            "run_stage": "gitops.training.stages:run_stage",
        },
        ("64ed29e", "babac88"),
    ),
    "gitops.training_source": Shim(
        {
            "OPEN": "gitops.release.environments:EARLIER.root",
            "admit": "gitops.training.source:admit_paths",
            "source": "gitops.training.source:source",
        },
        ("aab936a", "babac88"),
    ),
    "gitops.verdict": Shim({"Verdict": "gitops.release.verdicts:Verdict"}, ("64ed29e", "babac88")),
    "gitops.verification": Shim(
        {
            "pending": "gitops.training.verification:pending",
            "publish": "gitops.training.verification:publish",
            "verify": "gitops.training.verification:verify",
        },
        ("64ed29e", "babac88"),
    ),
    "gitops.workspace": Shim(
        {
            "Origin": "gitops.git.workspace:Origin",
            "fetch": "gitops.git.workspace:fetch",
            "resolve": "gitops.git.workspace:resolve",
            "workspace": "gitops.git.workspace:workspace",
        },
        ("64ed29e", "babac88"),
    ),
}


def attributes_of(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that has the name of an earlier module."""

    def get(name: str) -> Any:
        target = SHIMS[module].names.get(name)
        if target is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, attribute = target.partition(":")
        return attrgetter(attribute)(import_module(place))

    return get


class _Finder(MetaPathFinder):
    """Finds the modules of `SHIMS` that no file holds any more."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Loader()) if fullname in SHIMS else None


class _Loader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = attributes_of(module.__name__)


def install() -> None:
    """Let Python find the modules of `SHIMS`, after it has looked for files."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
