"""Runs a workflow: every `run` of every job in order with bash, as a runner of GitHub Actions does.

Each job gets a machine of its own, which is a folder here: a workspace that only a checkout fills, a home,
the variables of a runner and no others. The marketplace's actions have the effect that they document
(`effects`). A line that is too heavy is replaced only where a story names it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.command import captured
from tests.support.forge import NAME, Forge
from tests.workflows.effects import effect_of
from tests.workflows.expression import Open, UnknownError, condition, expand, shown
from tests.workflows.workflow import Event, Workflow, known, load_action

SELF = "$/"
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
LIMIT = 300


@dataclass
class Result:
    """What came of a job."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    ran: list[str] = field(default_factory=list)
    """Each `run` that was run, as it is in the file."""


@dataclass
class Run:
    """One run of a workflow."""

    workflow: Workflow
    event: Event
    forge: Forge
    folder: Path
    source: Path
    """A checkout of the commit that the workflow is of, for its own actions."""
    replaced: Mapping[str, str]
    variables: Mapping[str, str | None]
    secrets: Mapping[str, str]
    app: tuple[str, str]
    repository: str = NAME

    def __post_init__(self) -> None:
        self.number = self.forge.number()
        self.results: dict[str, Result] = {}
        self.folder.mkdir(parents=True)
        expand(self.workflow.concurrency["group"], {"github": self.github("")}, {})
        self.forge.jobs[self.number] = []
        self.forge.runs[self.number] = self.shown_run(None)

    def execute(self) -> str:
        """Run all jobs, and return the conclusion."""
        waiting = dict(self.workflow.jobs)
        while waiting:
            name = next(one for one in waiting if not set(_needs(waiting[one])) & set(waiting))
            self._job(name, waiting.pop(name))
        results = {one.result for one in self.results.values()}
        conclusion = "failure" if "failure" in results else "success"
        if results == {"skipped"}:
            conclusion = "skipped"
        self.forge.runs[self.number] = self.shown_run(conclusion)
        payload = {"action": "completed", "workflow_run": self.shown_run(conclusion)}
        main = self.forge.sha("main")
        self.forge.events.append(Event("workflow_run", payload, "refs/heads/main", main))
        return conclusion

    def _job(self, name: str, data: Mapping[str, Any]) -> None:
        began = datetime.now(UTC)
        needed = {one: self.results[one] for one in _needs(data)}
        good = all(one.result == "success" for one in needed.values())
        functions = _status(good) | _functions()
        needs = {one: _needed(result) for one, result in needed.items()}
        contexts = {"github": self.github(""), "needs": needs, "vars": self.vars}
        job = Job(self, name, data, needs)
        if condition(str(data.get("if", "success()")), contexts, functions):
            self.results[name] = job.execute()
        else:
            self.results[name] = Result("skipped")
        result = self.results[name]
        title = expand(data["name"], contexts, functions)
        ended = max(datetime.now(UTC), began + timedelta(seconds=1))
        shown_job = {
            "name": title,
            "status": "completed",
            "conclusion": result.result,
            "started_at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
            "completed_at": f"{ended:%Y-%m-%dT%H:%M:%SZ}",
        }
        self.forge.jobs[self.number].append(shown_job)
        self.forge.checks[(self.event.sha, title)] = result.result

    @property
    def vars(self) -> dict[str, str | None]:
        return {} if self.event.fork else dict(self.variables)

    def secrets_of(self, job: Mapping[str, Any]) -> dict[str, str]:
        """Return the secrets of a job. All belong to environments whose policy names main alone."""
        known = "environment" in job and self.event.ref == "refs/heads/main" and not self.event.fork
        return dict(self.secrets) if known else dict.fromkeys(self.secrets, "")

    def github(self, token: str) -> dict[str, Any]:
        """Return the context `github`."""
        return {
            "event": Open(self.event.payload),
            "event_name": self.event.name,
            "head_ref": self.event.head_ref,
            "ref": self.event.ref,
            "ref_name": self.event.ref.removeprefix("refs/").partition("/")[2],
            "repository": self.repository,
            "run_id": str(getattr(self, "number", 0)),
            "server_url": self.forge.url,
            "sha": self.event.sha,
            "token": token,
            "workflow": self.workflow.name,
        }

    def shown_run(self, conclusion: str | None) -> dict[str, Any]:
        """Return what the API says of it."""
        pull = self.event.payload.get("pull_request", {})
        head = pull.get("head", {})
        repository = head.get("repo") or {"full_name": NAME, "owner": {"login": NAME.partition("/")[0]}}
        return {
            "id": self.number,
            "name": self.workflow.name,
            "path": self.workflow.path,
            "event": self.event.name,
            "status": "completed" if conclusion else "in_progress",
            "conclusion": conclusion,
            "head_sha": self.event.sha,
            "head_branch": head.get("ref") or self.event.ref.removeprefix("refs/").partition("/")[2],
            "head_repository": repository,
            # Empty for a fork, as GitHub leaves it.
            "pull_requests": [] if self.event.fork or not pull else [{"number": pull["number"]}],
        }


