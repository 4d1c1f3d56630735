"""Snapshots: what one commit holds, read once, and typed."""

from typing import Any

import pytest

from gitops.errors import GateError, SettingsError
from gitops.git.repository import Repository
from gitops.paths import EVALUATION, LOCK, PARAMETERS
from gitops.release.file import Release
from gitops.release.snapshot import Snapshot
from tests.support.figures import model_files, model_md5
from tests.support.lab import Lab
from tests.support.snapshots import release


def test_a_commit_as_values(lab: Lab) -> None:
    commit = lab.land(model_files("a", 0.91) | {PARAMETERS: b"data:\n  source: celeba\n"})
    found = Snapshot.load(lab.origin, "main")
    assert (found.commit, found.has_dags, found.contract) == (commit, True, 0)
    assert found.evaluation.mean_accuracy == found.metrics.means["mean_accuracy"].value == 0.91
    assert (found.source, found.holdout) == ("celeba", None)
    assert found.model == found.export.model_sha256
    assert found.release("staging", follows=False) == Release(commit=None)
    assert found.release("qa", follows=False) is None
    assert found.settings("prod").visage_environment == "prod"
    with pytest.raises(SettingsError, match=r"^environments/qa/settings\.env: missing"):
        found.settings("qa")


def test_equal_parts_are_the_same_release(lab: Lab) -> None:
    first = lab.tip
    second = lab.land({"README.md": b"news\n", "environments/prod/release.yaml": b"commit: null\n#\n"})
    third = lab.land({"src/face_attributes/new.py": b""})
    found = Snapshot.load_all(lab.origin, [first, second, third, "f" * 40])
    assert list(found) == [first, second, third]
    assert found[first].identity == found[second].identity != found[third].identity


def test_git_is_asked_as_often_for_many_commits_as_for_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = [lab.land(model_files(str(number))) for number in range(5)]
    asked: list[object] = []
    run = Repository.run

    def counting(self: Repository, *args: str, **options: Any) -> Any:
        asked.append(args)
        return run(self, *args, **options)

    monkeypatch.setattr(Repository, "run", counting)
    counts = []
    for some in (commits[:1], commits):
        asked.clear()
        Snapshot.load_all(lab.origin, some)
        counts.append(len(asked))
    assert counts[0] == counts[1] > 0


def test_a_file_that_is_too_large_is_refused_for_its_size(lab: Lab) -> None:
    lab.land({EVALUATION: b" " * 5_000_000})
    with pytest.raises(GateError, match="larger than 4,000,000 bytes"):
        assert Snapshot.load(lab.origin, "main").evaluation


def test_values_need_no_repository() -> None:
    found = release(model_files("a"))
    assert found.lock.recorded("models/model.onnx").md5 == model_md5("a")
    assert release({LOCK: b"x"}).model is None
