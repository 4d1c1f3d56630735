"""Runs a workflow with act, on this machine and without containers.

act takes the file as GitHub would, with these exceptions: actions of the marketplace are stand-ins
(`stand_ins`); act does not know `$/`, hands every job the same token and secrets, and needs Node for
`hashFiles`, so a job's copy here names its own token, and has the secrets of its environment alone.
"""

import fnmatch
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.command import captured, processor
from tests.support.forge import NAME, Event, Forge
from tests.workflows import stand_ins

SELF = "visage/self"
ACT = Path(sys.executable).with_name("act")


@dataclass
class Result:
    """The result of a job."""

    result: str = "skipped"
    log: str = ""
    summary: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    """The result of each step by its name, or by its command."""
    seconds: float = 0


class Workflow:
    """One workflow file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Not PyYAML, to which the key `on` is the word for true.
        self.data: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text())
        self.name: str = self.data["name"]
        self.on: dict[str, Any] = self.data["on"]
        self.jobs: dict[str, dict[str, Any]] = self.data["jobs"]

    def starts(self, event: Event) -> bool:
        """Whether an event starts it. act asks for the name of the event only."""
        wanted = self.on.get(event.name, ()) or {}
        match event.name:
            case _ if event.name not in self.on:
                return False
            case "push":
                kind, _, name = event.ref.removeprefix("refs/").partition("/")
                patterns = wanted.get({"heads": "branches", "tags": "tags"}[kind], ())
                return any(
                    fnmatch.fnmatchcase(name, pattern)
                    # A single star stands for no slash, a double one for anything.
                    and ("**" in pattern or name.count("/") == pattern.count("/"))
                    for pattern in patterns
                )
            case "pull_request":
                return event.payload["pull_request"]["base"]["ref"] in wanted["branches"]
            case "workflow_run":
                return event.payload["workflow_run"]["name"] in wanted["workflows"]
            case "schedule":
                return {"cron": event.payload["schedule"]} in wanted
            case _:
                return True


class Run:
    """One run of a workflow."""

    def __init__(self, workflow: Workflow, event: Event, forge: Forge, folder: Path, source: Path) -> None:
        self.workflow, self.event, self.forge = workflow, event, forge
        self.folder, self.source = folder, source
        self.number = forge.number()
        self.processor = 0.0
        """The seconds of processor that it used."""
        self.results = {name: Result() for name in workflow.jobs}
        forge.jobs[self.number] = []
        forge.runs[self.number] = self.shown(None)

    def execute(
        self, commands: Path, caches: Path, variables: Mapping[str, str], secrets: Mapping[str, str]
    ) -> str:
        """Run it, and return the conclusion; the programs in `commands` come first on the PATH."""
        for name in ("home", "actions", "workflow"):
            (self.folder / name).mkdir(parents=True)
        stand_ins.write(self.folder / "actions")
        (self.folder / "event.json").write_text(json.dumps(self.event.payload))
        copy = self.folder / "workflow" / "copy.yml"
        copy.write_text(json.dumps(self._copy(secrets)))
        # For what the stand-ins ask, which is no step of a job.
        token = self.forge.token("runner", {"actions": "write", "contents": "read"})
        given = {
            "GITHUB_API_URL": f"{self.forge.url}/api",
            "GITHUB_REF": self.event.ref,
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_RUN_ID": str(self.number),
            "GITHUB_SERVER_URL": self.forge.url,
            "SHA_REF": self.event.sha,
            "STAND_IN_CACHES": str(caches),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "LANG": "C.UTF-8",
        }
        options = [f"--env={key}={value}" for key, value in given.items()]
        options += [f"--var={key}={value}" for key, value in variables.items()]
        options += [f"--local-repository={SELF}@main={self.source}"]
        options += [
            f"--local-repository={repository}@{version}={self.folder}/actions/{repository}"
            for repository, version in self._used()
        ]
        command = [ACT, self.event.name, "--workflows", copy, "--eventpath", self.folder / "event.json"]
        command += ["--platform=ubuntu-24.04=-self-hosted", "--no-skip-checkout", "--no-cache-server"]
        command += ["--json", f"--secret=GITHUB_TOKEN={token}", *options]
        home = self.folder / "home"
        path = f"{commands}:/usr/local/bin:/usr/bin:/bin"
        before = processor()
        done = captured(
            command, cwd=self.source, timeout=1200, env={"HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}
        )
        self.processor = processor() - before
        self._read(done.stdout)
        results = {result.result for result in self.results.values()}
        assert results != {"skipped"} or "no jobs to run" not in done.stderr, done.stderr
        assert done.returncode == 0 or "failure" in results, done.stderr + done.stdout[-2000:]
        conclusion = "failure" if "failure" in results else "success"
        self.end("skipped" if results == {"skipped"} else conclusion)
        shutil.rmtree(home)
        return str(self.forge.runs[self.number]["conclusion"])

    def end(self, conclusion: str) -> None:
        """Let it be over, which is an event."""
        self.forge.runs[self.number] = self.shown(conclusion)
        payload = {"action": "completed", "workflow_run": self.shown(conclusion)}
        self.forge.events.append(Event("workflow_run", payload, "refs/heads/main", self.forge.sha("main")))

    def add_job(self, name: str, conclusion: str, seconds: float = 1, log: str = "") -> None:
        """Let the API answer that the run had a job."""
        job, began = self.forge.number(), datetime(2026, 1, 1)
        self.forge.logs[job] = log
        self.forge.jobs[self.number].append(
            {
                "id": job,
                "name": name,
                "status": "completed",
                "conclusion": conclusion,
                "html_url": f"{self.forge.url}/{NAME}/actions/runs/{self.number}/job/{job}",
                "started_at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
                "completed_at": f"{began + timedelta(seconds=max(1, round(seconds))):%Y-%m-%dT%H:%M:%SZ}",
            }
        )
        self.forge.checks[(self.event.sha, name)] = conclusion

    def _copy(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        jobs: dict[str, Any] = {}
        for name, job in self.workflow.jobs.items():
            granted = dict(job["permissions"])
            if self.event.fork:
                granted = dict.fromkeys(granted, "read")
            text = re.sub(r'"\$/([\w./-]+)"', rf'"{SELF}/\1@main"', json.dumps(job))
            token = self.forge.token(f"actions:{name}", granted, starts_workflows=False)
            text = text.replace("${{ github.token }}", token)
            # The policy of each environment names main alone.
            known = secrets if "environment" in job and self.event.ref == "refs/heads/main" else {}
            for key in secrets:
                text = text.replace(f"${{{{ secrets.{key} }}}}", known.get(key, ""))
            jobs[name] = json.loads(re.sub(r"\$\{\{ hashFiles\((.*?)\) \}\}", self._hash, text))
        return self.workflow.data | {"jobs": jobs}

    def _hash(self, found: re.Match[str]) -> str:
        paths = [path.strip().strip("'") for path in found[1].split(",")]
        files = captured(["git", "ls-files", "--stage", *paths], cwd=self.source, check=True).stdout
        assert files, f"hashFiles({found[1]}): no such file, of which GitHub makes an empty string"
        return hashlib.sha256(files.encode()).hexdigest()

    def _used(self) -> set[tuple[str, str]]:
        """The repositories of actions, each with its commit."""
        actions = sorted(self.source.glob(".github/actions/*/action.yml"))
        text = "".join(path.read_text() for path in [self.workflow.path, *actions])
        used = set(re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*@([0-9a-f]{40})", text))
        return {
            (name, version)
            for name, version in used
            if any(one.startswith(name) for one in stand_ins.ACTIONS)
        }

    def _read(self, output: str) -> None:
        began: dict[str, datetime] = {}
        for line in filter(lambda line: line.startswith("{"), output.splitlines()):
            record = json.loads(line)
            name = record.get("jobID")
            if name is None:
                continue
            result, at = self.results[name], datetime.fromisoformat(record["time"])
            began.setdefault(name, at)
            if record.get("command") == "summary":
                result.summary += record["content"]
            elif record.get("raw_output"):
                result.log += record["msg"]
            elif "stepResult" in record and record.get("stage") == "Main":
                result.steps[record["step"]] = record["stepResult"]
            elif record.get("level") == "error":
                result.log += f"{record['msg']}\n"
            if "jobResult" in record:
                result.result, result.seconds = record["jobResult"], (at - began[name]).total_seconds()
        for name, result in self.results.items():
            self.add_job(self.workflow.jobs[name]["name"], result.result, result.seconds, result.log)

    def shown(self, conclusion: str | None) -> dict[str, Any]:
        """Return the answer of the API about it."""
        pull = self.event.payload.get("pull_request", {})
        head = pull.get("head", {})
        repository = head.get("repo") or {"full_name": NAME, "owner": {"login": NAME.partition("/")[0]}}
        return {
            "id": self.number,
            "name": self.workflow.name,
            "path": f".github/workflows/{self.workflow.path.name}",
            "event": self.event.name,
            "status": "completed" if conclusion else "in_progress",
            "conclusion": conclusion,
            "head_sha": self.event.sha,
            "head_branch": head.get("ref") or self.event.ref.removeprefix("refs/").partition("/")[2],
            "head_repository": repository,
            # Empty for a fork, as GitHub leaves it.
            "pull_requests": [] if self.event.fork or not pull else [{"number": pull["number"]}],
        }


def copy(source: Path, target: Path) -> None:
    """Copy a checkout's files, as git knows them now, without its history."""
    listed = captured(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=source, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
