"""Measures the jobs of each kind of pull request, and prints the table of docs/github-workflows.md.

    .venv/bin/python -m tests.workflows.costs [KIND ...]

Measured here: every step that is not replaced under act, each target of `make setup` with a warm cache, and
`make lint-documents`. Taken from `TAKEN`: the targets that act replaces. Calculated: the restoring of caches.
"""

import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.forge import NAME, Forge
from tests.support.forge_server import serve
from tests.workflows.conftest import REAL_LINT_DOCUMENTS, ROOT, World
from tests.workflows.test_kinds import KINDS, Kind

TAKEN = {"lint": 90, "review": 20, "test": 700, "dags": 480, "train": 130}
"""Seconds of the targets that take minutes, on two quiet cores, without their setup."""
RESTORED = 50e6
"""Bytes of a cache that a runner restores in a second."""
WHEEL = 22_000_000
"""Bytes of uv, which each setup downloads."""
CHAINS = (("setup-gitops", "setup-documents"), ("setup-gitops", "setup-gates"), ("setup",))
STEPS = {
    "Install the checks of documents, metrics and release files": "setup-documents",
    "Install the libraries that compare models": "setup-gates",
}


def setups(folder: Path) -> dict[str, tuple[float, int]]:
    """Return the seconds of processor with a warm cache, and the bytes of the cache, of each `make setup`."""
    found: dict[str, tuple[float, int]] = {}
    for number, chain in enumerate(CHAINS):
        clone = folder / str(number)
        _run(["git", "clone", "--quiet", str(ROOT), str(clone)], folder)
        for _ in ("cold", "warm"):
            _run(["rm", "-rf", ".venv"], clone)
            for target in chain:
                cache = folder / f"uv-{number}-{target}"
                seconds = _run(["make", target], clone, UV_CACHE_DIR=str(cache))
                _run(["make", "trim-cache"], clone, UV_CACHE_DIR=str(cache))
                if target in found and found[target][0] < seconds:
                    continue
                packed = ["sh", "-c", f"tar -C '{cache}' -c . | zstd -3 | wc -c"]
                size = int(subprocess.run(packed, check=True, capture_output=True, timeout=900).stdout)
                found[target] = (seconds, size)
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
        print("| target | seconds of processor with a warm cache | MB of its cache |\n|---|---|---|")
        for target, (seconds, size) in known.items():
            print(f"| `make {target}` | {seconds:.0f} | {size / 1e6:.0f} |")
        print("\n| kind | jobs | until the verdict | sum of the jobs | minutes billed | caches | fetched |")
        print("|---|---|---|---|---|---|---|")
        for number, kind in enumerate(KINDS):
            if names and kind.name not in names:
                continue
            home = Path(folder) / f"kind-{number}"
            home.mkdir()
            print(_row(kind, list(jobs(kind, home)), known), flush=True)


def _row(kind: Kind, ran: list[tuple[str, float, list[str]]], known: dict[str, tuple[float, int]]) -> str:
    took: dict[str, float] = {}
    fetched, caches = 0.0, set[str]()
    for name, seconds, targets in ran:
        restored = sum(known[target][1] for target in targets)
        caches |= set(targets)
        fetched += restored + WHEEL * bool(targets)
        took[name] = seconds + sum(known[target][0] for target in targets) + restored / RESTORED
    side_by_side = max((seconds for name, seconds in took.items() if name in TAKEN), default=0)
    until = took["scope"] + side_by_side + took["judge"]
    total = sum(took.values())
    billed = sum(math.ceil(seconds / 60) for seconds in took.values())
    kept = sum(known[target][1] for target in caches)
    names = ", ".join(f"`{name}`" for name in took)
    return (
        f"| {kind.name} | {names} | {_time(until)} | {_time(total)} | {billed} | {kept / 1e6:.0f} MB "
        f"| {fetched / 1e6:.0f} MB |"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main(sys.argv[1:])
