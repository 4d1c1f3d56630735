import hashlib
import json
import time
from typing import Any

import pytest

from gitops.errors import ComparisonError, NothingToDoError, PushRejectedError, RuleError
from gitops.findings import Finding
from gitops.gates.comparison import Comparison
from gitops.git.repository import Repository
from gitops.model import metrics
from gitops.paths import DECISIONS
from gitops.promotion.evidence import Evidence
from gitops.promotion.holds import unhold
from gitops.promotion.merge import check, merge
from gitops.promotion.pipeline import note
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from gitops.promotion.rules import judge_release
from gitops.release.file import Release
from gitops.release.signatures import SIGNERS
from gitops.release.snapshot import Snapshot
from tests.support.figures import model_files, model_md5
from tests.support.lab import PIPELINE, ROOT, Lab


def found(lab: Lab, head: str) -> list[Finding]:
    state = lab.state()
    commit = lab.clone.resolve(lab.clone.branch_ref(lab.remote, head))
    return list(check(lab.clone, state, commit).findings)


def said(lab: Lab, head: str) -> str:
    return "\n".join(map(str, found(lab, head)))


FREEZE_OF_QA = (
    b"windows: [{rule: deny, reason: freeze, environments: [qa], start: 2026-01-01, end: 2026-01-02}]\n"
)


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
    lab.verify("staging", lab.state().history("staging")[1].commit or "")
    state = lab.state()
    push(lab.clone, lab.remote, rollback(lab.clone, state, "staging", lab.remote))
    assert found(lab, "rollback/staging") == []
    lab.merge("rollback/staging")
    state = lab.state()
    push(lab.clone, lab.remote, unhold(lab.clone, state, "staging", lab.remote))
    assert found(lab, "unhold/staging") == []


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
        (
            "environments/calendar.yaml",
            b"windows: 1\n",
            "environments/calendar.yaml: windows: input should be",
        ),
        (
            "environments/calendar.yaml",
            FREEZE_OF_QA,
            "calendar.yaml: qa: no such environment; there are dev,",
        ),
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
    assert len([line for line in found(lab, "both") if "changes together" in line.problem]) == 2


def test_a_comment_in_a_release_file_is_no_promotion(lab: Lab) -> None:
    lab.branch("edit", {"environments/staging/release.yaml": b"# hello\ncommit: null\n", "README.md": b"x"})
    assert found(lab, "edit") == []


def test_all_findings_are_listed(lab: Lab) -> None:
    lab.branch(
        "edit",
        {
            "environments/dev/release.yaml": b"x: 1\n",
            "environments/staging/release.yaml": b"",
            "environments/prod/settings.env": b"",
        },
    )
    files = [finding.subject for finding in found(lab, "edit")]
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


FIGURES = (DECISIONS, *metrics.PATHS)
EVALUATES = b"  evaluate:\n    cmd: x\n    outs: [{metrics/decisions.json: {cache: false}}]\n"


