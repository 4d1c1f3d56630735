import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.exceptions import AirflowException

from gitops import runtime
from gitops.airflow.bundle import ReleaseBundle
from gitops.errors import GitError, ReleaseError
from gitops.git.repository import Repository
from gitops.promotion.rollbacks import rollback
from tests.gitops import poison
from tests.support.bundles import UNCHECKED, Make, version
from tests.support.figures import model_files
from tests.support.lab import DAG, ROOT, Lab


def dags(bundle: ReleaseBundle) -> set[str]:
    return {path.name for path in bundle.path.glob("*.py")}


def unplug(lab: Lab) -> None:
    lab.origin.path.rename(lab.origin.path.with_name("gone.git"))


def plug(lab: Lab) -> None:
    lab.origin.path.with_name("gone.git").rename(lab.origin.path)


def test_dev_follows_main(lab: Lab, make: Make) -> None:
    bundle = make("dev")
    assert (version(bundle), dags(bundle)) == (lab.tip, {"example.py"})
    lab.land({"dags/new.py": DAG, "dags/example.py": None})
    bundle.refresh()
    assert (version(bundle), dags(bundle)) == (lab.tip, {"new.py"})
    assert bundle.path.parent.joinpath("params.yaml").is_file()


def test_staging_runs_what_is_declared(lab: Lab, make: Make) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make()
    assert version(bundle) == first
    second = lab.land({"dags/new.py": DAG})
    bundle.refresh()
    assert (version(bundle), dags(bundle)) == (first, {"example.py"})
    lab.declare("staging", f"commit: {second}\n")
    bundle.refresh()
    assert (version(bundle), dags(bundle)) == (second, {"example.py", "new.py"})
    assert bundle.serving.commit == bundle.serving.declared == second


def test_airflow_parses_every_file_of_a_new_release_again(lab: Lab, make: Make) -> None:
    bundle = make("dev")
    file = bundle.path / "example.py"
    before = file.stat().st_mtime_ns
    bundle.refresh()
    assert file.stat().st_mtime_ns == before
    lab.land({"params.yaml": b"changed: 1\n"})
    bundle.refresh()
    assert file.stat().st_mtime_ns > before


def test_no_release_yet_is_an_empty_healthy_folder(lab: Lab, make: Make, lines: list[str]) -> None:
    bundle = make()
    assert bundle.path.is_dir()
    assert dags(bundle) == set()
    empty = version(bundle)
    assert bundle.serving.commit is None
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    bundle.refresh()
    assert dags(bundle) == {"example.py"}
    assert version(bundle) == commit != empty
    assert lines == []


def test_it_records_whether_the_release_waits_for_its_verdict(lab: Lab, make: Make) -> None:
    bundle = make()
    assert not bundle.serving.unverified, "no release"
    bare = lab.land({"params.yaml": b"changed: 1\n"})
    lab.declare("staging", f"commit: {bare}\n")
    bundle.refresh()
    assert (bundle.serving.commit, bundle.serving.unverified) == (bare, False), "it has no model to verify"
    for name, status in (("a", "verified"), ("b", "rejected")):
        commit = lab.train(name)
        lab.declare("staging", f"commit: {commit}\n")
        bundle.refresh()
        assert (bundle.serving.commit, bundle.serving.unverified) == (commit, True)
        lab.verify("dev", commit, status)
        bundle.refresh()
        assert bundle.serving.unverified, "dev's verdict is not staging's"
        lab.verify("staging", commit, status)
        bundle.refresh()
        assert not bundle.serving.unverified


