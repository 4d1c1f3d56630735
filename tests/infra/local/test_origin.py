import os
import subprocess
import sys
from pathlib import Path

import pytest

from gitops.git import incoming
from gitops.git.repository import Repository
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.origin import Origin
from tests.support.checkout import commit
from tests.support.command import captured


@pytest.fixture
def origin(layout: Layout) -> Origin:
    made = Origin(layout)
    assert made.prepare() is True
    made.register()
    return made


def test_origin_starts_with_the_checkouts_commit_whatever_its_branch(layout: Layout) -> None:
    checkout = Repository(layout.checkout)
    checkout.git("checkout", "--quiet", "-b", "mine")
    head = commit(layout.checkout, "Second")
    origin = Origin(layout)
    origin.prepare()
    assert origin.repository.resolve("main") == head
    assert origin.branches("") == ["main"]
    assert checkout.git("status", "--porcelain") == ""


def test_origin_is_made_once(origin: Origin, layout: Layout) -> None:
    head = commit(layout.checkout, "Second")
    assert origin.prepare() is False
    assert origin.repository.resolve("main") != head
    assert origin.unpushed() == head
    Repository(layout.checkout).git("push", "--quiet", "visage", "HEAD:main")
    assert origin.unpushed() is None


def test_an_interrupted_start_is_done_again(layout: Layout) -> None:
    (layout.state / "origin.unfinished").mkdir(parents=True)
    (layout.state / "origin.unfinished/HEAD").write_text("half")
    origin = Origin(layout)
    assert origin.prepare() is True
    assert origin.repository.has("main")


def test_a_shallow_clone_can_start_and_push(layout: Layout, tmp_path: Path) -> None:
    commit(layout.checkout, "Second")
    shallow = Layout(tmp_path / "shallow")
    source = f"file://{layout.checkout}"
    Repository.clone(source, shallow.checkout, "--depth", "1")
    origin = Origin(shallow)
    origin.prepare()
    origin.register()
    head = commit(shallow.checkout, "Third")
    Repository(shallow.checkout).git("push", "--quiet", "visage", "HEAD:main")
    assert origin.repository.resolve("main") == head


def test_a_commit_can_be_fetched_by_its_id(origin: Origin, layout: Layout, tmp_path: Path) -> None:
    first = origin.repository.resolve("main")
    commit(layout.checkout, "Second")
    Repository(layout.checkout).git("push", "--quiet", "visage", "HEAD:main")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    repository = Repository(elsewhere)
    repository.git("init", "--quiet", ".")
    repository.git("fetch", "--quiet", "--depth", "1", f"file://{layout.origin}", first)
    assert repository.resolve("FETCH_HEAD") == first


def test_hooks_of_the_checkout_have_no_part_in_it(layout: Layout) -> None:
    hook = layout.checkout / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    origin = Origin(layout)
    assert origin.prepare() is True
    assert origin.repository.has("main")


def test_a_remote_of_that_name_that_is_something_else_stays(layout: Layout) -> None:
    checkout = Repository(layout.checkout)
    checkout.git("remote", "add", "visage", "https://example.org/visage.git")
    origin = Origin(layout)
    origin.prepare()
    with pytest.raises(EngineError, match=r"remote visage of this checkout is https://example\.org"):
        origin.register()
    origin.unregister()
    assert checkout.git("remote", "get-url", "visage") == "https://example.org/visage.git"


def test_the_remote_follows_a_checkout_that_was_moved(origin: Origin, layout: Layout, tmp_path: Path) -> None:
    moved = Layout(tmp_path / "moved")
    layout.checkout.rename(moved.checkout)
    Origin(moved).register()
    assert Repository(moved.checkout).git("remote", "get-url", "visage") == str(moved.origin)


def test_unregister_takes_out_what_came_from_the_remote_and_nothing_else(
    origin: Origin, layout: Layout
) -> None:
    checkout = Repository(layout.checkout)
    checkout.fetch("visage")
    checkout.git("fetch", "--quiet", "visage")
    checkout.git("update-ref", "refs/gitops/other/heads/main", "HEAD")
    before = checkout.git("rev-parse", "HEAD", "main")
    assert origin.unregister() is True
    assert checkout.remotes() == []
    references = checkout.git("for-each-ref", "--format=%(refname)").splitlines()
    assert references == ["refs/gitops/other/heads/main", "refs/heads/main"]
    assert checkout.git("rev-parse", "HEAD", "main") == before
    assert origin.unregister() is False


def test_dvc_finds_remote_and_cache(origin: Origin, layout: Layout, tmp_path: Path) -> None:
    origin.configure_dvc()
    work = tmp_path / "work"
    work.mkdir()
    (work / "model").write_text("weights")
    for command in (["init", "--no-scm", "--quiet"], ["add", "--quiet", "model"], ["push"]):
        subprocess.run(
            [sys.executable, "-m", "dvc", *command],
            cwd=work,
            env={
                **os.environ,
                "DVC_GLOBAL_CONFIG_DIR": str(layout.dvc_config),
                "DVC_SITE_CACHE_DIR": str(layout.dvc_site_cache),
            },
            capture_output=True,
            timeout=60,
            check=True,
        )
    stored = [path for path in layout.dvc_remote.rglob("*") if path.is_file()]
    assert [path.read_text() for path in stored] == ["weights"]
    assert any(layout.dvc_cache.rglob("*"))
    assert not list((work / ".dvc").glob("cache/files/*"))


