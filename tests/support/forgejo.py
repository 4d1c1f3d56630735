"""A stand-in for Forgejo: the part of its REST API that `gitops` uses, over one real repository.

It takes a request only in the form that Forgejo's OpenAPI description has, and gives no field that is not
there. What it does with a request is as Forgejo documents it. `forge_server` serves it.
"""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.forge import NAME, Forge, Pull, Refusal, Request, Token, checked

OPENAPI: dict[str, Any] = json.loads(Path(__file__).with_name("forgejo_openapi.json").read_text())
SCOPES = {"repository": "write", "issue": "write", "user": "read"}


class Forgejo(Forge):
    """One repository on Forgejo."""

    api = "/api/v1"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings = {"": {"allow_merge_commits": True, "allow_squash_merge": True, "allow_rebase": True}}
        self.protections: dict[str, dict[str, Any]] = {}

    def job(self, commit: str, name: str, state: str, text: str) -> None:
        """Let Forgejo Actions show how a job is doing."""
        context = f"pull request / {name} (pull_request)"
        self.statuses.append(
            {"sha": commit, "context": context, "state": state, "description": text, "target_url": ""}
        )

    def review(self, number: int, login: str, state: str) -> None:
        """Let somebody review the newest commit of a pull request."""
        commit = self.head(self.pulls[number])
        review = {"state": state, "commit_id": commit, "dismissed": False, "user": {"login": login}}
        self.reviews.setdefault(number, []).append(review)

    def answer(self, request: Request, token: Token | None) -> tuple[int, Any]:
        """Answer a request as Forgejo does, in the form that its description has."""
        self.requests.append(request)
        self._settle()
        if token is None:
            raise Refusal(401, "token is required")
        form = checked(OPENAPI, request)
        path = request.path.removeprefix(f"/repos/{NAME}").strip("/")
        scope = "user" if path == "user" else "issue" if path.startswith("issues/") else "repository"
        if not token.may(scope, "read" if request.method == "GET" else "write"):
            raise Refusal(403, f"token does not have at least one of required scope(s): {scope}")
        content = self._respond(request.method, path, request, token)
        for one in content if isinstance(content, list) else [content]:
            assert not (strange := set(one) - set(form["answer"])), f"{request.path}: no field {strange}"
        return form["status"], content

    def _respond(self, method: str, path: str, request: Request, token: Token) -> Any:
        body = dict(request.body or {})
        match [method, *re.split("/", path)]:
            case ["GET", "user"]:
                return {"login": token.actor}
            case ["GET", ""]:
                return self.settings[""]
            case ["PATCH", ""]:
                known = set(OPENAPI[r"GET /repos/([^/]+)/([^/]+)"]["answer"])
                self.settings[""] |= {key: value for key, value in body.items() if key in known}
                return self.settings[""]
            case ["GET", "pulls"]:
                listed = [pull for pull in self.pulls.values() if pull.state == request.query["state"]]
                return _page([self.shown(pull) for pull in listed], request)
            case ["POST", "pulls"]:
                return self._open(body, token)
            case ["PATCH", "pulls", number]:
                pull = self.pulls[int(number)]
                pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
                pull.state = body.get("state", pull.state)
                return self.shown(pull)
            case ["POST", "pulls", number, "merge"]:
                if body["head_commit_id"] != self.head(self.pulls[int(number)]):
                    raise Refusal(409, "head out of date")
                self.merge(int(number))
                return []
            case ["GET", "pulls", number, "reviews"]:
                return _page(self.reviews.get(int(number), []), request)
            case ["GET", "issues", number, "comments"]:
                return [self.comments[one] for one in self.pulls[int(number)].comments]
            case ["POST", "issues", number, "comments"]:
                one = self.number()
                self.pulls[int(number)].comments.append(one)
                self.comments[one] = {"id": one, "body": body["body"], "user": {"login": token.actor}}
                return self.comments[one]
            case ["PATCH", "issues", "comments", number]:
                self.comments[int(number)]["body"] = body["body"]
                return self.comments[int(number)]
            case ["POST", "statuses", sha]:
                if not self.repository.has(sha) or body["state"] not in (
                    "pending",
                    "success",
                    "error",
                    "failure",
                ):
                    raise Refusal(422, "sha or state")
                self.statuses.append({"sha": sha, "target_url": "", **body})
                self.checks[sha, body["context"]] = body["state"]
                return self._status(self.statuses[-1])
            case ["GET", "commits", sha, "statuses"]:
                mine = [self._status(one) for one in reversed(self.statuses) if one["sha"] == sha]
                return _page(mine, request)
            case ["POST", "branch_protections"]:
                self.protections[body["rule_name"]] = body
                return body
            case ["GET", "branch_protections", name]:
                if unquote(name) not in self.protections:
                    raise Refusal(404, "Not Found")
                return self.protections[unquote(name)]
            case ["PATCH", "branch_protections", name]:
                self.protections[unquote(name)] |= body
                return self.protections[unquote(name)]
            case _:
                raise Refusal(404, f"Not Found: {method} {path}")

    def _open(self, body: dict[str, Any], token: Token) -> dict[str, Any]:
        if not self.repository.has(f"refs/heads/{body['head']}"):
            raise Refusal(404, "The target couldn't be found.")
        if any(pull.branch == body["head"] and pull.state == "open" for pull in self.pulls.values()):
            raise Refusal(409, "pull request already exists for these targets")
        pull = Pull(self.number(), body["title"], body["body"], body["head"], body["base"], token.actor)
        self.pulls[pull.number] = pull
        return self.shown(pull)

    @staticmethod
    def _status(one: dict[str, Any]) -> dict[str, Any]:
        """Return a status as an answer has it: there its state is called `status`."""
        kept = {key: one[key] for key in ("context", "description", "target_url")}
        return {**kept, "status": one["state"]}


def _page(items: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    size, page = min(int(request.query["limit"]), 50), int(request.query["page"])
    return items[(page - 1) * size : page * size]