def test_a_release_is_not_taken_away(lab: Lab, make: Make, lines: list[str], storage: Path) -> None:
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    bundle = make()
    lab.declare("staging", "commit: null\n")
    bundle.refresh()
    assert version(bundle) == commit
    assert "a release is not removed" in bundle.serving.refused
    shutil.rmtree(storage)
    assert version(make()) == commit


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("commit: abc\n", "'abc' is not a full commit id"),
        ("nonsense", "not a mapping"),
        (f"commit: {'f' * 40}\n", "is not on main"),
        ("commit: null\nx: 1\n", "x: unknown key"),
        ("commit: {\n", "release.yaml"),
        (None, "missing on main"),
        ("side", "is not on main"),
        ("bare", "has no folder dags"),
        ("file", "has no folder dags"),
    ],
)
def test_refuses_and_keeps_the_last_good_one(
    lab: Lab, make: Make, lines: list[str], content: str | None, says: str
) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    bundle = make()
    if content == "side":
        content = f"commit: {lab.branch('side', model_files('b'))}\n"
    elif content in ("bare", "file"):
        lab.land({"dags/example.py": None} | ({"dags": b"x"} if content == "file" else {}))
        content = f"commit: {lab.tip}\n"
    lab.land({"environments/staging/release.yaml": None if content is None else content.encode()})
    for _ in range(3):
        bundle.refresh()
    assert (version(bundle), dags(bundle)) == (good, {"example.py"})
    (line,) = lines
    assert says in line
    assert line.endswith(f"refused; staging runs release {good[:12]}")
    assert says in bundle.serving.refused

    again = make()
    assert version(again) == good
    lab.land({"dags": None})
    better = lab.land({"dags/example.py": DAG})
    lab.declare("staging", f"commit: {better}\n")
    again.refresh()
    assert version(again) == better
    assert again.serving.refused is None


def test_dev_refuses_a_main_without_dags(lab: Lab, make: Make, lines: list[str]) -> None:
    bundle = make("dev")
    good = version(bundle)
    lab.land({"dags/example.py": None})
    bundle.refresh()
    assert version(bundle) == good
    assert "has no folder dags" in lines[0]


def test_a_release_of_a_newer_contract_is_refused_before_it_is_served(
    lab: Lab, make: Make, lines: list[str]
) -> None:
    served = lab.tip
    bundle = make("dev")
    needs = runtime.CONTRACT + 1
    newer = lab.land({"dags/runtime.yaml": b"contract: %d\n" % needs})
    bundle.refresh()
    assert version(bundle) == served
    refused = f"{newer[:12]} needs runtime contract {needs}, this one is {runtime.CONTRACT}"
    assert [line for line in lines if refused in line]
    assert bundle.serving is not None
    assert (refused in str(bundle.serving.refused), bundle.serving.needs) == (True, 0)
    fits = lab.land({"dags/runtime.yaml": b"contract: %d\n" % runtime.CONTRACT})
    bundle.refresh()
    assert version(bundle) == fits
    assert (bundle.serving.refused, bundle.serving.needs) == (None, runtime.CONTRACT)


def test_a_fresh_machine_finds_the_last_valid_release_in_history(lab: Lab, make: Make) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    lab.declare("staging", "nonsense")
    assert version(make()) == good


def test_what_the_environment_rejected_does_not_run(lab: Lab, make: Make, lines: list[str]) -> None:
    releases = []
    for name in "abc":
        releases.append(lab.train(name))
        lab.declare("staging", f"commit: {releases[-1]}\n")
    first, second, third = releases
    bundle = make()
    assert version(bundle) == third
    lab.verify("staging", first)
    lab.verify("staging", third, "rejected")
    for _ in range(3):
        bundle.refresh()
        assert version(bundle) == first
    assert [line for line in lines if "staging rejected " in line] == lines
    assert len(lines) == 1
    assert bundle.serving.declared == third

    assert version(make()) == first
    lab.verify("staging", second)
    bundle.refresh()
    assert version(bundle) == second
    lab.origin.git("update-ref", "-d", f"refs/tags/rejected/staging/{third[:12]}")
    bundle.refresh()
    assert (version(bundle), bundle.serving.refused) == (third, None)


def test_another_environment_s_rejection_changes_nothing(lab: Lab, make: Make) -> None:
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    bundle = make()
    lab.verify("prod", commit, "rejected")
    bundle.refresh()
    assert version(bundle) == commit


