"""The release of a preview, in real git: its files, moved branches, and its distance from main."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitops.errors import GitError, GitopsError, RuleError
from gitops.git.repository import Repository
from gitops.release import keys, load
from gitops.release.file import RELEASE_PATHS
from gitops.release.keys import PrivateKey
from gitops.training import source
from infra.local.layout import Layout
from infra.local.origin import Origin
from infra.preview import release
from infra.preview.record import Preview
from infra.preview.release import Place
from tests.infra.preview.conftest import BRANCH, Bench


def preview_of(commit: str, branch: str = BRANCH) -> Preview:
    return Preview(branch=branch, commit=commit, port=20_100, since=datetime.now(UTC), hours=8)


@pytest.fixture
def own(tmp_path: Path) -> Repository:
    """The repository of a preview."""
    layout = Layout(tmp_path / "preview")
    Origin(layout).make_empty()
    return Repository(layout.origin)


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return PrivateKey.create(tmp_path / "verifier_key")


def declare(bench: Bench, own: Repository, preview: Preview, key: PrivateKey) -> str:
    place = Place(str(own.path))
    return release.declare(bench.checkout, preview, key.line(preview.name), place)


def test_the_main_of_a_preview_is_its_branch_with_one_environment(
    bench: Bench, own: Repository, key: PrivateKey
) -> None:
    preview = preview_of(bench.push({"dags/more.py": b"MORE = 1\n"}))
    commit = declare(bench, own, preview, key)
    assert own.resolve("main") == commit
    assert own.read(commit, "dags/more.py") == b"MORE = 1\n"
    state = load.load_state(own)
    assert list(state.environments) == [preview.name]
    assert state.declared(preview.name).commit == commit
    both = [f"{one}:{path}" for path in RELEASE_PATHS for one in (commit, preview.commit)]
    ids = own.object_ids(both)
    assert ids[::2] == ids[1::2]
    settings = state.settings(preview.name)
    assert (settings.web_port, settings.default_password, settings.web_host) == (
        20_100,
        "",
        f"{preview.name}.localhost",
    )
    assert settings.variables["NOTIFY_EMAIL"] == ""
    assert own.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_settings_that_the_branch_changes_are_those_of_its_preview(
    bench: Bench, own: Repository, key: PrivateKey
) -> None:
    path = "environments/dev/settings.env"
    content = (bench.origin.read("main", path) or b"").replace(
        b"SCORING_PART_IMAGES=20000", b"SCORING_PART_IMAGES=70"
    )
    preview = preview_of(bench.push({path: content}))
    declare(bench, own, preview, key)
    assert load.load_state(own).settings(preview.name).variables["SCORING_PART_IMAGES"] == "70"


def test_settings_of_a_branch_that_are_not_valid_are_one_line(
    bench: Bench, own: Repository, key: PrivateKey
) -> None:
    preview = preview_of(bench.push({"environments/dev/settings.env": b"ACCURACY_THRESHOLD=high\n"}))
    with pytest.raises(GitopsError, match=f"environments/{preview.name}/settings.env"):
        declare(bench, own, preview, key)
    assert own.git("for-each-ref") == ""


def test_a_branch_that_moves_or_was_rewritten_comes_after_the_release_before(
    bench: Bench, own: Repository, key: PrivateKey
) -> None:
    first = declare(bench, own, preview_of(bench.push({"dags/more.py": b"MORE = 1\n"})), key)
    again = declare(bench, own, preview_of(bench.origin.resolve(BRANCH)), key)
    rewritten = preview_of(bench.push({"dags/less.py": b"LESS = 1\n"}))
    second = declare(bench, own, rewritten, key)
    assert again == first
    assert own.resolve("main^1") == first
    assert own.files(second, "dags") == ["dags/example.py", "dags/less.py"]
    assert load.load_state(own).main_fault is None


def test_nobody_can_promote_a_preview(bench: Bench, own: Repository, key: PrivateKey) -> None:
    preview = preview_of(bench.push({"dags/more.py": b"MORE = 1\n"}))
    commit = declare(bench, own, preview, key)
    # Whoever pushes it to the repository of all
    bench.checkout.git("push", "--quiet", "visage", f"{commit}:refs/heads/shipped")
    state = load.add(load.fetch_state(bench.checkout, "visage"), bench.checkout, [commit])
    assert preview.name not in state.environments
    for environment in ("staging", "prod"):
        problem = state.may_run(environment, commit)
        assert problem is not None
        assert problem.rule == "not-on-main"


def test_a_verdict_with_the_key_of_a_preview_counts_for_nothing(
    bench: Bench, own: Repository, key: PrivateKey
) -> None:
    preview = preview_of(bench.push({"dags/more.py": b"MORE = 1\n"}))
    declare(bench, own, preview, key)
    tip = bench.origin.resolve("main")
    listed = [bench.origin.read(tip, keys.path_of(name)) or b"" for name in ("dev", "staging", "prod")]
    assert all(listed)
    assert not any(key.line(preview.name).split()[-1] in content for content in listed)


def test_the_checkout_gets_no_branch_of_a_preview(bench: Bench, own: Repository, key: PrivateKey) -> None:
    before = bench.checkout.git("for-each-ref")
    preview = preview_of(bench.push({"dags/more.py": b"MORE = 1\n"}))
    after_push = bench.checkout.git("for-each-ref")
    declare(bench, own, preview, key)
    assert bench.checkout.git("for-each-ref") == after_push != before
    assert bench.checkout.git("status", "--porcelain") == ""


def test_a_repository_that_went_on_by_itself_is_told_with_the_way_out(
    bench: Bench, own: Repository, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = preview_of(bench.push({"dags/more.py": b"MORE = 1\n"}))
    first = declare(bench, own, preview, key)
    monkeypatch.setattr(release, "_present", lambda *_: first)
    own.git("update-ref", "refs/heads/main", own.commit_files(first, {"other": b""}, "By itself\n"))
    with pytest.raises(GitError, match="does not take the release") as caught:
        declare(bench, own, preview_of(bench.push({"dags/less.py": b""})), key)
    assert caught.value.next_command == f".venv/bin/gitops preview down {BRANCH}"


@pytest.mark.parametrize(
    "name", ["nothing", "refs/pull/1/head", "main~1", "main^{}", "*", "--all", "../main", "a b"]
)
def test_only_branches_of_the_repository_have_previews(bench: Bench, name: str) -> None:
    fork = bench.push({"dags/evil.py": b""})
    bench.origin.git("update-ref", "refs/pull/1/head", fork)
    with pytest.raises(RuleError, match="no such branch on visage"):
        source.previewed(bench.checkout, "visage", name, bench.origin.resolve("main"))


def test_a_commit_by_its_id_has_no_preview(bench: Bench) -> None:
    commit = bench.push({"dags/evil.py": b""})
    assert source.previewed(bench.checkout, "visage", BRANCH, bench.origin.resolve("main")) == commit
    with pytest.raises(RuleError, match="no such branch"):
        source.previewed(bench.checkout, "visage", commit, bench.origin.resolve("main"))


def test_a_branch_that_names_another_storage_has_no_preview(bench: Bench) -> None:
    bench.push({".dvc/config": b"['remote \"storage\"']\n    url = s3://evil\n"})
    with pytest.raises(RuleError, match=r"\.dvc/config of \w+: differs from that of main"):
        source.previewed(bench.checkout, "visage", BRANCH, bench.origin.resolve("main"))


def test_a_preview_is_brought_up_again_after_its_repository_was_removed(
    bench: Bench, own: Repository, key: PrivateKey
) -> None:
    preview = preview_of(bench.push({"dags/more.py": b""}))
    declare(bench, own, preview, key)
    shutil.rmtree(own.path)
    Origin(Layout(own.path.parents[1])).make_empty()
    assert declare(bench, own, preview, key) == own.resolve("main")
