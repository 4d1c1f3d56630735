"""Writes the part of GitHub's OpenAPI description that the stand-in for GitHub checks requests with.

The description is in the package `@octokit/openapi` of npm:

    npm pack @octokit/openapi && tar xf octokit-openapi-*.tgz
    python scripts/github_openapi.py package/generated/api.github.com.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "tests/support/github_openapi.json"
REPOSITORY = "/repos/{owner}/{repo}"
USED = {
    "": "get patch",
    "/actions/jobs/{job_id}/logs": "get",
    "/actions/permissions": "get put",
    "/actions/permissions/fork-pr-contributor-approval": "get put",
    "/actions/permissions/selected-actions": "get put",
    "/actions/permissions/workflow": "get put",
    "/actions/runs/{run_id}": "get",
    "/actions/artifacts/{artifact_id}/{archive_format}": "get",
    "/actions/runs/{run_id}/artifacts": "get",
    "/actions/runs/{run_id}/jobs": "get",
    "/actions/variables": "get",
    "/attestations": "post",
    "/automated-security-fixes": "get put",
    "/code-scanning/default-setup": "get patch",
    "/commits/{ref}/check-runs": "get",
    "/commits/{ref}/statuses": "get",
    "/codeowners/errors": "get",
    "/deployments": "get post",
    "/deployments/{deployment_id}/statuses": "get post",
    "/environments/{environment_name}": "get put",
    "/environments/{environment_name}/deployment-branch-policies": "get post",
    "/environments/{environment_name}/secrets": "get",  # pragma: allowlist secret
    "/immutable-releases": "get put",
    "/issues/comments/{comment_id}": "patch",
    "/issues/{issue_number}/comments": "get post",
    "/keys": "get post",
    "/labels": "get post",
    "/private-vulnerability-reporting": "get put",
    "/pulls": "get post",
    "/pulls/{pull_number}": "patch",
    "/pulls/{pull_number}/merge": "put",
    "/pulls/{pull_number}/reviews": "get",
    "/rulesets": "get post",
    "/rulesets/{ruleset_id}": "get put",
    "/statuses/{sha}": "post",
    "/vulnerability-alerts": "get put",
}
OTHER = {
    "/app-manifests/{code}/conversions": "post",
    "/orgs/{org}": "get patch",
    "/orgs/{org}/teams/{team_slug}": "get",
    "/user": "get",
    "/users/{username}": "get",
}


def main(path: Path) -> None:
    """Write the requests of the operations that `gitops` and the workflows use."""
    description = json.loads(path.read_text("utf-8"))
    operations: dict[str, Any] = {}
    for address, methods in ({f"{REPOSITORY}{key}": value for key, value in USED.items()} | OTHER).items():
        for method in methods.split():
            operation = description["paths"][address][method]
            pattern = re.sub(r"\{\w+\}", "([^/]+)", address)
            parameters = [_resolve(description, one) for one in operation.get("parameters", ())]
            query = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
            body = (
                operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            )
            operations[f"{method.upper()} {pattern}"] = {"query": sorted(query), "body": body}
    bodies = _resolve(description, operations)
    version = description["info"]["version"]
    source = f"GitHub's OpenAPI description {version} (MIT), by scripts/github_openapi.py"
    lines = [f"{json.dumps(key)}: {json.dumps(bodies[key], sort_keys=True)}" for key in sorted(bodies)]
    text = ",\n".join([f'"source": {json.dumps(source)}', *lines])
    TARGET.write_text(f"{{\n{text}\n}}\n", "utf-8")


def _resolve(description: Any, value: Any) -> Any:
    """Return a schema with references replaced, as JSON Schema, and without prose."""
    if isinstance(value, list):
        return [_resolve(description, item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        target = description
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _resolve(description, target)
    prose = {"description", "example", "examples", "title", "externalDocs", "x-github", "default"}
    kept = {key: item for key, item in value.items() if key not in prose or _is_names(value, key)}
    made = {key: _resolve(description, item) for key, item in kept.items()}
    if made.pop("nullable", False) and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


def _is_names(value: dict[str, Any], key: str) -> bool:
    """Return whether `key` is the name of a property in `value`, and no keyword of a schema."""
    return isinstance(value[key], dict) and "type" in value[key]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
