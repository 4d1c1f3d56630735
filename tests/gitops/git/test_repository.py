import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from werkzeug import Request, Response

from gitops.errors import (
    BusyError,
    GitError,
    GitTimeoutError,
    NetworkError,
    PushRejectedError,
    TransientError,
)
from gitops.git import command, config
from gitops.git.repository import Repository
from tests.support.http import serving
from tests.support.lab import Lab
from tests.support.waiting import alive, wait_for


def test_find_and_resolve(lab: Lab) -> None:
    assert Repository.find(lab.clone.path / "dags").path == lab.clone.path
    assert lab.clone.resolve("HEAD") == lab.tip
    with pytest.raises(GitError, match="a name with a NUL in it"):
        lab.clone.resolve("pr\0")
    for revision in ("nope", "--help", "HEAD^{tree}", ""):
        with pytest.raises(GitError, match="no such commit"):
            lab.clone.resolve(revision)


def test_a_repository_with_longer_ids_is_refused(tmp_path: Path) -> None:
    Repository(tmp_path).git("init", "--quiet", "--object-format=sha256", ".")
    with pytest.raises(GitError, match="its ids are SHA-256, and release files name SHA-1 ids; make"):
        Repository.find(tmp_path)


def test_a_bare_repository_is_no_checkout(lab: Lab) -> None:
    with pytest.raises(GitError, match="a bare repository, which has no files; run this in a clone of it"):
        Repository.find(lab.origin.path)


def test_errors_are_one_line_that_says_where(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(GitError) as caught:
            Repository(folder).git("log")
        assert str(caught.value).endswith(f"(in {folder})")
        assert "\n" not in str(caught.value)


def test_an_error_that_git_explains_is_the_error(lab: Lab) -> None:
    # As git does in a folder that is on another file system than its parent.
    explains = (
        "!echo 'fatal: not a git repository' >&2; echo 'Stopping at filesystem boundary.' >&2; exit 128"
    )
    with pytest.raises(GitError, match=r"^git -c: not a git repository \(in "):
        lab.clone.git("-c", f"alias.explain={explains}", "explain")


def test_lines_that_git_indents_belong_to_the_error(lab: Lab) -> None:
    lab.clone.git("config", "core.repositoryFormatVersion", "1")
    lab.clone.git("config", "extensions.someday", "x")
    with pytest.raises(GitError, match=r"extension found: someday; this git is older .* newer one \(in "):
        lab.clone.git("status")


def test_a_worktree_that_was_moved_names_the_command_that_mends_it(lab: Lab, tmp_path: Path) -> None:
    lab.clone.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    moved = tmp_path / "moved"
    lab.clone.path.rename(moved)
    with pytest.raises(GitError, match=r"was moved; in that repository: git worktree repair <this folder>"):
        Repository.find(tmp_path / "linked")
    Repository(moved).git("worktree", "repair", str(tmp_path / "linked"))
    assert Repository.find(tmp_path / "linked").resolve("HEAD") == lab.tip


def typed(lab: Lab, command: str) -> None:
    """Do as a line says, as somebody whose own hooks refuse no push."""
    variables = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["sh", "-ec", command], cwd=lab.clone.path, check=True, env=variables)


@pytest.mark.parametrize("taken", ["promote/staging/$(false);a", "promote", "promote/staging/mine"])
def test_a_branch_that_is_in_the_way_of_another_is_named(lab: Lab, taken: str) -> None:
    lab.origin.git("update-ref", f"refs/heads/{taken}", lab.tip)
    wanted = {"refs/heads/promote/staging": lab.tip}
    with pytest.raises(
        PushRejectedError, match=re.escape(f"'refs/heads/{taken}' exists on origin")
    ) as caught:
        lab.clone.push("origin", wanted)
    typed(lab, caught.value.next_command)
    lab.clone.push("origin", wanted)