def test_a_rejected_release_gives_way_to_a_verified_one_alone(lab: Lab, make: Make, storage: Path) -> None:
    first, second = lab.train("a"), lab.train("b")
    for commit in (first, second):
        lab.declare("staging", f"commit: {commit}\n")
    bundle = make()
    lab.verify("staging", second, "rejected")
    bundle.refresh()
    assert version(bundle) == second
    assert (
        f"staging rejected {second[:12]} (rejected/staging/{second[:12]}: mean accuracy"
        in bundle.serving.refused
    )
    shutil.rmtree(storage)
    bundle = make()
    assert version(bundle) == second
    lab.verify("staging", first)
    bundle.refresh()
    assert version(bundle) == first


def test_odd_tags_change_nothing_that_runs(lab: Lab, make: Make, storage: Path) -> None:
    first, second = lab.train("a"), lab.train("b")
    for commit in (first, second):
        lab.declare("staging", f"commit: {commit}\n")
    lab.verify("staging", first)
    bundle = make()
    odd = [
        name
        for word in ("rejected", "verified")
        for commit in (first, second)
        for name in poison.tags(lab.origin, word, "staging", commit)
    ]
    bundle.refresh()
    assert (version(bundle), bundle.serving.refused) == (second, None)
    shutil.rmtree(storage)
    assert version(make()) == second
    assert len(odd) > 40


def _with_link(lab: Lab, name: str, target: str) -> str:
    """Put a link on main."""
    blob = lab.origin.git("hash-object", "-w", "--stdin", input=target.encode())
    return _with_entry(lab, f"120000 blob {blob}\t{name}")


def _with_entry(lab: Lab, *entries: str) -> str:
    """Add entries to the folder dags on main, as a change that nobody checked."""
    present = lab.origin.git("ls-tree", f"{lab.tip}:dags").splitlines()
    folder = lab.origin.git("mktree", "--missing", input="\n".join([*present, *entries, ""]))
    root = lab.origin.git("ls-tree", lab.tip).splitlines()
    root = [f"040000 tree {folder}\tdags" if row.endswith("\tdags") else row for row in root]
    tree = lab.origin.git("mktree", input="\n".join([*root, ""]))
    commit = lab.origin.commit_tree(tree, [lab.tip], "Odd")
    lab.origin.git("update-ref", "refs/heads/main", commit)
    return commit


@pytest.mark.parametrize(
    ("make_odd", "says"),
    [
        (lambda lab: _with_link(lab, "shared.py", "nowhere.py"), "shared.py is a link that leads nowhere"),
        (lambda lab: _with_link(lab, "shared.py", "shared.py"), "shared.py is a link that leads nowhere"),
        (lambda lab: _with_link(lab, "shared.py", "/etc/passwd"), "leads out of the repository"),
        (lambda lab: _with_link(lab, "shared.py", "../../../release.json"), "link that leads"),
        (lambda lab: lab.land({f"dags/{'x' * 300}.py": b""}), "File name too long"),
        (lambda lab: _with_entry(lab, f"160000 commit {lab.tip}\tsub"), "dags/sub is a submodule"),
        (
            lambda lab: _with_entry(
                lab, f"100644 blob {lab.origin.tree_id(lab.tip, 'README.md')}\texample.py"
            ),
            "dags/example.py is there twice",
        ),
    ],
    ids=["dangling", "loop", "outside", "upward", "long name", "submodule", "twice"],
)
def test_what_cannot_be_checked_out_is_refused(
    lab: Lab, make: Make, storage: Path, make_odd: Callable[[Lab], str], says: str
) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    bundle = make()
    odd = make_odd(lab)
    lab.declare("staging", f"commit: {odd}\n")
    lab.land({path: None for path in lab.origin.files("main", "dags") if path != "dags/example.py"})
    bundle.refresh()
    again = make()
    for one in (bundle, again):
        assert (version(one), dags(one)) == (good, {"example.py"})
        assert f"{odd}: cannot be checked out: " in one.serving.refused
        assert says in one.serving.refused
    assert sorted(path.name for path in (storage / "release").iterdir()) == [
        "bare",
        "board.git",
        "release.json",
        "tracking_repo",
    ]
    shutil.rmtree(storage)
    assert version(make()) == good
    assert not (storage.parent / "release.json").exists()


