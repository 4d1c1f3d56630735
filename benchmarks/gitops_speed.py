"""How long the commands of `gitops` take, each as a user starts it.

    python -m benchmarks.gitops_speed [--main 500] [--rounds 5]

On a repository of its own: an origin whose main has many commits, three Airflows that answer at once, a DVC
remote in a folder. Prints a table of medians and exits with 1 where one is over its limit.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.turns import seconds
from gitops.release.file import ENVIRONMENTS
from tests.gitops.conftest import Lab, model_files
from tests.gitops.fake_airflow import FakeAirflow

LIMITS = {"status": 2.0, "check": 2.0, "rollback": 5.0}
"""Seconds."""


def main() -> None:
    """Print what each command takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--main", type=int, default=500, help="commits on main (default: 500)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (default: 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary, contextlib.ExitStack() as stack:
        lab = Lab(Path(temporary) / "lab")
        fakes = {environment: stack.enter_context(FakeAirflow()) for environment in ENVIRONMENTS}
        variables = _prepare(lab, Path(temporary), arguments.main, fakes)

        def run(*command: str) -> None:
            subprocess.run(
                [sys.executable, "-m", "gitops", *command],
                cwd=lab.clone.path,
                env=variables,
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=120,
            )

        commands = {
            "status": lambda: run("status", "--json"),
            "check": lambda: run("check", "--head", "promote/prod"),
            "rollback": lambda: run("rollback", "staging"),
        }
        times = seconds(commands, arguments.rounds)
    table = Table("command", "seconds", "limit")
    for name, limit in LIMITS.items():
        table.add_row(name, f"{times[name]:.2f}", f"{limit:.0f}")
    Console().print(table)
    sys.exit(any(times[name] > limit for name, limit in LIMITS.items()))


def _prepare(lab: Lab, folder: Path, commits: int, fakes: dict[str, FakeAirflow]) -> dict[str, str]:
    """Release two models to staging, one of them to prod, and propose the other; bury them under commits."""
    home = folder / "home"
    config = home / "dvc" / "config"
    config.parent.mkdir(parents=True)
    storage = folder / "dvc-remote"
    config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {storage}\n")
    for name in ("a", "b"):
        lab.train(name)
        digest = json.loads(model_files(name)["metrics/evaluation.json"])["model_sha256"][:32]
        file = storage / "files" / "md5" / digest[:2] / digest[2:]
        file.parent.mkdir(parents=True)
        file.write_bytes(b"model")
        running = lab.release("staging")
        if name == "a":
            lab.release("prod")
            first = running
        for number in range(commits // 2):
            lab.land({"README.md": f"{name} {number}\n".encode()})
    lab.promote("prod")
    for environment, commit in {"dev": running, "staging": running, "prod": first}.items():
        fakes[environment].dag("example", commit)
    access = folder / "access.json"
    known = {
        environment: {
            "url": fake.access.url,
            "username": fake.access.username,
            "password": fake.access.password.get_secret_value(),
        }
        for environment, fake in fakes.items()
    }
    access.write_text(json.dumps(known))
    foreign = ("GIT_", "GITOPS_", "DVC_")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
        "HOME": str(home),
        "GITOPS_ACCESS": str(access),
        "DVC_GLOBAL_CONFIG_DIR": str(config.parent),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
    }


if __name__ == "__main__":
    main()