@pytest.mark.parametrize("kind", ["heads", "tags"])
def test_a_push_goes_to_the_reference_that_it_names(lab: Lab, kind: str) -> None:
    """Git also takes a branch `refs/heads/main` for main, which is `refs/heads/main` in full."""
    twin, wanted = f"refs/{kind}/refs/heads/promote/staging", "refs/heads/promote/staging"
    start, tip = lab.tip, lab.land({"README.md": b"News.\n"})
    lab.clone.fetch("origin")
    lab.origin.git("update-ref", twin, start)
    for commit in (start, tip):
        lab.clone.push("origin", {wanted: commit})
        assert lab.origin.resolve(wanted) == commit
    assert lab.origin.resolve(twin) == start
    with pytest.raises(PushRejectedError, match=f"'{twin}' exists on origin") as caught:
        lab.clone.push("origin", {wanted: None})
    typed(lab, caught.value.next_command)
    lab.clone.push("origin", {wanted: None})
    assert (
        lab.origin.git("for-each-ref", wanted, twin)
        == lab.clone.git("for-each-ref", "refs/gitops-push")
        == ""
    )


def test_the_references_of_a_killed_push_go_with_a_later_one(lab: Lab) -> None:
    now = int(time.time())
    killed, running = f"refs/gitops-push/{now - 90_000}-ab", f"refs/gitops-push/{now - 80_000}-cd"
    for folder in (killed, running, "refs/gitops-push/without-a-time"):
        lab.clone.git("update-ref", f"{folder}/heads/promote/staging", lab.tip)
    for _ in range(2):
        lab.clone.push("origin", {"refs/heads/promote/staging": lab.tip})
        left = lab.clone.git("for-each-ref", "--format=%(refname)", "refs/gitops-push").split()
        assert left == [f"{running}/heads/promote/staging"]


def test_an_address_of_no_protocol_is_named(lab: Lab) -> None:
    with pytest.raises(GitError, match="'remote-htp' is not a git command"):
        lab.clone.fetch("htp://example.org/visage.git")


def test_a_remote_with_other_ids_is_refused_with_the_reason(lab: Lab, tmp_path: Path) -> None:
    other = Repository(tmp_path)
    other.git("init", "--quiet", "--object-format=sha256", "--template=")
    other.git("update-ref", "refs/heads/main", other.commit_files(None, {"a": b""}, "A"))
    with pytest.raises(GitError, match=r"mismatched algorithms.*; its ids are SHA-256.*--object-format=sha1"):
        lab.clone.fetch(str(tmp_path))


def test_the_command_that_git_advises_is_in_the_line(lab: Lab) -> None:
    advice = f"dubious ownership in .* at '{lab.clone.path}'; .*, call: git config --global --add safe.d"
    with pytest.raises(GitError, match=advice) as caught:
        lab.clone.git("status", env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert "\n" not in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GitError, match="not a folder"):
        Repository(tmp_path / "file").git("log")


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="the command git is not installed"):
        Repository(tmp_path).git("log")


