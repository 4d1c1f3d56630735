"""Measures the jobs of each kind of pull request, and prints the table of docs/github-workflows.md.

    .venv/bin/python -m tests.workflows.costs [KIND ...]

Measured here: every step that is not replaced under act, each target of `make setup`, and
`make lint-documents`. Taken from `TAKEN`: the targets that act replaces. Calculated: the time that bytes
take.
A kind that was measured at the same commit is not measured again (`.visage/costs/`).
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.support.command import captured, processor
from tests.support.forge import Forge
from tests.support.forge_server import serve
from tests.workflows.act import Run
from tests.workflows.conftest import REAL_LINT_DOCUMENTS, ROOT, World
from tests.workflows.test_kinds import KINDS, go_back, promote, propose, queue

TAKEN = {"lint": 90, "review": 20, "test": 700, "dags": 480, "train": 130}
"""Seconds of the targets that take minutes, on two quiet cores, without their setup."""
RECEIVED = 50e6
"""Bytes of packages that a runner receives in a second."""
Job = tuple[str, float, list[str]]
"""A job with its seconds and the targets that it sets up."""
CHECKS, PROPOSED = ("pull request", "verdict"), ("event", "promote")
SCENES: dict[str, Callable[[World], object]] = {
    **{kind.name: partial(propose, kind=kind) for kind in KINDS},
    "promotion": promote,
    "rollback": go_back,
    "merge queue": queue,
}
WITH_MODELS = {"promotion", "rollback", *(kind.name for kind in KINDS if kind.models)}
CHAINS = (("setup-gitops", "setup-documents"), ("setup-gitops", "setup-gates"), ("setup",))
STEPS = {
    "Install the checks of documents, metrics and release files": "setup-documents",
    "Install the libraries that compare models": "setup-gates",
}


def setups(folder: Path) -> dict[str, tuple[float, float]]:
    """Measure each target of `make setup`: seconds of processor, and bytes of the packages, compressed."""
    found: dict[str, tuple[float, float]] = {}
    for number, chain in enumerate(CHAINS):
        clone = folder / str(number)
        _run(["git", "clone", "--quiet", str(ROOT), str(clone)], folder)
        for target in chain:
            packages = folder / f"uv-{number}-{target}"
            took = _run(["make", target], clone, UV_CACHE_DIR=str(packages))
            packed = ["sh", "-c", f"tar -C '{packages}' --exclude='./simple-*' -c . | zstd -3 | wc -c"]
            size = int(subprocess.run(packed, check=True, capture_output=True, timeout=900).stdout)
            found[target] = (took, size)
            shutil.rmtree(packages)
    return found


def _run(command: list[str], folder: Path, **variables: str) -> float:
    """Return the seconds of processor of a command."""
    began = processor()
    environment = os.environ | variables
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=1800)
    return processor() - began


def measured(kind: str, folder: Path) -> tuple[float, list[Job]]:
    """Run a kind under act; return its seconds of processor, and each job."""
    workflows = (*PROPOSED, *CHECKS) if kind == "promotion" else CHECKS
    with serve(Forge(folder / "github")) as forge:
        world = World(forge, folder)
        # The model of these kinds is no training's, and does not pass; test_candidate.py has a real one.
        if kind not in WITH_MODELS:
            world.replace("lint-documents", REAL_LINT_DOCUMENTS)
        SCENES[kind](world)
        runs = [world.last(name) for name in workflows]
        return sum(run.processor for run in runs), [job for run in runs for job in _jobs(run)]


def _jobs(run: Run) -> Iterator[Job]:
    for name, result in run.results.items():
        if result.result != "success":
            continue
        first = [] if name in ("comment", "event") else ["setup" if name in TAKEN else "setup-gitops"]
        first = ["setup-gitops"] if name == "review" else first
        more = [target for step, target in STEPS.items() if result.steps.get(step) == "success"]
        yield name, result.seconds + TAKEN.get(name, 0), [*first, *more]


def main(names: list[str]) -> None:
    """Print the table."""
    commit = captured(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True).stdout.strip()
    kept = ROOT / ".visage" / "costs" / f"{commit}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(kept.read_text()) if kept.exists() else {}
    with tempfile.TemporaryDirectory(prefix="visage-costs-") as folder:
        if "setups" not in known:
            known["setups"] = setups(Path(folder))
            kept.write_text(json.dumps(known))
        print("| step | processor | packages |\n|---|---|---|")
        for target, (took, size) in known["setups"].items():
            print(f"| `make {target}` | {took:.0f} s | {size / 1e6:.0f} MB |")
        print("\n| kind | jobs | until the verdict | processor | minutes billed | packages |")
        print("|---|---|---|---|---|---|")
        for number, kind in enumerate(SCENES):
            if names and kind not in names:
                continue
            if kind not in known:
                home = Path(folder) / f"kind-{number}"
                home.mkdir()
                known[kind] = measured(kind, home)
                kept.write_text(json.dumps(known))
            used, ran = known[kind]
            print(_row(kind, used, ran, known["setups"]), flush=True)


def _row(kind: str, used: float, ran: Sequence[Job], known: Mapping[str, tuple[float, float]]) -> str:
    took: dict[str, float] = {}
    fetched = 0.0
    for name, seconds, targets in ran:
        size = sum(known[target][1] for target in targets)
        used += TAKEN.get(name, 0) + sum(known[target][0] for target in targets)
        fetched += size
        took[name] = seconds + sum(known[target][0] for target in targets) + size / RECEIVED
    side_by_side = max((seconds for name, seconds in took.items() if name in TAKEN), default=0)
    until = took["scope"] + side_by_side + took["judge"]
    billed = sum(math.ceil(seconds / 60) for seconds in took.values())
    names = ", ".join(f"`{name}`" for name in took)
    return f"| {kind} | {names} | {_time(until)} | {_time(used)} | {billed} | {fetched / 1e6:.0f} MB |"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main(sys.argv[1:])
