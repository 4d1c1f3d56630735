import hashlib

import pytest

from gitops.check import check
from gitops.comparison import Comparison
from gitops.errors import ComparisonError, NothingToDoError, PushRejectedError, RuleError
from gitops.gate import EVALUATION, EXPORT
from gitops.ledger import Ledger
from gitops.merge import merge
from gitops.promotion import push, release_hold, rollback
from gitops.release import Release
from gitops.repository import Repository
from gitops.rules import Violation, violations

from .conftest import Lab, model_files


def found(lab: Lab, head: str) -> list[Violation]:
    return check(lab.ledger(), lab.clone.resolve(lab.clone.branch_ref(lab.remote, head)))


def said(lab: Lab, head: str) -> str:
    return "\n".join(map(str, found(lab, head)))


def test_a_change_of_code_passes(lab: Lab) -> None:
    lab.branch("feature", {"src/face_attributes/new.py": b"", "dags/new.py": b""})
    lab.land({"README.md": b"news\n"})
    assert found(lab, "feature") == []


def test_main_itself_passes(lab: Lab) -> None:
    assert found(lab, "main") == []


def test_what_the_commands_propose_passes(lab: Lab) -> None:
    lab.train("a")
    lab.promote("staging")
    assert found(lab, "promote/staging") == []
    lab.merge("promote/staging")
    lab.train("b")
    lab.release("staging")
    lab.verify("staging", lab.ledger().history("staging")[1].commit or "")
    ledger = lab.ledger()
    push(ledger, lab.remote, rollback(ledger, "staging", lab.remote))
    assert found(lab, "rollback/staging") == []
    lab.merge("rollback/staging")
    ledger = lab.ledger()
    push(ledger, lab.remote, release_hold(ledger, "staging", lab.remote))
    assert found(lab, "release-hold/staging") == []


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("environments/staging/release.yaml", b"commit: abc\n", "'abc' is not a full commit id"),
        ("environments/staging/release.yaml", b"commit: " + b"f" * 40, "is no commit of this repository"),
        ("environments/staging/release.yaml", None, "missing; restore it"),
        ("environments/dev/release.yaml", b"commit: null\n", "dev follows main"),
        ("environments/prod/settings.env", b"X=1\n", "prod/settings.env:1: X: unknown"),
        ("environments/prod/settings.env", None, "missing; every environment has its settings"),
        ("environments/qa/release.yaml", b"commit: null\n", "no such environment"),
    ],
)
def test_what_is_not_valid_is_refused(lab: Lab, path: str, content: bytes | None, says: str) -> None:
    lab.branch("edit", {path: content})
    assert says in said(lab, "edit")


def test_a_promotion_changes_nothing_else(lab: Lab) -> None:
    commit = lab.train("a")
    release = {"environments/staging/release.yaml": f"commit: {commit}\n".encode()}
    lab.branch("alone", release)
    assert found(lab, "alone") == []
    lab.branch("more", release | {"README.md": b"x"})
    assert "changes together with README.md; put the release into a pull request of its own" in said(
        lab, "more"
    )
    lab.branch("both", release | {"environments/prod/release.yaml": f"commit: {commit}\n".encode()})
    assert len([line for line in found(lab, "both") if "changes together" in line.rule]) == 2


def test_a_comment_in_a_release_file_is_no_promotion(lab: Lab) -> None:
    lab.branch("edit", {"environments/staging/release.yaml": b"# hello\ncommit: null\n", "README.md": b"x"})
    assert found(lab, "edit") == []


def test_all_violations_are_listed(lab: Lab) -> None:
    lab.branch(
        "edit",
        {
            "environments/dev/release.yaml": b"x: 1\n",
            "environments/staging/release.yaml": b"",
            "environments/prod/settings.env": b"",
        },
    )
    files = [violation.file for violation in found(lab, "edit")]
    assert files == [
        "environments/dev/release.yaml",
        "environments/staging/release.yaml",
        "environments/prod/settings.env",
    ]


def test_a_change_cannot_lower_the_bar_for_itself(lab: Lab) -> None:
    path = "environments/dev/settings.env"
    settings = (lab.origin.read("main", path) or b"").replace(b"THRESHOLD=0.85", b"THRESHOLD=0.5")
    lab.branch("edit", model_files("a", 0.6) | {path: settings})
    assert "at least 0.8500 is asked for" in said(lab, "edit")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (model_files("a", profile="small"), "profile: small, full is asked for"),
        (model_files("a", 0.5), "mean accuracy: 0.5000"),
        ({"dvc.lock": b"x"}, "metrics/evaluation.json: missing"),
        ({"metrics/evaluation.json": b"{}"}, "profile: Field required"),
        ({"metrics/evaluation.json": b"\xff"}, "metrics/evaluation.json"),
    ],
)
def test_a_model_must_pass_its_gates_to_reach_main(lab: Lab, files: dict[str, bytes], says: str) -> None:
    lab.branch("candidate/a", files)
    assert says in said(lab, "candidate/a")


