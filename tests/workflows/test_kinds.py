"""The kinds of pull request and their jobs: the specification of the workflows, run by act."""

from dataclasses import dataclass, field

import pytest

from gitops.git.repository import Repository
from gitops.promotion.rollbacks import rollback
from gitops.release.load import fetch_state
from gitops.text.markdown import code
from tests.support.figures import model_files
from tests.support.forge import NAME, Event
from tests.support.lab import PIPELINE
from tests.workflows.conftest import CODE, ROOT, World

ALL = frozenset({"test", "dags", "train"})
LOCK = ALL | {"review"}
DAGS = frozenset({"test", "dags"})
TEST = frozenset({"test"})
NONE = frozenset[str]()


def edited(path: str, old: bytes = b"", new: bytes = b"# A word.\n") -> dict[str, bytes]:
    content = (ROOT / path).read_bytes()
    assert old in content
    return {path: content.replace(old, new, 1) if old else content + new}


@dataclass(frozen=True)
class Kind:
    """A kind of pull request.

    Attributes:
        name: Its name.
        jobs: The jobs that run beside scope; beside any, lint runs too.
        files: The change.
        branch: The branch that it comes from.
        fork: The repository that it comes from.
        models: Whether models are compared, for which the job `judge` installs more.

    """

    name: str
    jobs: frozenset[str]
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    branch: str = "change"
    fork: str = NAME
    models: bool = False


POINTER = b"outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 1\n  hash: md5\n  path: batch\n"
CODE_OF_GITOPS = "src/gitops/report/mermaid.py"
KINDS = [
    # A step that put this name into its script would fail.
    Kind("documentation", NONE, {"docs/news.md": b"News.\n"}, "words;exit${IFS}1;'$(exit${IFS}1)"),
    Kind("parameters", ALL, edited("params.yaml", b"bootstrap: 1000", b"bootstrap: 900")),
    Kind("DAG", DAGS, {"dags/new.py": b"\n"}),
    Kind("model", ALL, {CODE: b"ACCURACY = 0.75\n"}),
    Kind("data", ALL, {"data/labelled/batch.dvc": POINTER}),
    Kind("dependency", LOCK, edited("requirements.lock", new=b"# nothing\n")),
    Kind("settings", DAGS, edited("environments/dev/settings.env")),
    Kind("infrastructure", TEST, edited("infra/compose/services.yml")),
    Kind("gitops", DAGS, edited(CODE_OF_GITOPS)),
    Kind("fork", NONE, {"docs/news.md": b"News.\n"}, "main", fork="stranger/visage"),
    Kind(
        "Dependabot",
        TEST | {"review"},
        edited(".github/workflows/scheduled.yml"),
        "dependabot/github_actions/actions-1",
    ),
    Kind("candidate", NONE, model_files("first", 0.9), "candidate/manual-1", models=True),
    Kind(
        "candidate after drift",
        NONE,
        model_files("first", 0.9) | {"data/labelled/batch.dvc": POINTER},
        "candidate/drift-1",
        models=True,
    ),
]
IN_MAKE_TEST = {"candidate"}


def marked(kind: Kind) -> object:
    marks = () if kind.name in IN_MAKE_TEST else pytest.mark.long
    return pytest.param(kind, id=kind.name, marks=marks)


@pytest.mark.parametrize("kind", map(marked, KINDS))
def test_a_good_pull_request_is_green_and_runs_what_it_needs(world: World, kind: Kind) -> None:
    propose(world, kind)
    forge = world.forge
    (pull,) = forge.pulls.values()
    (comment,) = (forge.comments[one]["body"] for one in pull.comments)
    assert comment.startswith(f"**OK to merge {code(kind.branch)} into main. It changes")
    # No job that runs proposed code has a secret or may write.
    for name in world.last("pull request").workflow.jobs:
        tokens = [one for one in forge.tokens.values() if one.actor == f"actions:{name}"]
        assert {level for one in tokens for level in one.permissions.values()} <= {"read"}