def test_in_dev_a_merge_that_changes_no_release_stays_rejected(lab: Lab, make: Make) -> None:
    good = lab.train("a")
    lab.verify("dev", good)
    bad = lab.train("b")
    lab.verify("dev", bad, "rejected")
    lab.land({"README.md": b"news\n"})
    bundle = make("dev")
    assert version(bundle) == good
    better = lab.train("c")
    bundle.refresh()
    assert version(bundle) == better


def test_a_rewritten_main_is_followed_by_no_machine_of_the_environment(
    lab: Lab, make: Make, lines: list[str], storage: Path
) -> None:
    start = lab.tip
    good = lab.train("a")
    bundle = make("dev")
    rewritten = lab.commit(model_files("b"), on=start)
    lab.origin.git("update-ref", "refs/heads/main", rewritten)
    for _ in range(2):
        bundle.refresh()
    assert version(bundle) == good
    (line,) = lines
    assert f"main: was rewritten: {rewritten[:12]} does not contain {good[:12]}, which it pointed to" in line
    assert bundle.serving is not None
    assert (bundle.serving.commit, "was rewritten" in (bundle.serving.refused or "")) == (good, True)
    # A machine that has never seen main as it was
    shutil.rmtree(storage)
    fresh = make("dev")
    assert version(fresh) == good
    assert fresh.serving is not None
    assert "which dev verified last" in (fresh.serving.refused or "")
    lab.origin.git("update-ref", "refs/heads/main", good)
    fresh.refresh()
    assert (version(fresh), fresh.serving and fresh.serving.refused) == (good, None)
    # Somebody means it, as the lines say
    lab.origin.git("update-ref", "refs/heads/main", rewritten)
    lab.origin.git("update-ref", "-d", f"refs/tags/verified/dev/{good[:12]}")
    shutil.rmtree(fresh.bare_repo_path)
    fresh.refresh()
    assert (version(fresh), fresh.serving and fresh.serving.refused) == (rewritten, None)


def test_verdicts_that_come_back_free_a_machine_that_knew_the_wrong_main(lab: Lab, make: Make) -> None:
    start = lab.tip
    good = lab.train("a")
    tag = f"refs/tags/verified/dev/{good[:12]}"
    verdict = lab.origin.git("rev-parse", tag)
    rewritten = lab.commit(model_files("b"), on=start)
    lab.origin.git("update-ref", "refs/heads/main", rewritten)
    lab.origin.git("update-ref", "-d", tag)
    bundle = make("dev")
    assert version(bundle) == rewritten, "nothing shows that it is the wrong one"
    lab.origin.git("update-ref", tag, verdict)
    lab.origin.git("update-ref", "refs/heads/main", good)
    bundle.refresh()
    assert bundle.serving is not None
    assert (version(bundle), bundle.serving.refused) == (good, None)


