"""A world with one repository on the stand-in for GitHub, its workflows, and what happens to it."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from gitops.release.keys import PrivateKey, path_of
from tests.support.environments import THESE
from tests.support.forge import Event, Forge
from tests.support.forge_server import serve
from tests.support.lab import Lab
from tests.workflows.act import Run, Workflow, copy

ROOT = Path(__file__).resolve().parents[2]
APP = ("Iv1.app", "-----key-----")
CODE = "src/face_attributes/common/tiny.py"

# A pipeline that takes no time: its figures depend on the code of the commit and on nothing else.
DVC = b"""stages:
  evaluate:
    cmd: python tiny_pipeline.py
    params: [profile]
    deps: [tiny_pipeline.py, src/face_attributes/common/tiny.py]
    outs:
      - metrics/evaluation.json: {cache: false}
      - plots/learning_curve.csv: {cache: false}
"""
PIPELINE = b"""import json
from pathlib import Path

import yaml

from face_attributes.common.tiny import ACCURACY

profile = yaml.safe_load(Path("params.yaml").read_text())["profile"]
for folder in ("metrics", "plots"):
    Path(folder).mkdir(exist_ok=True)
figures = {
    "profile": profile,
    "mean_accuracy": ACCURACY,
    "majority_accuracy": 0.5,
    "model_sha256": str(ACCURACY).replace(".", "").ljust(64, "0"),
    "samples": 100,
}
figures["per_attribute"] = {"Smiling": {"accuracy": ACCURACY}}
Path("metrics/evaluation.json").write_text(json.dumps(figures))
Path("plots/learning_curve.csv").write_text(
    "epoch,train_loss,validation_loss,validation_accuracy\\n1,1,1,0.5\\n2,0.5,0.6,0.7\\n"
)
"""

# `make lint` itself, in the virtual environment of the tests. Left out are two hooks that run pytest on files
# which this world has not.
_INSTALLED = f"""rm -rf .venv
ln -s '{sys.prefix}' .venv
touch -d @0 infra/uv.txt requirements.lock pyproject.toml src/*/pyproject.toml
export PATH=/usr/local/bin:/usr/bin:/bin
"""
REAL_LINT = f"""{_INSTALLED}mkdir benchmarks
SKIP=dags,docs make lint
"""
# The tests refuse the .venv of another checkout, which this one has, with the same code.
REAL_LINT_DOCUMENTS = f"""{_INSTALLED}cp -r '{ROOT}/tests' '{ROOT}/benchmarks' .
sed -i '/raise pytest.UsageError(/,/^        )/s/.*//; s/^    if own.is_dir() and .*//' tests/conftest.py
make lint-documents
"""
COMMANDS = Path(__file__).with_name("commands")
VARIABLES = {
    "DVC_REMOTE_ROLE": "",
    "RUNNER_PRICE_PER_MINUTE": "0.006",
    "VISAGE_APP_CLIENT_ID": APP[0],
    "VISAGE_TRUST_ROOT": "",
}
SECRETS = {
    "DVC_REMOTE_ACCESS_KEY_ID": "",
    "DVC_REMOTE_SECRET_ACCESS_KEY": "",
    "VISAGE_APP_PRIVATE_KEY": APP[1],
}


class World:
    """A repository on the stand-in for GitHub, and everybody who works with it."""

    def __init__(self, forge: Forge, folder: Path) -> None:
        self.forge, self.folder = forge, folder
        self.source = folder / "source"
        copy(ROOT, self.source)
        # The steps that would run them are replaced, and every job checks all files out.
        for name in ("benchmarks", "tests"):
            shutil.rmtree(self.source / name)
        # Nor does this world begin with the model that the repository may have.
        for name in ("metrics", "search"):
            shutil.rmtree(self.source / name, ignore_errors=True)
        (self.source / "dvc.lock").unlink(missing_ok=True)
        files = {"dvc.yaml": DVC, "tiny_pipeline.py": PIPELINE, CODE: b"ACCURACY = 0.7\n"}
        for name in THESE:
            files[path_of(name)] = self.key(name).line(name)
        for name, content in files.items():
            (self.source / name).write_bytes(content)
        checkout = Repository(self.source)
        checkout.git("init", "--quiet", "--initial-branch=main", "--template=")
        checkout.git("add", "--all")
        checkout.git("commit", "--quiet", "-m", "Start", env=checkout.identity())
        forge.repository.path.mkdir(parents=True)
        forge.repository.git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
        forge.repository.git("config", "http.receivepack", "true")
        checkout.git("push", "--quiet", str(forge.repository.path), "HEAD:refs/heads/main")
        self.workflows = [Workflow(path) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))]
        self.runs: list[Run] = []
        names = ("caches", "commands", "replaced")
        self.caches, self.commands, self.replaced = (folder / name for name in names)
        for path in (self.caches, self.commands, self.replaced):
            path.mkdir()
        for name in ("cml", "gh"):
            self._command(name, f"exec '{sys.executable}' '{COMMANDS / name}.py' \"$@\"")
        variables = f"REPLACED='{self.replaced}' PYTHON='{sys.executable}' COMMANDS='{COMMANDS}'"
        self._command("make", f"{variables} exec sh '{COMMANDS / 'make.sh'}' \"$@\"")

    def _command(self, name: str, line: str) -> None:
        (self.commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.commands / name).chmod(0o755)

    def replace(self, target: str, script: str) -> None:
        """Let a target of make run a script."""
        (self.replaced / target).write_text(script)

    def workflow(self, name: str) -> Workflow:
        return next(one for one in self.workflows if one.name == name)

    def commit(self, files: Mapping[str, bytes | None], message: str, *, on: str = "main") -> str:
        return self.forge.repository.commit_files(self.forge.sha(on), files, message)

    def start(self, workflow: Workflow, event: Event) -> Run:
        """Make a run of a workflow, which `execute` then runs."""
        run = Run(workflow, event, self.forge, self.folder / "runs" / str(len(self.runs)), self.source)
        self.runs.append(run)
        return run

    def strike(self, cron: str) -> None:
        """Let it be the time that a line of cron names."""
        self.forge.events.append(
            Event("schedule", {"schedule": cron}, "refs/heads/main", self.forge.sha("main"))
        )

    def happen(self, *only: str) -> dict[str, str]:
        """Let GitHub start what the events start, until nothing is left; return each conclusion by name.

        With names, only those workflows are started.
        """
        conclusions: dict[str, str] = {}
        while self.forge.events:
            event = self.forge.events.pop(0)
            for workflow in self.workflows:
                wanted = not only or workflow.name in only
                if wanted and workflow.starts(event) and self._touches(workflow, event):
                    run = self.start(workflow, event)
                    conclusions[workflow.name] = run.execute(self.commands, self.caches, VARIABLES, SECRETS)
        return conclusions

    def _touches(self, workflow: Workflow, event: Event) -> bool:
        """Return whether a push changes one of the files that a workflow is started by."""
        paths = (workflow.on.get("push") or {}).get("paths") if event.name == "push" else None
        if not paths:
            return True
        changed = self.forge.repository.changed(event.payload["before"], event.sha)
        return not set(paths).isdisjoint(changed)

    def last(self, name: str) -> Run:
        return next(run for run in reversed(self.runs) if run.workflow.name == name)

    def checks(self, name: str = "pull request") -> dict[str, str]:
        """Return the result of each job of the last run of a workflow."""
        return {job: result.result for job, result in self.last(name).results.items()}

    def log(self, name: str) -> str:
        """Everything that the last run of a workflow printed."""
        return "\n".join(result.log for result in self.last(name).results.values())

    def key(self, environment: str) -> PrivateKey:
        """Return the key of an environment."""
        return PrivateKey.create(self.folder / "keys" / environment)

    def verify(self, environment: str, commit: str, verdict: str = "verified") -> None:
        """Publish an environment's verdict, signed with its key and pushed with its deploy key."""
        made = Lab.verdict(environment, commit, verdict)
        key = self.key(environment)
        tag = self.forge.repository.tag(commit, made.tag, made.message, at=made.at, sign=key.sign)
        self.forge.push(f"refs/tags/{made.tag}", tag, actor=f"deploy key of {environment}")

    def declared(self, environment: str) -> str:
        content = self.forge.repository.read("main", f"environments/{environment}/release.yaml")
        assert content is not None
        return content.decode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serve(Forge(tmp_path / "github")) as forge:
        yield World(forge, tmp_path)