def recorded(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a training, with the figures in `dvc.lock`."""
    outs = "".join(
        f"    - {{path: {path}, md5: {hashlib.md5(files[path], usedforsecurity=False).hexdigest()}}}\n"
        for path in (EVALUATION, EXPORT)
    )
    return files | {"dvc.lock": files["dvc.lock"] + f"  evaluate:\n    outs:\n{outs}".encode()}


@pytest.mark.parametrize("path", [EVALUATION, EXPORT])
def test_figures_are_those_that_dvc_recorded(lab: Lab, path: str) -> None:
    files = recorded(model_files("a"))
    lab.branch("honest", files)
    assert found(lab, "honest") == []
    lab.branch("edited", files | {path: files[path].replace(b"0.9", b"0.99").replace(b"0002", b"0001")})
    assert said(lab, "edited").startswith(f"{path}: not what dvc.lock records of it")
    lab.merge("honest")
    # Of a model that runs already, where no gate has anything to compare
    lab.branch("boast", {path: files[path] + b"\n"})
    [violation] = found(lab, "boast")
    assert (violation.file, "run dvc repro" in violation.right) == (path, True)


def test_a_good_model_may_be_merged(lab: Lab) -> None:
    lab.branch("candidate/a", model_files("a"))
    assert found(lab, "candidate/a") == []


def test_a_branch_that_is_behind_is_judged_by_what_main_says_now(lab: Lab) -> None:
    start = lab.tip
    first = lab.train("a")
    lab.branch("old", {"environments/staging/release.yaml": f"commit: {first}\n".encode()})
    lab.branch("code", {"src/new.py": b""}, on=start)
    lab.train("b")
    lab.release("staging")
    assert "is older than" in said(lab, "old")
    assert found(lab, "code") == []


def test_histories_that_never_met(lab: Lab) -> None:
    lab.origin.git("update-ref", "refs/heads/alien", lab.origin.commit_files(None, {"x": b""}, "Alien"))
    assert "shares no history with main" in said(lab, "alien")


def test_merge_moves_main_and_deletes_the_proposal(lab: Lab) -> None:
    lab.train("a")
    proposal = lab.promote("staging")
    before = lab.tip
    commit = lab.merge("promote/staging")
    assert lab.tip == commit
    assert lab.origin.git("show", "--no-patch", "--format=%P", commit) == f"{before} {proposal.commit}"
    assert "refs/heads/promote/staging" not in lab.clone.remote_refs(lab.remote)
    assert lab.clone.git("status", "--porcelain") == ""
    assert lab.clone.git("branch", "--list").split() == ["*", "main"]


def test_merge_keeps_a_feature_branch(lab: Lab) -> None:
    lab.branch("feature", {"x": b""})
    lab.merge("feature")
    assert "refs/heads/feature" in lab.clone.remote_refs(lab.remote)
    with pytest.raises(NothingToDoError, match="feature is already part of main"):
        lab.merge("feature")


def test_merge_refuses_what_check_refuses(lab: Lab) -> None:
    before = lab.tip
    lab.branch("edit", {"environments/staging/release.yaml": b"x: 1\n"})
    with pytest.raises(RuleError, match="x: unknown key"):
        lab.merge("edit")
    for branch in ("nope", "main"):
        with pytest.raises(RuleError, match=f"{branch}: no such branch"):
            lab.merge(branch)
    assert lab.tip == before


def test_merge_names_the_files_in_conflict(lab: Lab) -> None:
    start = lab.tip
    before = lab.land({"README.md": b"ours\n", "dvc.yaml": b"ours\n"})
    lab.branch("feature", {"README.md": b"theirs\n", "dvc.yaml": b"theirs\n"}, on=start)
    with pytest.raises(RuleError, match=r"feature: conflicts with main in README\.md, dvc\.yaml; merge main"):
        lab.merge("feature")
    assert lab.tip == before


def _hook(lab: Lab, script: str) -> None:
    hook = lab.origin.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def test_merge_starts_again_once_when_main_moved(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.branch("feature", {"x": b""})
    pushed: list[str] = []
    real = Repository.push

    def race(self: Repository, *args: object, **options: object) -> None:
        if not pushed:
            pushed.append(lab.land({"README.md": b"somebody else\n"}))
        real(self, *args, **options)

    monkeypatch.setattr(Repository, "push", race)
    commit = lab.merge("feature")
    assert lab.origin.is_ancestor(pushed[0], commit)
    assert lab.tip == commit


def test_merge_gives_up_on_a_main_that_it_may_not_push_to(lab: Lab) -> None:
    lab.branch("feature", {"x": b""})
    before = lab.tip
    _hook(lab, "echo protected >&2; exit 1")
    with pytest.raises(PushRejectedError, match=r"pre-receive hook declined"):
        merge(lab.clone, lab.remote, "feature")
    assert lab.tip == before


def test_merge_ignores_the_hooks_of_the_checkout(lab: Lab, tmp_path) -> None:
    lab.branch("feature", {"x": b""})
    ran = tmp_path / "ran"
    for name in ("pre-push", "pre-merge-commit", "commit-msg", "post-merge"):
        hook = lab.clone.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
        hook.chmod(0o755)
    assert lab.merge("feature") == lab.tip
    assert not ran.exists()


def test_a_comparison_that_fails_is_not_blamed_on_the_model(lab: Lab) -> None:
    lab.train("a")
    head = lab.branch("candidate/b", model_files("b"))

    def compare(*_: object) -> Comparison:
        raise ComparisonError("the DVC remote is down")

    ledger = Ledger.fetch(lab.clone, lab.remote, compare=compare)
    (violation,) = check(ledger, head)
    assert "not known: the DVC remote is down" in violation.rule
    assert violation.right == "see to that and check again"
    assert [row.ok for row in ledger.judged["dev"] if row.gate == "no worse than the incumbent"] == [False]


def test_a_promotion_is_compared_with_what_the_environment_runs(lab: Lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    second = lab.train("b")
    asked: list[tuple[str, str]] = []

    def compare(_: Repository, commit: str, incumbent: str) -> Comparison:
        asked.append((commit, incumbent))
        raise ComparisonError("the DVC remote is down")

    ledger = Ledger.fetch(lab.clone, lab.remote, compare=compare)
    (violation,) = violations(ledger, "staging", Release(commit=second))
    assert asked == [(second, first)]
    assert violation.right == "see to that and check again"
    assert list(ledger.judged) == ["staging"]
