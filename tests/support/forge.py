"""A stand-in for GitHub: its REST API, as documented, over one real repository. `server` serves it.

It keeps what it is sent and refuses what GitHub documents to refuse: a token without the permission, an
unknown field, a comment that is too long, a second pull request of one branch, a merge without its check or
approval. What happens in it becomes events, as on GitHub: nothing that the token of a workflow does starts
another.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from gitops.git.repository import Repository

NAME = "acme/visage"
LONGEST_BODY = 65536
OPENAPI: dict[str, Any] = json.loads(Path(__file__).with_name("github_openapi.json").read_text())
"""What GitHub takes, by method and path."""

# Settings of a new repository in an organisation. Another address answers 404 until it is written.
SETTINGS: dict[str, dict[str, Any]] = {
    f"/orgs/{NAME.partition('/')[0]}": {"deploy_keys_enabled_for_repositories": False},
    "": {
        "owner": {"login": "acme", "type": "Organization"},
        "allow_merge_commit": True,
        "allow_squash_merge": True,
        "allow_rebase_merge": True,
        "delete_branch_on_merge": False,
        "security_and_analysis": {"secret_scanning": {"status": "disabled"}},
    },
    "actions/permissions": {"enabled": True, "allowed_actions": "all"},
    "actions/permissions/selected-actions": {"github_owned_allowed": True, "patterns_allowed": []},
    "actions/permissions/workflow": {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": False,
    },
    "actions/permissions/fork-pr-contributor-approval": {"approval_policy": "first_time_contributors"},
    "private-vulnerability-reporting": {"enabled": False},
    "code-scanning/default-setup": {"state": "not-configured"},
    "actions/variables": {"variables": []},
}
REQUIRED = "verdict"
_SETTINGS = "|".join(
    (
        "",
        r"/orgs/\w+(?:/teams/\w+)?",
        r"/users/\w+",
        "actions/permissions(?:/[a-z-]+)?",
        "actions/variables",
        "(?:automated-security-fixes|vulnerability-alerts|private-vulnerability-reporting|immutable-releases)",
        "code-scanning/default-setup",
        r"environments/[\w-]+(?:/secrets)?",
    )
)


@dataclass(frozen=True)
class Event:
    """Something that happens in a repository on GitHub: its name, and the payload for workflows."""

    name: str
    payload: dict[str, Any]
    ref: str
    """The full name of the reference that it is about."""
    sha: str
    fork: bool = False
    """Whether it comes from a pull request of another repository."""


@dataclass(frozen=True)
class Token:
    """Who is asking, and what they may do: `contents` -> `read` or `write`."""

    actor: str
    permissions: dict[str, str]
    starts_workflows: bool = True

    def may(self, permission: str, level: str) -> bool:
        return self.permissions.get(permission) in (("read", "write") if level == "read" else ("write",))


@dataclass(frozen=True)
class Request:
    """A request to the REST API, as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None
    actor: str
    login: str = field(default="", repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass
class Pull:
    """A pull request."""

    number: int
    title: str
    body: str
    branch: str
    base: str
    author: str
    fork: str = NAME
    state: str = "open"
    comments: list[int] = field(default_factory=list)
    merged: bool = False


class Refusal(Exception):  # noqa: N818, an answer of GitHub
    """An answer with a status of 4xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Forge:
    """One repository on GitHub."""

    api = "/api"

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder / "acme" / "visage.git")
        self.root = folder
        self.tokens: dict[str, Token] = {}
        self.pulls: dict[int, Pull] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.statuses: list[dict[str, Any]] = []
        self.rulesets: dict[int, dict[str, Any]] = {}
        self.runs: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, list[dict[str, Any]]] = {}
        self.logs: dict[int, str] = {}
        """What a job printed, by its id."""
        self.artifacts: dict[int, dict[str, Any]] = {}
        self.app = ("Iv1.app", "-----key-----")
        """The client id and the private key of the App."""
        self.checks: dict[tuple[str, str], str] = {}
        """What a job came to, by commit and name."""
        self.owner_errors: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.events: list[Event] = []
        self.pushers: dict[str, str] = {}
        """Who pushed to a branch last."""
        self.settings = copy.deepcopy(SETTINGS)
        self.labels: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.policies: dict[str, list[dict[str, Any]]] = {}
        self.deployments: list[dict[str, Any]] = []
        self.reviews: dict[int, list[dict[str, Any]]] = {}
        self.attestations: list[dict[str, Any]] = []
        self.broken: Callable[[Request], int | None] = lambda request: None
        """A status for a request that is to fail."""
        self.url = ""
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def token(self, actor: str, permissions: dict[str, str], *, starts_workflows: bool = True) -> str:
        """Make a token."""
        text = f"token-{actor}-{self.number()}"
        self.tokens[text] = Token(actor, dict(permissions), starts_workflows)
        return text

    def sha(self, ref: str) -> str:
        return self.repository.resolve(ref)

    # What people, environments and the schedule do

    @contextmanager
    def watching(self, actor: str, *, starts_workflows: bool = True) -> Iterator[None]:
        """Make events of what a push changes."""
        before = self._refs()
        yield
        after = self._refs()
        for ref in after:
            if before.get(ref) != after[ref]:
                self.pushers[ref.removeprefix("refs/heads/")] = actor
        if not starts_workflows:
            return
        for ref in sorted(before.keys() | after.keys()):
            old, new = before.get(ref), after.get(ref)
            if old == new or not ref.startswith(("refs/heads/", "refs/tags/")):
                continue
            payload = {"ref": ref, "before": old, "after": new, "deleted": new is None, "pusher": actor}
            self.events.append(Event("push", payload, ref, self.sha(new) if new else self.sha("main")))
            for pull in self.pulls.values():
                if pull.state == "open" and ref == f"refs/heads/{pull.branch}" and pull.fork == NAME:
                    if new is None:
                        pull.state = "closed"
                    elif old is not None:
                        self.events.append(self.pull_event(pull, "synchronize"))

    def push(self, ref: str, commit: str | None, actor: str = "somebody") -> None:
        """Move a reference, as a push would."""
        self.pushers[ref.removeprefix("refs/heads/")] = actor
        with self.watching(actor):
            self.repository.git(*(("update-ref", ref, commit) if commit else ("update-ref", "-d", ref)))

    def open_pull(self, branch: str, title: str, *, fork: str = NAME, commit: str = "") -> Pull:
        """Open a pull request, as a person does; of a fork only the commit is here, and not its branch."""
        pull = Pull(self.number(), title, "", branch, "main", fork.partition("/")[0], fork)
        self.pulls[pull.number] = pull
        if commit:
            self.repository.git("update-ref", f"refs/pull/{pull.number}/head", commit)
        self.events.append(self.pull_event(pull, "opened"))
        return pull

    def merge(self, number: int, *, approved_by: str | None = None) -> str:
        """Press the merge button, which the ruleset of main guards; return the merge.

        The rules are those of .github/rulesets/main.json on main, as GitHub's documentation explains them.
        """
        pull = self.pulls[number]
        head, main = self.head(pull), self.sha("main")
        if self.checks.get((head, REQUIRED)) != "success":
            raise Refusal(405, f"Required status check {REQUIRED} is {self.checks.get((head, REQUIRED))}")
        if not self.repository.is_ancestor(main, head):
            raise Refusal(405, "The branch is not up to date with main")
        rule = self._rule("pull_request")
        if rule["required_approving_review_count"] and approved_by is None:
            raise Refusal(405, "at least 1 approving review is required")
        if rule["require_last_push_approval"] and approved_by == self.pushers.get(pull.branch):
            raise Refusal(405, f"{approved_by} pushed last: somebody else has to approve")
        owned = [path for path in self.repository.changed(main, head) if self._owner(path)]
        if rule["require_code_owner_review"] and owned and approved_by != self._owner(owned[0]):
            raise Refusal(405, f"{owned[0]}: waiting for the review of {self._owner(owned[0])}")
        tree = self.repository.git("show", "--no-patch", "--format=%T", head)
        message = f"Merge pull request #{number} from {pull.branch}"
        commit = self.repository.git(
            "commit-tree",
            "-p",
            main,
            "-p",
            head,
            "-m",
            message,
            tree,
            env=self.repository.identity(),
        )
        pull.state, pull.merged = "closed", True
        self.push("refs/heads/main", commit, actor="somebody")
        return commit

    def _rule(self, kind: str) -> dict[str, Any]:
        content = self.repository.read("main", ".github/rulesets/main.json")
        assert content is not None
        (found,) = [rule for rule in json.loads(content)["rules"] if rule["type"] == kind]
        return found["parameters"]

    def _owner(self, path: str) -> str | None:
        """Who owns a path: the last line that fits counts, and may name nobody."""
        content = self.repository.read("main", ".github/CODEOWNERS") or b""
        rows = [line.split() for line in content.decode().splitlines() if line and not line.startswith("#")]
        fitting = [row[1:] for row in rows if _fits(row[0], f"/{path}")]
        return fitting[-1][0] if fitting and fitting[-1] else None

    def head(self, pull: Pull) -> str:
        return self.sha(f"refs/heads/{pull.branch}" if pull.fork == NAME else f"refs/pull/{pull.number}/head")

    def pull_event(self, pull: Pull, action: str) -> Event:
        sha = self.head(pull)
        payload = {"action": action, "number": pull.number, "pull_request": self.shown(pull)}
        return Event(
            "pull_request",
            payload,
            f"refs/pull/{pull.number}/merge",
            sha,
            fork=pull.fork != NAME,
        )

    def shown(self, pull: Pull) -> dict[str, Any]:
        """Return what the API says of a pull request."""
        return {
            "number": pull.number,
            "html_url": f"{self.url}/{NAME}/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body or None,
            "state": pull.state,
            "user": {"login": pull.author},
            "head": {
                "ref": pull.branch,
                "sha": self.head(pull),
                "repo": {"full_name": pull.fork, "owner": {"login": pull.fork.partition("/")[0]}},
            },
            "base": {"ref": pull.base, "sha": self.sha(pull.base), "repo": {"full_name": NAME}},
        }

    def _refs(self) -> dict[str, str]:
        listed = self.repository.git("for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ", 1) for line in listed.splitlines())

    # The REST API

    def answer(self, request: Request, token: Token | None) -> tuple[int, Any]:
        """Answer a request as the documentation of GitHub's API says."""
        if not request.content:
            self.requests.append(request)
        self._settle()
        if request.path == "/app/installations/1/access_tokens" and request.login == ":".join(self.app):
            return 201, {"token": self.token("visage[bot]", (request.body or {})["permissions"])}
        if request.path == "/app-manifests/good/conversions":
            made = {"id": 7, "slug": "visage-acme", "client_id": self.app[0], "pem": self.app[1]}
            return 201, {**made, "html_url": f"{self.url}/apps/visage-acme"}
        if token is None:
            raise Refusal(401, "Bad credentials")
        if status := self.broken(request):
            raise Refusal(status, "Out of order")
        if request.path == "/user":
            raise Refusal(403, "Resource not accessible by integration")
        path = request.path.removeprefix(f"/repos/{NAME}").removeprefix("/")
        if path.startswith(("orgs/", "users/")):
            path = request.path
        for method, pattern, permission, call in self._routes:
            match = re.fullmatch(pattern, path)
            if match and method == request.method:
                level = "read" if method == "GET" else "write"
                if not any(token.may(one, level) for one in permission.split("|")):
                    raise Refusal(403, f"Resource not accessible by integration: {permission}: {level}")
                if not request.content:  # an upload of an artifact goes to another service
                    checked(OPENAPI, request)
                return call(self, request, token, *match.groups())
        raise Refusal(404, f"Not Found: {request.method} {path}")

    def _settle(self) -> None:
        """Close what has no branch any more, as GitHub does."""
        for pull in self.pulls.values():
            if pull.fork == NAME and not self.repository.has(f"refs/heads/{pull.branch}"):
                pull.state = "closed"

    def _list_pulls(self, request: Request, token: Token) -> tuple[int, Any]:
        head = request.query.get("head")
        return 200, [
            self.shown(pull)
            for pull in self.pulls.values()
            if pull.state == request.query["state"]
            and pull.base == request.query["base"]
            and head in (None, f"{pull.fork.partition('/')[0]}:{pull.branch}")
        ]

    def _list_reviews(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 200, self.reviews.get(int(number), [])

    def _list_statuses(self, request: Request, token: Token, sha: str) -> tuple[int, Any]:
        return 200, [one for one in reversed(self.statuses) if one["sha"] == sha]

    def _list_check_runs(self, request: Request, token: Token, sha: str) -> tuple[int, Any]:
        listed = [job for run, jobs in self.jobs.items() for job in jobs if self.runs[run]["head_sha"] == sha]
        return 200, {"total_count": len(listed), "check_runs": listed}

    def _post_pull(self, request: Request, token: Token) -> tuple[int, Any]:
        body = _body(request)
        if not self.repository.has(f"refs/heads/{body['head']}"):
            raise Refusal(422, "Validation Failed: head is invalid")
        if self.sha(f"refs/heads/{body['head']}") == self.sha(body["base"]):
            raise Refusal(422, "No commits between main and head")
        if any(pull.branch == body["head"] and pull.state == "open" for pull in self.pulls.values()):
            raise Refusal(422, f"A pull request already exists for {body['head']}")
        pull = Pull(self.number(), body["title"], body["body"], body["head"], body["base"], token.actor)
        self.pulls[pull.number] = pull
        if token.starts_workflows:
            self.events.append(self.pull_event(pull, "opened"))
        return 201, self.shown(pull)

    def _patch_pull(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        body = _body(request)
        pull = self.pulls[int(number)]
        pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
        pull.state = body.get("state", pull.state)
        return 200, self.shown(pull)

    def _put_merge(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        pull, body = self.pulls[int(number)], request.body or {}
        if body.get("sha") != self.head(pull):
            raise Refusal(409, "Head branch was modified. Review and try the merge again.")
        return 200, {"sha": self.merge(int(number)), "merged": True, "message": "merged"}

    def _list_comments(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        listed = [self.comments[one] for one in self.pulls[int(number)].comments]
        size = int(request.query.get("per_page", 30))
        start = (int(request.query.get("page", 1)) - 1) * size
        return 200, listed[start : start + size]

    def _post_comment(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 201, self.write_comment(int(number), _login(token), _body(request)["body"], "Bot")

    def write_comment(self, number: int, login: str, body: str, kind: str = "User") -> dict[str, Any]:
        """Let an account comment on a pull request."""
        one = self.number()
        self.pulls[number].comments.append(one)
        link = f"{self.url}/{NAME}/pull/{number}#issuecomment-{one}"
        self.comments[one] = {
            "id": one,
            "body": body,
            "html_url": link,
            "user": {"login": login, "type": kind},
        }
        return self.comments[one]

    def _patch_comment(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        self.comments[int(number)]["body"] = _body(request)["body"]
        return 200, self.comments[int(number)]

    def _post_status(self, request: Request, token: Token, sha: str) -> tuple[int, Any]:
        body = _body(request)
        if len(body["description"]) > 140 or not self.repository.has(sha):
            raise Refusal(422, "description or sha")
        self.statuses.append({"sha": sha, **body})
        self.checks[(sha, body["context"])] = body["state"]
        return 201, body

    def _get_run(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 200, self.runs[int(number)]

    def _get_jobs(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 200, {"total_count": len(self.jobs[int(number)]), "jobs": self.jobs[int(number)]}

    def _get_log(self, request: Request, token: Token, job: str) -> tuple[int, Any]:
        return 200, self.logs[int(job)]

    def _list_artifacts(self, request: Request, token: Token, run: str) -> tuple[int, Any]:
        listed = [{"id": one, **it} for one, it in self.artifacts.items() if it["run"] == int(run)]
        return 200, {"artifacts": [{"id": it["id"], "name": it["name"]} for it in listed]}

    def _get_artifact(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 200, self.artifacts[int(number)]["content"]

    def _post_artifact(self, request: Request, token: Token, run: str, name: str) -> tuple[int, Any]:
        """Take an artifact, as the service does that only the action for uploads can reach."""
        if any((it["run"], it["name"]) == (int(run), name) for it in self.artifacts.values()):
            raise Refusal(409, f"an artifact {name} already exists on this run")
        self.artifacts[self.number()] = {"run": int(run), "name": name, "content": request.content}
        return 201, {}

    def _list_rulesets(self, request: Request, token: Token) -> tuple[int, Any]:
        return 200, [{"id": number, "name": one["name"]} for number, one in self.rulesets.items()]

    def _get_ruleset(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 200, self.rulesets[int(number)]

    def _put_ruleset(self, request: Request, token: Token, number: str = "") -> tuple[int, Any]:
        body = _body(request)
        one = int(number) if number else self.number()
        self.rulesets[one] = {**copy.deepcopy(body), "id": one, "source": NAME, "_links": {}}
        return 200 if number else 201, self.rulesets[one]

    def _get_owner_errors(self, request: Request, token: Token) -> tuple[int, Any]:
        return 200, {"errors": self.owner_errors}

    def _get_setting(self, request: Request, token: Token, path: str) -> tuple[int, Any]:
        if path not in self.settings:
            raise Refusal(404, "Not Found")
        return 200, self.settings[path]

    def _put_setting(self, request: Request, token: Token, path: str) -> tuple[int, Any]:
        content = {"enabled": True} if request.body is None else request.body
        self.settings[path] = _merged(self.settings.get(path, {}), content)
        if reviewers := self.settings[path].pop("reviewers", None):
            rule = {"type": "required_reviewers", "reviewers": reviewers}
            self.settings[path]["protection_rules"] = [rule]
        return 204, None

    def _list_keys(self, request: Request, token: Token) -> tuple[int, Any]:
        return 200, self.keys

    def _post_key(self, request: Request, token: Token) -> tuple[int, Any]:
        if not self.settings["/orgs/acme"]["deploy_keys_enabled_for_repositories"]:
            raise Refusal(422, "Deploy keys are disabled for this repository")
        self.keys.append(_body(request))
        return 201, self.keys[-1]

    def _list_labels(self, request: Request, token: Token) -> tuple[int, Any]:
        return 200, self.labels

    def _post_label(self, request: Request, token: Token) -> tuple[int, Any]:
        self.labels.append(_body(request))
        return 201, self.labels[-1]

    def _list_policies(self, request: Request, token: Token, name: str) -> tuple[int, Any]:
        return 200, {"branch_policies": self.policies.get(name, [])}

    def _post_policy(self, request: Request, token: Token, name: str) -> tuple[int, Any]:
        self.policies.setdefault(name, []).append(_body(request))
        return 200, self.policies[name][-1]

    def _list_deployments(self, request: Request, token: Token) -> tuple[int, Any]:
        wanted = {key: request.query[key] for key in ("environment", "sha") if key in request.query}
        found = [one for one in self.deployments if wanted.items() <= one.items()]
        return 200, [{key: one[key] for key in ("id", "sha", "environment")} for one in reversed(found)]

    def _post_deployment(self, request: Request, token: Token) -> tuple[int, Any]:
        body = _body(request)
        sha = self.sha(body["ref"])
        self.deployments.append({"id": self.number(), "sha": sha, "statuses": [], **body})
        return 201, {"id": self.deployments[-1]["id"]}

    def _deployment(self, number: str) -> dict[str, Any]:
        return next(one for one in self.deployments if one["id"] == int(number))

    def _list_deployment_statuses(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        return 200, self._deployment(number)["statuses"][::-1]

    def _post_deployment_status(self, request: Request, token: Token, number: str) -> tuple[int, Any]:
        self._deployment(number)["statuses"].append(_body(request))
        return 201, {}

    def _post_attestation(self, request: Request, token: Token) -> tuple[int, Any]:
        self.attestations.append(_body(request)["bundle"]["dsseEnvelope"])
        return 201, {"id": self.number()}

    _routes: tuple[tuple[str, str, str, Callable[..., tuple[int, Any]]], ...] = (
        ("GET", r"pulls", "pull-requests", _list_pulls),
        ("POST", r"pulls", "pull-requests", _post_pull),
        ("PATCH", r"pulls/(\d+)", "pull-requests", _patch_pull),
        ("PUT", r"pulls/(\d+)/merge", "contents", _put_merge),
        ("GET", r"pulls/(\d+)/reviews", "pull-requests", _list_reviews),
        ("GET", r"commits/([0-9a-f]{40})/statuses", "statuses", _list_statuses),
        ("GET", r"commits/([0-9a-f]{40})/check-runs", "checks", _list_check_runs),
        ("GET", r"issues/(\d+)/comments", "pull-requests|issues", _list_comments),
        ("POST", r"issues/(\d+)/comments", "pull-requests|issues", _post_comment),
        ("PATCH", r"issues/comments/(\d+)", "pull-requests|issues", _patch_comment),
        ("POST", r"statuses/([0-9a-f]{40})", "statuses", _post_status),
        ("GET", r"actions/runs/(\d+)", "actions", _get_run),
        ("GET", r"actions/runs/(\d+)/jobs", "actions", _get_jobs),
        ("GET", r"actions/jobs/(\d+)/logs", "actions", _get_log),
        ("GET", r"actions/runs/(\d+)/artifacts", "actions", _list_artifacts),
        ("GET", r"actions/artifacts/(\d+)/zip", "actions", _get_artifact),
        ("POST", r"actions/runs/(\d+)/artifacts/([\w-]+)", "actions", _post_artifact),
        ("POST", r"attestations", "attestations", _post_attestation),
        ("GET", r"rulesets", "contents|administration", _list_rulesets),
        ("GET", r"rulesets/(\d+)", "contents|administration", _get_ruleset),
        ("POST", r"rulesets", "administration", _put_ruleset),
        ("PUT", r"rulesets/(\d+)", "administration", _put_ruleset),
        ("GET", r"codeowners/errors", "contents", _get_owner_errors),
        ("GET", r"keys", "administration", _list_keys),
        ("POST", r"keys", "administration", _post_key),
        ("GET", r"labels", "issues", _list_labels),
        ("POST", r"labels", "issues", _post_label),
        ("GET", r"environments/([\w-]+)/deployment-branch-policies", "actions", _list_policies),
        ("POST", r"environments/([\w-]+)/deployment-branch-policies", "administration", _post_policy),
        ("GET", r"deployments", "deployments", _list_deployments),
        ("POST", r"deployments", "deployments", _post_deployment),
        ("GET", r"deployments/(\d+)/statuses", "deployments", _list_deployment_statuses),
        ("POST", r"deployments/(\d+)/statuses", "deployments", _post_deployment_status),
        ("GET", rf"({_SETTINGS})", "administration", _get_setting),
        ("PUT", rf"({_SETTINGS})", "administration", _put_setting),
        ("PATCH", rf"({_SETTINGS})", "administration", _put_setting),
    )


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern of CODEOWNERS fits a path that begins with a slash."""
    if pattern == "*":
        return True
    return path.startswith(pattern) if pattern.endswith("/") else fnmatch(path, pattern)


def checked(openapi: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return the form of a request, or refuse one that a description has not, or has in another form."""
    line = f"{request.method} {request.path.rstrip('/')}"
    found = [one for key, one in openapi.items() if re.fullmatch(key, line)]
    if not found:
        raise Refusal(404, f"Not Found: {request.method} {request.path}")
    if strange := set(request.query) - set(found[0]["query"]):
        raise Refusal(422, f"unknown parameters: {strange}")
    schema = found[0]["body"]
    if schema is None or request.body is None:
        if request.body is not None or (schema or {}).get("required"):
            raise Refusal(422, f"Invalid request: {request.body}")
        return found[0]
    if strange := set(request.body) - set(schema["properties"]):
        raise Refusal(422, f"Invalid request: unknown {sorted(strange)}")
    for error in Draft202012Validator(schema).iter_errors(request.body):
        raise Refusal(422, f"Invalid request: {error.json_path}: {error.message}"[:300])
    return found[0]


def _login(token: Token) -> str:
    """Return the account of an App, or the one that GitHub has for the jobs of all repositories."""
    return "github-actions[bot]" if token.actor.startswith("actions:") else token.actor


def _body(request: Request) -> dict[str, Any]:
    body = dict(request.body or {})
    if len(str(body.get("body", ""))) > LONGEST_BODY:
        raise Refusal(422, f"body is too long (maximum is {LONGEST_BODY} characters)")
    return body


def _merged(present: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return settings with changes; a part that is a mapping is merged too."""
    made = dict(present)
    for key, value in changes.items():
        there = made.get(key)
        made[key] = _merged(there, value) if isinstance(value, dict) and isinstance(there, dict) else value
    return made