def test_files_of_a_commit_can_be_unpacked(origin: Origin, layout: Layout, tmp_path: Path) -> None:
    commit_id = origin.repository.resolve("main")
    (layout.checkout / "params.yaml").write_text("changed\n")
    target = tmp_path / "unpacked"
    target.mkdir()
    origin.unpack(commit_id, target, "params.yaml", "environments/dev")
    assert "synthetic" in (target / "params.yaml").read_text()
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == [
        "environment.yaml",
        "kustomization.yaml",
        "params.yaml",
        "release.yaml",
        "settings.env",
    ]


def test_candidates_are_listed_latest_first(origin: Origin, layout: Layout) -> None:
    checkout = Repository(layout.checkout)
    for name in ("candidate/a", "candidate/b"):
        commit(layout.checkout, name)
        checkout.git("push", "--quiet", "visage", f"HEAD:refs/heads/{name}")
    assert set(origin.branches("candidate/")) == {"candidate/a", "candidate/b"}
    checkout.git("push", "--quiet", "visage", "HEAD~1:main")
    assert origin.merged("candidate/a")
    assert not origin.merged("candidate/b")


def _pushed(checkout: Path, *specs: str) -> str:
    """Push with plain git and return its message where the push is refused."""
    # Without the hooks of the person who pushes; those of the origin run.
    command = ["git", "-c", "core.hooksPath=/dev/null", "push", "visage", *specs]
    done = captured(command, cwd=checkout)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("old", [False, True], ids=["new", "made by an earlier version"])
def test_main_is_neither_rewritten_nor_deleted_nor_broken(origin: Origin, layout: Layout, old: bool) -> None:
    if old:
        (origin.repository.path / "hooks/update").unlink()
        origin.repository.git("config", "--unset", "receive.fsckObjects")
        origin.repository.git("config", "--unset", "receive.maxInputSize")
        assert origin.prepare() is False
    checkout = Repository(layout.checkout)
    tip = origin.repository.resolve("main")
    other = checkout.commit_files(None, {"x": b""}, "Other")
    assert "main is never rewritten" in _pushed(layout.checkout, "--force", f"{other}:refs/heads/main")
    assert "main" in _pushed(layout.checkout, "--delete", "main")
    assert origin.repository.resolve("main") == tip
    blob = checkout.git("hash-object", "-w", "--stdin", input=b"x")
    twice = checkout.git("mktree", input=f"100644 blob {blob}\tx\n100644 blob {blob}\tx\n")
    broken = checkout.commit_tree(twice, [tip], "Twice")
    assert "duplicateEntries" in _pushed(layout.checkout, f"{broken}:refs/heads/twice")
    assert origin.repository.git("config", "receive.maxInputSize") == str(incoming.MOST)
    origin.repository.git("config", "receive.maxInputSize", "100000")
    large = checkout.commit_files(tip, {"x": os.urandom(200_000)}, "Large")
    assert "exceeds maximum allowed size" in _pushed(layout.checkout, f"{large}:refs/heads/large")
    better = checkout.commit_files(tip, {"x": b"x"}, "Better")
    for spec in (
        f"{better}:refs/heads/main",
        f"{better}:refs/heads/run",
        f"+{tip}:refs/heads/run",
        ":refs/heads/run",
    ):
        assert _pushed(layout.checkout, spec) == ""
    assert origin.repository.resolve("main") == better


def test_a_users_folder_of_hooks_does_not_take_the_place_of_the_guard_of_main(
    origin: Origin, layout: Layout, isolated_home: Path
) -> None:
    hooks = isolated_home / "no-hooks"
    hooks.mkdir()
    with (isolated_home / ".gitconfig").open("a") as file:
        file.write(f"[core]\n\thooksPath = {hooks}\n")
    tip = origin.repository.resolve("main")
    other = Repository(layout.checkout).commit_files(None, {"x": b""}, "Other")
    assert "main is never rewritten" in _pushed(layout.checkout, "--force", f"{other}:refs/heads/main")
    assert origin.repository.resolve("main") == tip


def test_a_pushed_replacement_does_not_let_main_be_rewritten(origin: Origin, layout: Layout) -> None:
    """Git would show the replacement, which has main as its parent, in place of the commit."""
    checkout = Repository(layout.checkout)
    tip = origin.repository.resolve("main")
    other = checkout.commit_files(None, {"x": b""}, "Other")
    shown = checkout.commit_files(tip, {"x": b""}, "Other")
    assert _pushed(layout.checkout, f"{other}:refs/heads/other") == ""
    assert _pushed(layout.checkout, f"{shown}:refs/replace/{other}") == ""
    assert "main is never rewritten" in _pushed(layout.checkout, "--force", f"{other}:refs/heads/main")
    assert origin.repository.resolve("main") == tip


def test_main_is_not_replaced_by_a_merge_that_has_it_as_its_second_parent(
    origin: Origin, layout: Layout
) -> None:
    """As `git pull` makes one, and as somebody would who wants main's first parents to be their own."""
    checkout = Repository(layout.checkout)
    tip = origin.repository.resolve("main")
    tree = f"{tip}^{{tree}}"
    for first in (checkout.commit_files(None, {"x": b""}, "Root"), checkout.commit_files(tip, {}, "Branch")):
        theirs = checkout.commit_files(tip, {"y": b"y"}, "Theirs")
        assert _pushed(layout.checkout, f"{theirs}:refs/heads/main") == ""
        merge = checkout.commit_tree(tree, [first, theirs], "Merge")
        message = _pushed(layout.checkout, f"{merge}:refs/heads/main")
        assert "has it as its second parent" in message
        assert f"git switch --detach {theirs} && git merge --no-ff {merge}" in message
        back = checkout.commit_tree(tree, [theirs, merge], "Back")
        assert _pushed(layout.checkout, f"{back}:refs/heads/main") == ""
        tip = back