def test_a_verdict_after_a_refresh_that_failed_counts(
    lab: Lab, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = lab.train("a")
    bundle = make("dev")
    bad = lab.train("b", verified=False)
    with monkeypatch.context() as broken:
        broken.setattr(bundle, "_serve", lambda *_: (_ for _ in ()).throw(GitError("planted")))
        with pytest.raises(GitError, match="planted"):
            bundle.refresh()
    lab.verify("dev", bad, "rejected")
    bundle.refresh()
    assert version(bundle) == good


def test_a_merge_that_makes_main_a_side_branch_changes_nothing_that_is_served(lab: Lab, make: Make) -> None:
    start = lab.tip
    good = lab.train("a")
    lab.release("staging")
    bundle = make()
    mine = lab.commit({"environments/staging/release.yaml": b"commit: null\n# mine\n"}, on=start)
    tree = lab.origin.git("rev-parse", f"{lab.tip}^{{tree}}")
    merge = lab.origin.commit_tree(tree, [mine, lab.tip], "Merge branch 'main'")
    before = lab.tip
    lab.origin.git("update-ref", "refs/heads/main", merge)
    bundle.refresh()
    assert bundle.serving is not None
    assert (version(bundle), bundle.serving.commit) == (good, good)
    assert f"a merge that ends in {merge[:12]} made" in (bundle.serving.refused or "")
    repaired = lab.origin.commit_tree(f"{merge}^{{tree}}", [before, merge], "Repair")
    lab.origin.git("update-ref", "refs/heads/main", repaired)
    bundle.refresh()
    assert bundle.serving.refused is None


def test_without_the_remote_the_last_good_release_is_served(lab: Lab, make: Make, lines: list[str]) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    bundle = make()
    unplug(lab)
    for _ in range(2):
        bundle.refresh()
    assert version(bundle) == good
    assert len(lines) == 1
    again = make()
    assert (version(again), dags(again)) == (good, {"example.py"})
    plug(lab)
    better = lab.train("b")
    lab.declare("staging", f"commit: {better}\n")
    again.refresh()
    assert version(again) == better


def test_a_first_start_without_the_remote_fails_in_one_line(lab: Lab, make: Make, storage: Path) -> None:
    unplug(lab)
    with pytest.raises(GitError, match=r"^git fetch: .*origin\.git"):
        make()
    plug(lab)
    assert dags(make()) == set()
    assert sorted(path.name for path in (storage / "release").iterdir()) == [
        "bare",
        "board.git",
        "release.json",
        "tracking_repo",
    ]


def test_an_origin_without_main_fails_in_one_line(lab: Lab, make: Make) -> None:
    lab.origin.git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(GitError):
        make()


def test_what_a_killed_process_left_is_repaired(lab: Lab, make: Make) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    bundle = make()
    (bundle.repo_path / ".git" / "index.lock").touch()
    (bundle.path / "example.py").write_text("half")
    (bundle.path / "left.py").write_text("over")
    again = make()
    assert (version(again), dags(again)) == (good, {"example.py"})
    assert (again.path / "example.py").read_bytes() == DAG


@pytest.mark.parametrize(
    "lost", ["tracking_repo", "bare", "release.json", "tracking_repo/.git/HEAD", "bare/HEAD"]
)
def test_what_is_lost_is_made_again(lab: Lab, make: Make, storage: Path, lost: str) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    bundle = make()
    path = storage / "release" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    bundle.refresh()
    assert version(make()) == good


def test_an_unreadable_record_is_no_obstacle(lab: Lab, make: Make, lines: list[str]) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    (make().base_dir / "release.json").write_text('{"environment": ')
    assert version(make()) == good
    assert "release.json: content: Invalid JSON" in lines[0]


def test_a_run_in_flight_keeps_its_version(lab: Lab, make: Make, lines: list[str]) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make()
    second = lab.land({"dags/example.py": b"# changed\n", "params.yaml": b"changed: 1\n"})
    lab.declare("staging", f"commit: {second}\n")
    bundle.refresh()
    task = make(version=first)
    assert version(task) == first
    assert (task.path / "example.py").read_bytes() == DAG
    assert b"profile" in (task.path.parent / "params.yaml").read_bytes()
    assert version(bundle) == second
    with pytest.raises(AirflowException, match="not supported"):
        task.refresh()
    unplug(lab)
    assert version(make(version=first)) == first
    assert dags(make(version=second)) == {"example.py"}
    assert lines == []
    assert dags(make()) == {"example.py"}


def test_a_worker_of_its_own_fetches_its_version(lab: Lab, make: Make, storage: Path) -> None:
    first = lab.train("a")
    assert dags(make(version=first)) == {"example.py"}
    second = lab.train("b")
    assert version(make(version=second)) == second
    with pytest.raises(AirflowException, match="not found"):
        make(version="f" * 40)


def test_a_users_hooks_do_not_keep_a_version_from_being_checked_out(
    lab: Lab, make: Make, isolated_home: Path
) -> None:
    hooks = isolated_home / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    with (isolated_home / ".gitconfig").open("a") as file:
        file.write(f"[core]\n\thooksPath = {hooks}\n\tautocrlf = true\n")
    before = dict(os.environ)
    first = lab.train("a")
    assert version(make(version=first)) == first
    assert dict(os.environ) == before


def test_a_moved_origin_is_followed(lab: Lab, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("dev")
    moved = lab.origin.path.with_name("moved.git")
    lab.origin.path.rename(moved)
    connection = {"conn_type": "git", "host": str(moved)}
    monkeypatch.setenv("AIRFLOW_CONN_GIT_DEFAULT", json.dumps(connection))
    lab.origin = Repository(moved)
    tip = lab.train("a", verified=False)
    assert version(make("dev")) == tip


def test_it_is_recorded_once_that_a_model_is_of_an_earlier_commit(lab: Lab, make: Make) -> None:
    bundle = make("dev")
    assert bundle.serving.model_notice is None, "the release is served first"
    bundle.refresh()
    assert "no model yet" in (bundle.serving.model_notice or "")
    lab.train("a")
    bundle.refresh()
    bundle.refresh()
    assert (bundle.serving.model_notice, bundle.serving.next_command) == (None, None)
    lab.land({"dvc.yaml": (lab.origin.read("main", "dvc.yaml") or b"").replace(b"make it", b"make it well")})
    bundle.refresh()
    bundle.refresh()
    assert "model of an earlier commit: train" in (bundle.serving.model_notice or "")
    assert bundle.serving.next_command == ".venv/bin/gitops train main --wait"
    lab.land({"dvc.yaml": b"stages: ["})
    bundle.refresh()
    bundle.refresh()
    assert bundle.serving.commit == lab.tip, "a pipeline that cannot be read does not stop the DAGs"
    assert "not known" in (bundle.serving.model_notice or "")


def test_no_such_environment(storage: Path) -> None:
    with pytest.raises(ReleaseError, match="no such environment"):
        ReleaseBundle(name="release", environment="../qa")


def test_airflow_makes_it_from_the_settings(lab: Lab, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    from gitops.release import settings

    found = settings.parse_lines(lab.origin.read("main", settings.path_of("staging")) or b"", "settings.env")
    key = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    monkeypatch.setenv(key, found[key][1])
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    (bundle,) = DagBundlesManager().get_all_dag_bundles()
    assert isinstance(bundle, ReleaseBundle)
    assert (bundle.name, bundle.environment, bundle.refresh_interval) == ("release", "staging", 10)


def _work() -> None:
    bundle = ReleaseBundle(name="release", environment="staging", **UNCHECKED)
    bundle.initialize()
    for _ in range(4):
        bundle.refresh()
        assert dags(bundle) == {"example.py"}


def test_several_processes_at_once(lab: Lab, storage: Path) -> None:
    commit = lab.train("a")
    lab.declare("staging", f"commit: {commit}\n")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert json.loads((storage / "release" / "release.json").read_text())["commit"] == commit


def test_a_refresh_waits_for_its_turn(lab: Lab, make: Make) -> None:
    bundle = make("dev")
    tip = lab.train("a")
    worker = multiprocessing.get_context("fork").Process(target=bundle.refresh)
    with bundle.lock():
        # In the child, which must find the lock taken and not think that it holds it.
        bundle._locked = False
        worker.start()
        worker.join(1)
        assert worker.is_alive()
        assert version(bundle) != tip
    worker.join(60)
    assert worker.exitcode == 0
    assert version(bundle) == tip


def test_poison_in_history_keeps_no_machine_from_its_release(lab: Lab, make: Make, storage: Path) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    bundle = make()
    tree = lab.origin.git("rev-parse", f"{lab.tip}^{{tree}}")
    for content in (
        b"commit: !!bool maybe\n",
        b"a: &a [*a]\n",
        b"\xff",
        b"x" * 3_000_000,
        b'commit: "\\UFFFFFFFF"',
    ):
        lab.land({"environments/staging/release.yaml": content})
        bundle.refresh()
        assert version(bundle) == good
        assert bundle.serving.refused
    shutil.rmtree(storage)
    bundle = make()
    assert version(bundle) == good
    for options in ({}, {"date": "-1 +0000"}, {"date": "x"}, {"extra": "encoding UTF-16LE\n"}):
        odd = poison.commit(lab.origin, tree, [lab.tip], **options)
        lab.origin.git("update-ref", "refs/heads/main", odd)
        bundle.refresh()
    assert (version(bundle), bundle.serving.refused) == (good, None)
    shutil.rmtree(storage)
    assert version(make()) == good


def test_a_flood_of_unsigned_tags_stops_nothing_and_fills_no_folder(lab: Lab, make: Make) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make()
    lab.verify("staging", first)
    kinds = ("verified/staging", "rejected/staging", "verdict/staging", "promote/prod")
    names = [f"{kinds[number % 4]}/{number:012x}" for number in range(2200)]
    tags = "".join(f"tag {name}\nfrom {first}\ntagger M <m@x> 1 +0000\ndata 2\nx\n\n" for name in names)
    lab.origin.git("fast-import", "--quiet", input=tags)
    second = lab.train("b")
    assert lab.promote("staging").after.commit == second
    bundle.refresh()
    assert bundle.serving.commit == first
    lab.declare("staging", f"commit: {second}\n")
    bundle.refresh()
    assert (bundle.serving.commit, bundle.serving.refused) == (second, None)
    for folder in (bundle.bare_repo_path / "refs", lab.clone.path / ".git/refs"):
        assert sum(path.is_file() for path in folder.rglob("*")) < 100


@pytest.mark.long
@pytest.mark.parametrize("name", ["environment.yaml", "settings.env"])
def test_a_flood_of_folders_of_environments_stops_no_release(lab: Lab, make: Make, name: str) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make()
    lab.verify("staging", first)
    second = lab.train("b")
    file = (ROOT / f"environments/staging/{name}").read_bytes()
    lab.land({f"environments/a{number:04}/{name}": file for number in range(3000)})
    promoted = lab.promote("staging").after.commit
    assert lab.state().same(promoted, second)
    lab.declare("staging", f"commit: {promoted}\n")
    began = time.process_time()
    bundle.refresh()
    assert time.process_time() - began < 5
    assert (bundle.serving.commit, bundle.serving.refused) == (promoted, None)
    assert rollback(lab.clone, lab.state(), "staging", lab.remote).after.commit == first


@pytest.mark.long
def test_a_flood_of_branches_stops_nothing_and_fills_no_folder(lab: Lab, make: Make) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make()
    lab.verify("staging", first)
    kinds = ("promote", "candidate", "deploy", "run", "other", "promote/staging")
    names = [f"{kinds[number % 6]}/{number:012x}" for number in range(3000)]
    lab.origin.git(
        "update-ref", "--stdin", input="".join(f"create refs/heads/{name} {first}\n" for name in names)
    )
    second = lab.train("b")
    assert lab.promote("prod").after.commit == first
    lab.declare("staging", f"commit: {second}\n")
    bundle.refresh()
    assert (bundle.serving.commit, bundle.serving.refused) == (second, None)
    assert rollback(lab.clone, lab.state(), "staging", lab.remote).after.commit == first
    for folder in (bundle.bare_repo_path / "refs", lab.clone.path / ".git/refs"):
        assert sum(path.is_file() for path in folder.rglob("*")) < 100