def propose(world: World, kind: Kind) -> None:
    """Open a pull request of a kind, and let GitHub check it."""
    forge = world.forge
    commit = world.commit(kind.files, f"Change: {kind.name}")
    if kind.fork == NAME:
        forge.push(f"refs/heads/{kind.branch}", commit)
    forge.events.clear()
    forge.open_pull(kind.branch, kind.name, fork=kind.fork, commit=commit)
    judged(world, commit, kind.jobs, models=kind.models)


def judged(world: World, commit: str, jobs: frozenset[str], *, models: bool) -> None:
    """Let GitHub run the checks of a good change, and hold the jobs and the verdict against the table."""
    done = world.happen("pull request", "verdict")
    assert done == {"pull request": "success", "verdict": "success"}, world.log("pull request")
    held(world, commit, jobs, models=models)


def held(world: World, commit: str, jobs: frozenset[str], *, models: bool) -> None:
    """Hold the last run of the checks against the table."""
    ran = {name for name, result in world.checks().items() if result == "success"}
    assert ran == {"scope", *jobs, *(["lint"] if jobs else [])}
    light = world.last("pull request").results["scope"].steps.get("Lint documents, metrics and release files")
    assert (light == "success") is (not jobs)
    assert world.forge.checks[(commit, "verdict")] == "success"
    steps = world.last("verdict").results["judge"].steps
    assert (steps.get("Install the libraries that compare models") == "success") is models


def release(world: World, name: str, accuracy: float) -> str:
    """Put a model on main that dev verifies, and return its commit."""
    files = model_files(name, accuracy) | {"dvc.yaml": PIPELINE}
    commit = world.commit(files, f"Merge {name}")
    world.forge.push("refs/heads/main", commit)
    world.verify("dev", commit)
    return commit


def promote(world: World) -> str:
    """Let a first release be proposed for staging, and return its commit."""
    first = release(world, "first", 0.9)
    done = world.happen("event", "promote", "pull request", "verdict")
    assert set(done.values()) == {"success"}, (done, world.log("promote"))
    (pull,) = world.forge.pulls.values()
    held(world, world.forge.head(pull), NONE, models=True)
    return first


def go_back(world: World) -> None:
    """Propose a rollback of staging to its first release, and let GitHub check it."""
    forge, first = world.forge, promote(world)
    (pull,) = forge.pulls.values()
    forge.merge(pull.number, approved_by="somebody")
    world.verify("staging", first)

    # The next promotion is past: the models of this test cannot be compared.
    second = release(world, "second", 0.95)
    declared = world.declared("staging").replace(first, second).encode()
    forge.push("refs/heads/main", world.commit({"environments/staging/release.yaml": declared}, "Promote"))
    world.verify("staging", second)
    forge.events.clear()

    clone = Repository(world.folder / "clone")
    clone.path.mkdir()
    clone.git("clone", "--quiet", str(forge.repository.path), ".")
    state = fetch_state(clone, "origin")
    back = rollback(clone, state, "staging", "origin", reason="slow")
    clone.git("push", "--quiet", "origin", f"{back.commit}:refs/heads/{back.branch}")
    forge.events.clear()
    forge.open_pull(back.branch, "Roll back")
    judged(world, back.commit, NONE, models=True)
    assert back.after.commit == first


def queue(world: World) -> None:
    """Let the merge queue ask for the checks of a group."""
    commit = world.commit({"docs/news.md": b"News.\n"}, "Merge pull request #7")
    ref = "refs/heads/gh-readonly-queue/main/pr-7-0123456"
    world.forge.repository.git("update-ref", ref, commit)
    group = {"head_sha": commit, "head_ref": ref, "base_ref": "refs/heads/main"}
    payload = {"action": "checks_requested", "merge_group": group}
    world.forge.events[:] = [Event("merge_group", payload, ref, commit)]
    judged(world, commit, NONE, models=False)


@pytest.mark.long
def test_a_promotion_and_the_way_back(world: World) -> None:
    go_back(world)


@pytest.mark.long
def test_a_group_of_the_merge_queue_has_a_verdict_and_no_comment(world: World) -> None:
    queue(world)
    assert world.forge.comments == {}
    assert [one["context"] for one in world.forge.statuses] == ["verdict"]