def test_the_variables_of_a_hook_do_not_lead_astray(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert lab.clone.resolve("HEAD") == lab.tip


def test_a_command_that_hangs_is_stopped_with_its_children(lab: Lab, tmp_path: Path) -> None:
    hang = f"!sleep 1000 & echo $! > {tmp_path}/number; wait"
    with pytest.raises(GitTimeoutError, match="git -c: no answer within 2 s"):
        lab.clone.git("-c", f"alias.hang={hang}", "hang", timeout=2)
    number = int((tmp_path / "number").read_text())
    wait_for(lambda: not psutil.pid_exists(number) or not alive(psutil.Process(number)))


def test_a_command_that_answers_leaves_no_thread(lab: Lab) -> None:
    before = threading.active_count()
    for _ in range(3):
        lab.clone.resolve("HEAD")
    wait_for(lambda: threading.active_count() <= before, seconds=10)  # the timers would end after a minute


def test_a_configuration_that_hangs_is_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration file that is a pipe without a writer."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "pipe"))
    monkeypatch.setattr(config, "_TIMEOUT", 0.5)
    with pytest.raises(GitTimeoutError, match=r"^git config: no answer within 0\.5 s \(in "):
        Repository(lab.clone.path).resolve("HEAD")


def test_reads_files_and_ids(lab: Lab) -> None:
    commit = lab.land({"sub folder/é": b"one\n\n", "empty": b"", "deep/er": b"x"})
    origin = lab.origin
    assert origin.read(commit, "sub folder/é") == b"one\n\n"
    assert origin.read(commit, "empty") == b""
    assert origin.read(commit, "missing") is None
    assert origin.read(commit, "deep") is None
    assert origin.read_all([(commit, "deep"), ("f" * 40, "x"), (commit, "deep/er")]) == [None, None, b"x"]
    assert origin.tree_id(commit, "deep") == origin.git("rev-parse", f"{commit}:deep")
    assert origin.tree_id(commit, "missing") is None
    assert origin.object_ids([]) == []
    assert {"empty", "sub folder/é"} < set(origin.files(commit))
    assert origin.files(commit, "deep") == ["deep/er"]
    with pytest.raises(GitError, match="no such commit"):
        origin.read("f" * 40, "x")
    with pytest.raises(GitError, match="line break"):
        origin.read(commit, "a\nb")


def test_history(lab: Lab) -> None:
    start = lab.tip
    one = lab.land({"a": b"1"}, message="First\n\nWith a body")
    two = lab.land({"a": b"1", "b": b"2"}, message="Second | third")
    assert [(entry.id, entry.subject) for entry in lab.origin.log("main")][:2] == [
        (two, "Second | third"),
        (one, "First"),
    ]
    assert [entry.id for entry in lab.origin.log("main", "a")] == [one]
    assert lab.origin.changed(start, two) == ["a", "b"]
    assert lab.origin.is_ancestor(one, two)
    assert not lab.origin.is_ancestor(two, one)
    assert lab.origin.merge_base(one, two) == one
    assert lab.origin.merge_base(one, lab.origin.commit_files(None, {"x": b""}, "Alien")) is None
    with pytest.raises(GitError):
        lab.origin.is_ancestor("nope", two)


def test_commit_files_keeps_everything_else(lab: Lab) -> None:
    script = lab.clone.path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    lab.clone.git("add", "run.sh")
    lab.clone.git("commit", "-q", "-m", "Script", env=lab.clone.identity())
    (lab.clone.path / "README.md").write_text("staged\n")
    lab.clone.git("add", "README.md")
    before = lab.clone.resolve("HEAD")

    commit = lab.clone.commit_files(
        before, {"run.sh": b"#!/bin/sh\ntrue\n", "dvc.yaml": None, "new/x": b"x"}, "Edit"
    )

    assert lab.clone.changed(before, commit) == ["dvc.yaml", "new/x", "run.sh"]
    assert lab.clone.git("ls-tree", commit, "run.sh").startswith("100755 ")
    assert lab.clone.git("ls-tree", commit, "new/x").startswith("100644 ")
    assert lab.clone.resolve("HEAD") == before
    assert lab.clone.git("status", "--porcelain") == "M  README.md"


def test_who_commits(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def author() -> str:
        return lab.clone.git(
            "show", "-s", "--format=%an <%ae> %cn", lab.clone.commit_files(None, {"x": b""}, "X")
        )

    assert author() == "Visage <visage@localhost> Visage"
    lab.clone.git("config", "user.name", "Ada")
    lab.clone.git("config", "user.email", "ada@example.org")
    assert author() == "Ada <ada@example.org> Ada"
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Bob")
    assert author() == "Ada <ada@example.org> Bob"


def test_fetch_mirrors_into_its_own_place(lab: Lab) -> None:
    commit = lab.branch("feature", {"x": b""})
    lab.verify("staging", lab.tip)
    lab.clone.fetch("origin")
    assert lab.clone.resolve("refs/gitops/origin/heads/feature") == commit
    assert [tag.commit for tag in lab.clone.tags("verified/staging", remote="origin")] == [lab.tip]
    assert lab.clone.tags() == []
    assert (
        lab.clone.git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags") == "refs/heads/main"
    )
    assert lab.clone.git("branch", "-r", "--list", "origin/feature") == ""
    assert not (lab.clone.path / ".git" / "FETCH_HEAD").exists()

    lab.origin.git("update-ref", "-d", "refs/heads/feature")
    lab.origin.git("update-ref", "-d", f"refs/tags/verified/staging/{lab.tip[:12]}")
    lab.clone.fetch("origin")
    assert not lab.clone.has("refs/gitops/origin/heads/feature")
    assert lab.clone.tags("", remote="origin") == []


def test_a_remote_by_its_path(lab: Lab) -> None:
    lab.clone.fetch(str(lab.origin.path))
    assert lab.clone.resolve(lab.clone.branch_ref(str(lab.origin.path), "main")) == lab.tip
    assert (
        lab.clone.remote_url("origin") == lab.clone.remote_url(str(lab.origin.path)) == str(lab.origin.path)
    )


def test_tags_of_all_kinds(lab: Lab) -> None:
    origin, tip = lab.origin, lab.tip
    origin.git("update-ref", "refs/tags/light", tip)
    origin.git("update-ref", "refs/tags/a/b", origin.tag(tip, "a/b", "two\n\nlines: é"))
    assert [(tag.name, tag.commit, tag.message) for tag in origin.tags()] == [
        ("a/b", tip, "two\n\nlines: é"),
        ("light", tip, ""),
    ]
    assert [tag.name for tag in origin.tags("a")] == ["a/b"]
    assert [tag.name for tag in origin.tags("a/*")] == ["a/b"]
    assert origin.tags("b") == []


def test_push_never_overwrites_without_a_lease(lab: Lab) -> None:
    start = lab.tip
    one = lab.clone.commit_files(start, {"x": b"1"}, "One")
    two = lab.clone.commit_files(start, {"x": b"2"}, "Two")
    ref = "refs/heads/topic"
    lab.clone.push("origin", {ref: one})
    for leases in (None, {ref: None}, {ref: start}):
        with pytest.raises(PushRejectedError, match=r"rejected"):
            lab.clone.push("origin", {ref: two}, leases=leases)
    assert lab.origin.resolve(ref) == one
    lab.clone.push("origin", {ref: two}, leases={ref: one})
    assert lab.origin.resolve(ref) == two
    lab.clone.push("origin", {ref: None})
    assert not lab.origin.has(ref)


def test_push_is_all_or_nothing(lab: Lab) -> None:
    one = lab.clone.commit_files(None, {"x": b"1"}, "Alien")
    with pytest.raises(PushRejectedError):
        lab.clone.push("origin", {"refs/heads/new": one, "refs/heads/main": one})
    assert not lab.origin.has("refs/heads/new")


def test_the_network_is_tried_again_and_passwords_are_not_repeated(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def busy(request: Request) -> Response:
        asked.append(request.path)
        return Response(status=503)

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(busy) as url, pytest.raises(NetworkError) as caught:
        lab.clone.fetch(f"{url.replace('//', '//user:hunter2@')}/x.git")
    assert len(asked) == command._ATTEMPTS
    assert "hunter2" not in str(caught.value)
    assert "503" in str(caught.value)


def _attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    real = Repository.run

    def count(self: Repository, *args: str, **options: Any) -> object:
        calls.append(args[0])
        return real(self, *args, **options)

    monkeypatch.setattr(Repository, "run", count)
    return calls


def test_a_remote_that_is_none_is_not_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _attempts(monkeypatch)
    with pytest.raises(GitError, match="does not appear to be a git repository"):
        lab.clone.fetch("nowhere")
    assert calls.count("fetch") == 1


def test_a_lock_of_another_git_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = lab.clone.path / ".git/refs/copy/main.lock"
    lock.parent.mkdir()
    lock.touch()
    threading.Timer(0.5, lock.unlink).start()
    calls = _attempts(monkeypatch)
    lab.clone.fetch_refs("origin", "+refs/heads/main:refs/copy/main")
    assert lab.clone.resolve("refs/copy/main") == lab.tip
    assert 1 < calls.count("fetch") <= command._ATTEMPTS


def test_a_lock_that_stays_is_named_with_the_way_out(lab: Lab) -> None:
    lock = lab.clone.path / ".git/refs/copy/main.lock"
    lock.parent.mkdir()
    lock.touch()
    with pytest.raises(BusyError, match=rf"File exists; if no git runs here, delete {lock} \(in"):
        lab.clone.fetch_refs("origin", "+refs/heads/main:refs/copy/main")


def test_a_reference_in_the_way_of_another_is_no_failure_of_the_network(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.clone.git("update-ref", "refs/copy/main/x", lab.tip)
    calls = _attempts(monkeypatch)
    with pytest.raises(GitError, match="'refs/copy/main/x' exists; cannot create") as caught:
        lab.clone.fetch_refs("origin", "+refs/heads/main:refs/copy/main")
    assert not isinstance(caught.value, TransientError)
    assert calls.count("fetch") == 1


def test_clone_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="does not exist"):
        Repository.clone(str(tmp_path / "nothing"), tmp_path / "clone")


def test_an_interruption_right_after_the_end_of_git_stays_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path)
    repository.git("init", "--quiet")

    def interrupted(process: "subprocess.Popen[bytes]", *_: Any, **__: Any) -> Any:
        monkeypatch.undo()
        process.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repository.git("status")
