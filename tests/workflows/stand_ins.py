"""Stand-ins for the actions of the marketplace, which no registry of packages has.

`write` makes an `action.yml` for each, which act runs in the place of the real action; its only step is this
file, run as a script. An action does what it documents for the inputs that the workflows give, and no more.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

Inputs = Mapping[str, str]
API = os.environ.get("GITHUB_API_URL", "")
REPOSITORY = f"{API}/repos/{os.environ.get('GITHUB_REPOSITORY')}"
CACHES = Path(os.environ.get("STAND_IN_CACHES", ""))


def _checkout(inputs: Inputs) -> dict[str, str]:
    """Fetch with askpass, so that nothing of the token stays in the checkout."""
    assert inputs["persist-credentials"] == "false", "the checkout would leave the token behind"
    askpass = Path(os.environ["RUNNER_TEMP"]) / "askpass"
    askpass.write_text('#!/bin/sh\ncase "$1" in U*) echo x-access-token;; *) echo "$TOKEN";; esac\n')
    askpass.chmod(0o700)

    def git(*arguments: str) -> str:
        command = ["git", "-c", "credential.helper=", *arguments]
        variables = os.environ | {"GIT_ASKPASS": str(askpass), "TOKEN": inputs["token"]}
        return subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout

    wanted = inputs["ref"] or os.environ["GITHUB_SHA"]
    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}")
    shallow = [] if inputs["fetch-depth"] == "0" else ["--depth=1"]
    git("fetch", "--quiet", "--no-tags", *shallow, "origin", wanted)
    branch = ["--detach"] if len(wanted) == 40 else ["-B", wanted]
    git("checkout", "--quiet", *branch, "FETCH_HEAD")
    if not shallow:
        git("fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    return {}


def _setup_python(inputs: Inputs) -> dict[str, str]:
    # The interpreter that the virtual environment of the tests was made with.
    name, folder = f"python{inputs['python-version']}", Path(os.environ["RUNNER_TEMP"]) / "python"
    folder.mkdir(exist_ok=True)
    if not (folder / name).exists():
        (folder / name).symlink_to(Path(sys.base_prefix) / "bin" / name)
    with Path(os.environ["GITHUB_PATH"]).open("a") as file:
        file.write(f"{folder}\n")
    return {}


def _cached(inputs: Inputs) -> list[Path]:
    return [Path(line.strip()).expanduser() for line in inputs["path"].splitlines() if line.strip()]


def _restore(inputs: Inputs) -> dict[str, str]:
    prefixes = inputs["restore-keys"].split()
    keys = sorted((path.name for path in CACHES.iterdir()), reverse=True)
    found = [inputs["key"]] if inputs["key"] in keys else []
    found += [key for prefix in prefixes for key in keys if key.startswith(prefix)]
    for number, target in enumerate(_cached(inputs) if found else ()):
        if (kept := CACHES / found[0] / str(number)).is_dir():
            shutil.copytree(kept, target, dirs_exist_ok=True)
    hit = "true" if found[:1] == [inputs["key"]] else "false"
    return {"cache-hit": hit, "cache-primary-key": inputs["key"]}


def _save(inputs: Inputs) -> dict[str, str]:
    for number, source in enumerate(_cached(inputs)):
        if source.is_dir():
            shutil.copytree(source, CACHES / inputs["key"] / str(number), dirs_exist_ok=True)
    return {}


def _send(method: str, path: str, token: str, **options: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.request(method, path, headers=headers, timeout=60, **options)  # pyright: ignore[reportArgumentType]
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer


def _upload(inputs: Inputs) -> dict[str, str]:
    assert 0 < int(inputs["retention-days"]) <= 30, "kept for longer than anybody reads it"
    paths = [Path(line.strip()) for line in inputs["path"].splitlines() if line.strip()]
    present = [path for path in paths if path.exists()]
    assert present or inputs["if-no-files-found"] != "error", f"No files were found: {inputs['path']}"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in present:
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                # The folder that all paths have in common is left out of the names.
                archive.write(file, file.relative_to(path if len(present) == 1 and path.is_dir() else "."))
    run = f"{REPOSITORY}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
    _send("POST", f"{run}/artifacts/{inputs['name']}", os.environ["TOKEN"], data=content.getvalue())
    return {}


def _download(inputs: Inputs) -> dict[str, str]:
    token = inputs["github-token"] or os.environ["TOKEN"]
    run = inputs["run-id"] or os.environ["GITHUB_RUN_ID"]
    listed = _send("GET", f"{REPOSITORY}/actions/runs/{run}/artifacts", token).json()["artifacts"]
    found = [artifact for artifact in listed if artifact["name"] == inputs["name"]]
    assert found, f"Artifact not found for name: {inputs['name']}"
    content = _send("GET", f"{REPOSITORY}/actions/artifacts/{found[0]['id']}/zip", token).content
    zipfile.ZipFile(io.BytesIO(content)).extractall(inputs["path"])
    return {}


def _app_token(inputs: Inputs) -> dict[str, str]:
    given = {key: value for key, value in inputs.items() if key.startswith("permission-") and value}
    asked = {key.removeprefix("permission-"): value for key, value in given.items()}
    assert asked, "a token with every permission of the App"
    login = f"{inputs['client-id']}:{inputs['private-key']}"
    answer = _send("POST", f"{API}/app/installations/1/access_tokens", login, json={"permissions": asked})
    return {"token": answer.json()["token"]}


def _attest(inputs: Inputs) -> dict[str, str]:
    """Send the statement without the signature, for which there is no service here."""
    subject = {"name": inputs["subject-name"], "digest": inputs["subject-digest"]}
    assert subject["digest"].startswith("sha256:"), subject
    predicate = json.loads(Path(inputs["predicate-path"]).read_text())
    statement = {"subject": subject, "predicateType": inputs["predicate-type"], "predicate": predicate}
    bundle = {"dsseEnvelope": statement}
    _send("POST", f"{REPOSITORY}/attestations", os.environ["TOKEN"], json={"bundle": bundle})
    return {}


def _review(inputs: Inputs) -> dict[str, str]:
    assert inputs["fail-on-severity"] in ("low", "moderate", "high", "critical")
    return {}


Action = tuple[Callable[[Inputs], dict[str, str]], dict[str, str], tuple[str, ...]]
ACTIONS: dict[str, Action] = {
    "actions/checkout": (
        _checkout,
        {
            "ref": "",
            "fetch-depth": "1",
            "persist-credentials": "true",
            "token": "${{ github.token }}",
        },
        (),
    ),
    "actions/setup-python": (_setup_python, {"python-version": ""}, ()),
    "actions/cache/restore": (
        _restore,
        {"path": "", "key": "", "restore-keys": ""},
        ("cache-hit", "cache-primary-key"),
    ),
    "actions/cache/save": (_save, {"path": "", "key": ""}, ()),
    "actions/upload-artifact": (
        _upload,
        {"name": "artifact", "path": "", "if-no-files-found": "warn", "retention-days": "0"},
        (),
    ),
    "actions/download-artifact": (
        _download,
        {"name": "", "path": ".", "run-id": "", "github-token": ""},
        (),
    ),
    "actions/attest": (
        _attest,
        {"subject-name": "", "subject-digest": "", "predicate-type": "", "predicate-path": ""},
        (),
    ),
    "actions/dependency-review-action": (_review, {"fail-on-severity": ""}, ()),
    "actions/create-github-app-token": (
        _app_token,
        {
            "client-id": "",
            "private-key": "",
            "permission-contents": "",
            "permission-pull-requests": "",
            "permission-deployments": "",
        },
        ("token",),
    ),
}


def write(folder: Path) -> None:
    """Write the `action.yml` of each action."""
    for name, (_, inputs, outputs) in ACTIONS.items():
        step = {
            "id": "it",
            "shell": "bash",
            "run": f"'{sys.executable}' '{__file__}' {name}",
            "env": {"INPUTS": "${{ toJSON(inputs) }}", "TOKEN": "${{ github.token }}"},
        }
        action = {
            "name": name,
            "description": "A stand-in",
            "inputs": {key: {"default": value} for key, value in inputs.items()},
            "outputs": {key: {"value": f"${{{{ steps.it.outputs.{key} }}}}"} for key in outputs},
            "runs": {"using": "composite", "steps": [step]},
        }
        (folder / name).mkdir(parents=True)
        (folder / name / "action.yml").write_text(json.dumps(action))


def main(name: str) -> None:
    """Do what the action `name` does, in a step of act."""
    outputs = ACTIONS[name][0](json.loads(os.environ["INPUTS"]))
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        file.writelines(f"{key}={value}\n" for key, value in outputs.items())


if __name__ == "__main__":
    main(sys.argv[1])
