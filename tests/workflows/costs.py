"""Measures the jobs of each kind of pull request, and prints the table of docs/github-workflows.md.

    .venv/bin/python -m tests.workflows.costs [KIND ...]

Measured here: every step that is not replaced under act, each target of `make setup` with a cold and a warm
cache, and `make lint-documents`. Taken from `TAKEN`: the targets that act replaces. Calculated: the time that
bytes take.
"""

import math
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.forge import NAME, Forge
from tests.support.forge_server import serve
from tests.workflows.conftest import REAL_LINT_DOCUMENTS, ROOT, World
from tests.workflows.test_kinds import KINDS, Kind

TAKEN = {"lint": 90, "review": 20, "test": 700, "dags": 480, "train": 130}
"""Seconds of the targets that take minutes, on two quiet cores, without their setup."""
RESTORED = 50e6
"""Bytes of a cache or of packages that a runner fetches in a second."""
WHEEL = 22_000_000
"""Bytes of uv, which each setup downloads."""
CHAINS = (("setup-gitops", "setup-documents"), ("setup-gitops", "setup-gates"), ("setup",))
STEPS = {
    "Install the checks of documents, metrics and release files": "setup-documents",
    "Install the libraries that compare models": "setup-gates",
}


@dataclass(frozen=True)
class Setup:
    """Seconds of processor of a target of `make setup` without and with a cache, and bytes of the cache."""

    cold: float
    warm: float
    size: int


def setups(folder: Path) -> dict[str, Setup]:
    """Measure each target of `make setup`."""
    found: dict[str, Setup] = {}
    for number, chain in enumerate(CHAINS):
        clone = folder / str(number)
        _run(["git", "clone", "--quiet", str(ROOT), str(clone)], folder)
        took: dict[str, list[float]] = defaultdict(list)
        for _ in ("cold", "warm"):
            _run(["rm", "-rf", ".venv"], clone)
            for target in chain:
                cache = str(folder / f"uv-{number}-{target}")
                took[target].append(_run(["make", target], clone, UV_CACHE_DIR=cache))
                _run(["make", "trim-cache"], clone, UV_CACHE_DIR=cache)
        for target in chain:
            packed = ["sh", "-c", f"tar -C '{folder}/uv-{number}-{target}' -c . | zstd -3 | wc -c"]
            size = int(subprocess.run(packed, check=True, capture_output=True, timeout=900).stdout)
            cold, warm = took[target]
            found[target] = Setup(cold, warm, size)
    return found


def _run(command: list[str], folder: Path, **variables: str) -> float:
    """Return the seconds of processor, which other work of the machine does not change."""
    began = _processor()
    environment = os.environ | variables
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=1800)
    return _processor() - began


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def jobs(kind: Kind, folder: Path) -> Iterator[tuple[str, float, list[str]]]:
    """Run a kind under act; yield each job with its seconds and the targets that it sets up."""
    with serve(Forge(folder / "github")) as forge:
        world = World(forge, folder)
        # The model of these kinds is no training's, and does not pass; test_candidate.py has a real one.
        if not kind.models:
            world.replace("lint-documents", REAL_LINT_DOCUMENTS)
        commit = world.commit(kind.files, f"Change: {kind.name}")
        if kind.fork == NAME:
            forge.push(f"refs/heads/{kind.branch}", commit)
        forge.events.clear()
        forge.open_pull(kind.branch, kind.name, fork=kind.fork, commit=commit)
        done = world.happen("pull request", "verdict")
        assert set(done.values()) == {"success"}, (done, world.log("pull request"))
        for workflow in ("pull request", "verdict"):
            for name, result in world.last(workflow).results.items():
                if result.result != "success":
                    continue
                first = [] if name == "comment" else ["setup" if name in TAKEN else "setup-gitops"]
                first = ["setup-gitops"] if name == "review" else first
                more = [target for step, target in STEPS.items() if result.steps.get(step) == "success"]
                yield name, result.seconds + TAKEN.get(name, 0), [*first, *more]


def main(names: list[str]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="visage-costs-") as folder:
        known = setups(Path(folder))
        print("| step | processor | with its cache | cache |\n|---|---|---|---|")
        for target, one in known.items():
            print(f"| `make {target}` | {one.cold:.0f} s | {one.warm:.0f} s | {one.size / 1e6:.0f} MB |")
        print("\n| kind | jobs | until the verdict | sum of the jobs | minutes billed | caches | fetched |")
        print("|---|---|---|---|---|---|---|")
        for number, kind in enumerate(KINDS):
            if names and kind.name not in names:
                continue
            home = Path(folder) / f"kind-{number}"
            home.mkdir()
            print(_row(kind, list(jobs(kind, home)), known), flush=True)


def _row(kind: Kind, ran: list[tuple[str, float, list[str]]], known: dict[str, Setup]) -> str:
    took: dict[str, float] = {}
    fetched, caches = 0.0, set[str]()
    for name, seconds, targets in ran:
        # A job with a key takes no cache.
        processor = sum(known[target].cold if name == "judge" else known[target].warm for target in targets)
        size = sum(known[target].size for target in targets)
        caches |= set(targets) if name != "judge" else set()
        fetched += size + WHEEL * bool(targets)
        took[name] = seconds + processor + size / RESTORED
    side_by_side = max((seconds for name, seconds in took.items() if name in TAKEN), default=0)
    until = took["scope"] + side_by_side + took["judge"]
    total = sum(took.values())
    billed = sum(math.ceil(seconds / 60) for seconds in took.values())
    kept = sum(known[target].size for target in caches)
    names = ", ".join(f"`{name}`" for name in took)
    return (
        f"| {kind.name} | {names} | {_time(until)} | {_time(total)} | {billed} | {kept / 1e6:.0f} MB "
        f"| {fetched / 1e6:.0f} MB |"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main(sys.argv[1:])