class Job:
    """One job on its machine."""

    def __init__(self, run: Run, name: str, data: Mapping[str, Any], needs: Mapping[str, Any]) -> None:
        self.run, self.name, self.data = run, name, data
        self.folder = run.folder / name
        self.workspace = self.folder / "work" / "visage" / "visage"
        self.steps: dict[str, Any] = {}
        self.afterwards: list[Callable[[], None]] = []
        self.result = Result("success")
        granted = dict(data["permissions"])
        if run.event.fork:
            granted = dict.fromkeys(granted, "read")
        self.token = run.forge.token(f"actions:{name}", granted, starts_workflows=False)
        self.contexts: dict[str, Any] = {
            "github": run.github(self.token),
            "needs": dict(needs),
            "runner": {"os": "Linux", "temp": str(self.folder / "temp")},
            "secrets": run.secrets_of(data),
            "steps": self.steps,
            "vars": run.vars | dict.fromkeys(set(run.variables) - set(run.vars)),
        }
        self._own: dict[str, str] = {}

    def execute(self) -> Result:
        """Run all steps, and return what came of the job."""
        for folder in (self.workspace, self.folder / "temp", self.folder / "home"):
            folder.mkdir(parents=True)
        self.askpass = self.folder / "askpass"
        self.askpass.write_text(
            '#!/bin/sh\ncase "$1" in U*) echo x-access-token;; *) echo "$JOB_TOKEN";; esac\n'
        )
        self.askpass.chmod(0o755)
        event = self.folder / "event.json"
        event.write_text(json.dumps(self.run.event.payload))
        self.base = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": f"{self.run.forge.url}/api",
            "GITHUB_EVENT_NAME": self.run.event.name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_HEAD_REF": self.run.event.head_ref,
            "GITHUB_JOB": self.name,
            "GITHUB_REF": self.run.event.ref,
            "GITHUB_REPOSITORY": self.run.repository,
            "GITHUB_RUN_ID": str(self.run.number),
            "GITHUB_SERVER_URL": self.run.forge.url,
            "GITHUB_SHA": self.run.event.sha,
            "GITHUB_WORKSPACE": str(self.workspace),
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.folder / "temp"),
            # Of this machine's own: where git must look for nothing.
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
        }
        self.add_command("gh")
        job_env = self._expanded(self.data.get("env", {}))
        self.contexts["env"] = job_env
        for step in self.data["steps"]:
            self._step(step, job_env)
        if self.result.result == "success":
            for action in reversed(self.afterwards):
                action()
        self.result.outputs = self._expanded(self.data.get("outputs", {}), lenient=True)
        return self.result

    def add_path(self, folder: Path) -> None:
        """Put a folder before all others on the PATH of the steps to come."""
        self.base["PATH"] = f"{folder}{os.pathsep}{self.base['PATH']}"

    def add_command(self, name: str) -> None:
        """Put the stand-in for a command, which is a script beside this file, on the PATH."""
        folder = self.folder / f"command-{name}"
        folder.mkdir()
        (folder / name).write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name(name)}.py" "$@"\n'
        )
        (folder / name).chmod(0o755)
        self.add_path(folder)

    def _step(self, step: Mapping[str, Any], env: Mapping[str, str]) -> None:
        title = step.get("name") or step.get("uses")
        good = self.result.result == "success"
        functions = _status(good) | _functions(self.workspace)
        name = step.get("id")
        if not condition(str(step.get("if", "success()")), self.contexts | {"env": env}, functions):
            self._record(name, "skipped", {})
            return
        outcome, outputs = "success", {}
        self.result.log += f"\n## {title}\n"
        try:
            if "uses" in step:
                outputs = self._use(step, env)
            else:
                outputs = self._run(step, {**env, **self._expanded(step.get("env", {}))})
        except (AssertionError, subprocess.CalledProcessError) as error:
            outcome = "failure"
            self.result.result = "failure"
            self.result.log += f"{error}\n"
        self._record(name, outcome, outputs)

    def _record(self, name: str | None, outcome: str, outputs: Mapping[str, str]) -> None:
        if name:
            # What a step that was skipped or failed did not say is empty; of one that ran, it is misspelt.
            kept = dict(outputs) if outcome == "success" else Open(outputs)
            self.steps[name] = {"outputs": kept, "outcome": outcome, "conclusion": outcome}

    def _use(self, step: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, str]:
        uses = str(step["uses"])
        inputs = self._expanded(step.get("with", {}))
        if uses.startswith(SELF):
            # Resolved at the commit of the workflow, whatever is checked out.
            action = self.run.source / uses.removeprefix(SELF) / "action.yml"
            defaults, steps = load_action(action)
            known(inputs, set(defaults), uses)
            self.contexts["inputs"] = defaults | inputs
            for inner in steps:
                self._step(inner, env)
                if self.result.result != "success":
                    raise AssertionError(f"{uses}: {inner.get('name') or inner.get('uses')} failed")
            del self.contexts["inputs"]
            return {}
        self._expanded(step.get("env", {}))  # no effect here reads it, but it has to be understood
        return effect_of(uses)(self, inputs)

    def _run(self, step: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, str]:
        text = str(step["run"]).strip()
        if "${{" in text:
            raise UnknownError(f"{text}: an expression in a script")
        self.result.ran.append(text)
        files = {
            name: self.folder / f"{name}-{uuid.uuid4()}" for name in ("output", "env", "path", "summary")
        }
        for file in files.values():
            file.touch()
        given = {
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_ENV": str(files["env"]),
            "GITHUB_PATH": str(files["path"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
        }
        script = self.folder / "script.sh"
        script.write_text(self.run.replaced.get(text, text))
        self.result.log += f"$ {text}\n"
        done = subprocess.run(
            [*BASH, str(script)],
            cwd=self.workspace,
            env={**self.base, **self._own, **env, **given},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        self.result.log += done.stdout
        self.result.summary += files["summary"].read_text()
        self._own |= _assignments(files["env"].read_text())
        for line in reversed(files["path"].read_text().splitlines()):
            self.add_path(Path(line))
        outputs = _assignments(files["output"].read_text())
        assert done.returncode == 0, f"Process completed with exit code {done.returncode}."
        return outputs

    def _expanded(self, values: Mapping[str, Any], *, lenient: bool = False) -> dict[str, str]:
        contexts = self.contexts
        if lenient:
            # The outputs of a job that failed early are empty.
            contexts = contexts | {"steps": Open(self.steps)}
        functions = _functions(self.workspace)
        return {key: expand(shown(value), contexts, functions) for key, value in values.items()}


def _needs(data: Mapping[str, Any]) -> list[str]:
    return list(data.get("needs", []))


def _needed(result: Result) -> dict[str, Any]:
    ran = result.result == "success"
    return {"result": result.result, "outputs": result.outputs if ran else Open(result.outputs)}


def _status(good: bool) -> dict[str, Callable[..., Any]]:
    return {
        "always": lambda: True,
        "success": lambda: good,
        "failure": lambda: not good,
        "cancelled": lambda: False,
    }


def _functions(workspace: Path | None = None) -> dict[str, Callable[..., Any]]:
    def hash_files(*patterns: str) -> str:
        assert workspace is not None
        files = sorted({file for one in patterns for file in workspace.glob(one) if file.is_file()})
        if not files:
            raise UnknownError(f"hashFiles{patterns}: no such file, of which GitHub makes an empty string")
        digest = hashlib.sha256()
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    return {"hashFiles": hash_files, "startsWith": lambda text, start: str(text).startswith(start)}


def _assignments(text: str) -> dict[str, str]:
    """Read what a step wrote into GITHUB_OUTPUT or GITHUB_ENV."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, sign, value = line.partition("=")
        if "<<" in name:
            name, _, end = line.partition("<<")
            body = []
            for more in lines:
                if more == end:
                    break
                body.append(more)
            value, sign = "\n".join(body), "<<"
        assert sign, f"Unable to process file command: Invalid format {line!r}"
        found[name] = value
    return found


def copy(source: Path, target: Path) -> None:
    """Copy a checkout's files, as git knows them now, without its history."""
    listed = captured(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=source, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