def recorded(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a training, with the figures in `dvc.lock`."""
    outs = "".join(
        f"    - {{path: {path}, md5: {hashlib.md5(files[path], usedforsecurity=False).hexdigest()}}}\n"
        for path in FIGURES
        if path in files
    )
    return files | {"dvc.lock": files["dvc.lock"] + f"  evaluate:\n    cmd: x\n    outs:\n{outs}".encode()}


def about_figures(lab: Lab, head: str) -> list[Finding]:
    return [one for one in found(lab, head) if one.rule in ("edited-metrics", "missing-decisions")]


@pytest.mark.parametrize("path", FIGURES)
def test_figures_are_those_that_dvc_recorded(lab: Lab, path: str) -> None:
    declared = "".join(f"    - {one}: {{cache: false}}\n" for one in FIGURES if one != DECISIONS)
    evaluates = f"  evaluate:\n    cmd: x\n    outs:\n{declared}".encode()
    evaluates += f"    - {path}: {{cache: false}}\n".encode() if path == DECISIONS else b""
    lab.land({"dvc.yaml": PIPELINE + evaluates})
    files = recorded({path: b"{}", **model_files("a")})
    lab.branch("honest", files)
    assert about_figures(lab, "honest") == []
    lab.branch("edited", files | {path: files[path] + b" "})
    [finding] = about_figures(lab, "edited")
    assert str(finding).startswith(f"{path}: does not belong to this dvc.lock")
    assert finding.command == "", "main has no such file yet"
    lab.merge("honest") if path != DECISIONS else lab.land(files)
    # Of a model that runs already, where no gate has anything to compare
    lab.branch("boast", {path: files[path] + b"\n"})
    [finding] = about_figures(lab, "boast")
    assert (finding.subject, "run: source .venv/bin/activate && dvc repro" in finding.remedy) == (path, True)
    assert finding.command == f"git checkout {lab.tip[:12]} -- {path}"
    lab.branch("deleted", {path: None})
    problem = "or has no record in dvc.lock" if path == DECISIONS else "and dvc.lock records it"
    assert f"{path}: is missing, {problem}" in said(lab, "deleted")


@pytest.mark.parametrize("first", [True, False])
def test_nobody_leaves_out_the_decisions(lab: Lab, first: bool) -> None:
    """The first model neither, nor a model that runs already."""
    lab.land({"dvc.yaml": PIPELINE + EVALUATES})
    files = recorded({DECISIONS: b"{}", **model_files("a")})
    lock = model_files("a")["dvc.lock"]
    if not first:
        lab.land(files)
    for name, change in {
        "uncommitted": {DECISIONS: None},
        "unrecorded": {DECISIONS: b"{ }", "dvc.lock": lock},
        "undeclared": {DECISIONS: None, "dvc.lock": lock, "dvc.yaml": PIPELINE},
    }.items():
        lab.branch(name, files | change if first else change)
        assert "missing-decisions" in {one.rule for one in about_figures(lab, name)}
    lab.branch("whole", files)
    assert about_figures(lab, "whole") == []


def test_a_good_model_may_be_merged(lab: Lab) -> None:
    lab.branch("candidate/a", model_files("a"))
    assert found(lab, "candidate/a") == []


def test_a_branch_that_is_behind_is_judged_by_what_main_says_now(lab: Lab) -> None:
    start = lab.tip
    first = lab.train("a")
    path = "environments/staging/release.yaml"
    lab.branch("old", {path: f"commit: {first}\n".encode()})
    lab.branch("code", {"src/new.py": b""}, on=start)
    lab.train("b")
    lab.release("staging")
    assert (
        f"conflicts with main in {path}; merge main into the branch, or propose it again; run: git pull"
        in said(lab, "old")
    )
    lab.branch("older", {path: f"commit: {first}\n".encode()})
    assert "is older than" in said(lab, "older")
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
    for branch, reason in (("nope", "no such branch"), ("main", "is the branch that others are merged into")):
        with pytest.raises(RuleError, match=f"{branch}: {reason}"):
            lab.merge(branch)
    assert lab.tip == before


def test_merge_names_the_files_in_conflict(lab: Lab) -> None:
    start = lab.tip
    before = lab.land({"README.md": b"ours\n", "dags/new.py": b"ours\n"})
    lab.branch("feature", {"README.md": b"theirs\n", "dags/new.py": b"theirs\n"}, on=start)
    with pytest.raises(
        RuleError,
        match=r"conflicts with main in README\.md, dags/new\.py; merge main into .*; run: git pull",
    ):
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

    def race(self: Repository, *args: Any, **options: Any) -> None:
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

    def compare(model: Snapshot, incumbent: Snapshot, **_: object) -> Comparison:
        raise ComparisonError("the DVC remote is down")

    judgement = check(lab.clone, lab.state(), head, Evidence.of(lab.clone, compare=compare))
    (finding,) = judgement.findings
    assert "not known: the DVC remote is down" in finding.problem
    assert finding.remedy == "see to that and check again"
    assert [row.ok for row in judgement.gates["dev"] if row.gate == "no worse than the incumbent"] == [False]


def test_a_promotion_is_compared_with_what_the_environment_runs(lab: Lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    second = lab.train("b")
    asked: list[tuple[str, str]] = []

    def compare(model: Snapshot, incumbent: Snapshot, **_: object) -> Comparison:
        asked.append((model.commit, incumbent.commit))
        raise ComparisonError("the DVC remote is down")

    release = Release(commit=second)
    judgement = judge_release(lab.state(), "staging", release, Evidence.of(lab.clone, compare=compare))
    (finding,) = judgement.findings
    assert asked == [(second, first)]
    assert finding.remedy == "see to that and check again"
    assert list(judgement.gates) == ["staging"]


TWO_STAGES = b"""stages:
  export:
    cmd: make it
    params: [train]
    outs: [models/model.onnx]
  evaluate:
    cmd: judge it
    deps: [models/model.onnx]
"""


def trained(params: str, *, read: str = "a") -> dict[str, bytes]:
    """A pipeline, and what a training with these parameters leaves; evaluate read the model `read`."""
    made, other = (model_md5(name) for name in ("a", read))
    lock = f"""schema: '2.0'
stages:
  export:
    cmd: make it
    params:
      params.yaml:
        train: {{learning_rate: {params}}}
    outs:
    - {{path: models/model.onnx, hash: md5, md5: {made}}}
  evaluate:
    cmd: judge it
    deps:
    - {{path: models/model.onnx, hash: md5, md5: {other}}}
"""
    return model_files("a") | {"dvc.yaml": TWO_STAGES, "dvc.lock": lock.encode()}


def test_a_change_that_its_model_was_not_made_with_may_be_merged_and_is_noted(lab: Lab) -> None:
    lab.land(trained("0.1"))
    params = {"params.yaml": b"profile: full\ntrain:\n  learning_rate: 0.2\n"}
    commit = lab.branch("faster", params)
    assert found(lab, "faster") == []
    state = lab.state()
    line = note(Evidence.of(lab.clone), commit, ["params.yaml"], "faster")
    assert line is not None
    assert "params.yaml: train.learning_rate 0.1 -> 0.2 (export)" in line
    assert ".venv/bin/gitops train faster --wait" in line
    assert note(Evidence.of(lab.clone), state.tip, ["params.yaml"], "main") is None
    # What touches no file of the pipeline is not told of it.
    assert note(Evidence.of(lab.clone), commit, ["environments/prod/release.yaml"], "x") is None


def test_a_lock_that_contradicts_itself_is_refused(lab: Lab) -> None:
    lab.land(trained("0.1"))
    lab.branch("by-hand", trained("0.1", read="b") | {"README.md": b"merged by hand"})
    (finding,) = found(lab, "by-hand")
    assert finding.subject == "dvc.lock"
    assert finding.problem.startswith(
        f"export made models/model.onnx with the digest {model_md5('a')[:12]}, evaluate read"
    )


SCHEMA = "schemas/params.schema.json"


def visage(path: str) -> bytes:
    return (ROOT / path).read_bytes()


def parameters(lab: Lab) -> None:
    """Give main the parameters, the overlay and the schema of this repository."""
    lab.land({path: visage(path) for path in ("params.yaml", "params.small.yaml", SCHEMA)})


@pytest.mark.parametrize(
    ("path", "before", "after", "says"),
    [
        (
            "params.yaml",
            b"width: 16",
            b"width: 24",
            "params.yaml: train.width: 24 is outside tune.space.width (one of 8, 16); "
            "every stage would stop there: correct it",
        ),
        (
            "params.yaml",
            b"dropout: {synthetic: 0.1",
            b"dropout: {synthetic: 2",
            "train.dropout: 2 must be less than 1",
        ),
        ("params.yaml", b"batch_size", b"batchsize", "train.batchsize: unknown, did you mean batch_size?"),
        ("params.yaml", b"sample: 2000", b"sample: 2000.0", "prepare.sample: 2000.0 must be of type integer"),
        ("params.yaml", b"profile: full", b"profile: [", "params.yaml: line "),
        (
            "params.small.yaml",
            b"epochs: 5",
            b"epochs: 0",
            "params.small.yaml: train.epochs: 0 must be at least 1",
        ),
        (
            "params.small.yaml",
            b"trials: 2",
            b"trails: 2",
            "params.small.yaml: tune.trails: unknown, did you mean",
        ),
        ("params.small.yaml", b"tune:", b"tune: 3\nx:", "params.small.yaml: tune: must be a section"),
    ],
)
def test_parameters_are_checked_as_the_stages_check_them(
    lab: Lab, path: str, before: bytes, after: bytes, says: str
) -> None:
    parameters(lab)
    content = visage(path)
    assert before in content
    lab.branch("edit", {path: content.replace(before, after, 1)})
    (line,) = said(lab, "edit").splitlines()
    assert says in line


def test_a_change_of_the_parameters_model_is_judged_by_its_own_schema(lab: Lab) -> None:
    parameters(lab)
    schema = json.loads(visage(SCHEMA))
    schema["$defs"]["TrainParams"]["properties"]["momentum"] = {"type": "number", "maximum": 1}
    files = {SCHEMA: json.dumps(schema).encode()}
    params = visage("params.yaml").replace(b"  ema_decay", b"  momentum: 0.9\n  ema_decay")
    lab.branch("both", files | {"params.yaml": params})
    assert found(lab, "both") == []
    lab.branch("params", {"params.yaml": params})
    assert "train.momentum: unknown" in said(lab, "params")
    lab.branch("too-much", files | {"params.yaml": params.replace(b"0.9\n", b"1.9\n", 1)})
    assert "train.momentum: 1.9 must be at most 1" in said(lab, "too-much")
    # A schema that is taken away is no way around it.
    lab.branch("without", {SCHEMA: None, "params.yaml": params})
    assert "train.momentum: unknown" in said(lab, "without")
    lab.branch("broken", {SCHEMA: b"[]"})
    assert f"{SCHEMA}: not a JSON Schema" in said(lab, "broken")


def test_a_rollback_waits_for_no_repair_of_the_pipeline(lab: Lab) -> None:
    lab.train("a")
    lab.release("staging")
    lab.train("b")
    lab.release("staging")
    lab.land({"dvc.yaml": b"stages: ["})
    state = lab.state()
    push(lab.clone, lab.remote, rollback(lab.clone, state, "staging", lab.remote))
    assert found(lab, "rollback/staging") == []
    lab.branch("docs", {"README.md": b"x"})
    assert "dvc.yaml" in said(lab, "docs")


OWNERS = b"""* @us
/dvc.lock
/metrics/
/environments/staging/release.yaml
"""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (OWNERS, ""),
        (OWNERS + b"/dags/ @us @them # theirs\n", ""),
        (OWNERS + b"/dags/\n", "CODEOWNERS:5: no owner has to approve a change of /dags/; name an owner"),
        (OWNERS + b"*\n", "CODEOWNERS:5: no owner has to approve a change of *"),
        (
            OWNERS + b"/environments/prod/release.yaml # later\n",
            "a change of /environments/prod/release.yaml",
        ),
        (OWNERS + b"/environments/qa/release.yaml\n", "a change of /environments/qa/release.yaml"),
        (b"/dags/ @us\n", "does not begin with an owner of everything; begin with `* OWNER`"),
        (b"*\n", "does not begin with an owner of everything"),
        (b"# nobody\n", "does not begin with an owner of everything"),
        # GitHub ignores a line whose owner is no name, and ends lines and words as no other reader does.
        (b"* owners\n", "CODEOWNERS:1: no name of an owner: 'owners'; GitHub ignores the line"),
        ("# words\u2028* @us\n".encode(), "does not begin with an owner of everything"),
        ("*\u00a0@us\n".encode(), "does not begin with an owner of everything"),
        (OWNERS + "/dags/ @us\u00a0@them\n".encode(), "CODEOWNERS:5: no name of an owner"),
        (b"\xff", "not UTF-8 text"),
        (None, "CODEOWNERS: missing; restore it"),
    ],
)
def test_each_file_that_an_environment_reads_has_an_owner(lab: Lab, content: bytes | None, says: str) -> None:
    lab.land({".github/CODEOWNERS": OWNERS})
    lab.branch("owners", {".github/CODEOWNERS": content, "README.md": b"x"})
    assert says in said(lab, "owners")
    assert bool(says) == bool(found(lab, "owners"))


def test_the_owners_of_this_repository_pass(lab: Lab) -> None:
    lab.branch("owners", {".github/CODEOWNERS": (ROOT / ".github/CODEOWNERS").read_bytes()})
    assert found(lab, "owners") == []


def test_a_change_of_the_model_does_not_choose_the_storage_that_answers_for_it(lab: Lab) -> None:
    path = ".dvc/config"
    lab.land(model_files("a") | {path: b"[core]\n    remote = ours\n"})
    lab.branch("both", model_files("b", 0.95) | {path: None})
    assert f"{path}: names the DVC remote, and changes together with the model; merge it first" in said(
        lab, "both"
    )
    lab.branch("alone", {path: None})
    assert found(lab, "alone") == []


def test_a_file_whose_name_is_a_command_is_a_line_like_any_other(lab: Lab) -> None:
    head = lab.branch("b", {"environments/\x1b[2Jx\n::add-mask::y/release.yaml": b"x"})
    (line,) = map(str, check(lab.clone, lab.state(), head).findings)
    assert line.isprintable()
    assert "environments/?[2Jx?::add-mask::y/release.yaml: no such environment" in line


def test_many_folders_of_no_environment_are_named_in_few_lines(lab: Lab) -> None:
    lab.branch("many", {f"environments/a{number:04}/settings.env": b"" for number in range(900)})
    lines = said(lab, "many").splitlines()
    assert len(lines) == 5
    assert lines[4].startswith("environments/a0004/settings.env: no such environment; so are 895 more files;")


def test_too_many_environments_are_one_line(lab: Lab) -> None:
    file = (ROOT / "environments/staging/environment.yaml").read_bytes()
    lab.branch("many", {f"environments/a{number:04}/environment.yaml": file for number in range(900)})
    assert said(lab, "many") == "environments: 903 environments, 50 are allowed; remove some"


def test_a_list_of_signers_that_is_too_large_is_refused_at_once(lab: Lab) -> None:
    lines = [f"a{number}@x ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{number:043}\n" for number in range(5000)]
    lab.branch("many", {SIGNERS: "".join(lines).encode()})
    began = time.process_time()
    assert "has more than 65,536 bytes, so nobody on it would count" in said(lab, "many")
    assert time.process_time() - began < 5
