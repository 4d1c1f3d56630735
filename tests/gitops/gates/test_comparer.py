"""Comparisons by the code of main, on a real origin and a real DVC remote in a folder."""

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from gitops.errors import ComparisonError, NotComparableError
from gitops.gates.comparer import Comparer
from gitops.gates.comparison import Comparison
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.release.snapshot import Snapshot
from tests.support import colours
from tests.support.figures import COMPARISON, model_files
from tests.support.lab import ROOT, Lab

# A release whose models are words: it says what it was asked, and notes each time that it was.
COMPARE = f"""\
import hashlib, json, os, pathlib, sys

given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
assert sys.argv[1] == "compare", sys.argv
names = ("--model", "--incumbent", "--holdout")
new, old, images = (pathlib.Path(given[name]).read_bytes() for name in names)
if new == b"broken":
    raise SystemExit("error: models/model.onnx: not a readable ONNX file")
found = json.loads({json.dumps(json.dumps(COMPARISON))})
for name, content in (("model", new), ("incumbent", old), ("holdout", images)):
    found[f"{{name}}_sha256"] = hashlib.sha256(content).hexdigest()
pathlib.Path(given["--out"]).write_text(json.dumps(found))
"""


PIPELINE = """\
stages:
  prepare:
    cmd: "true"
    outs: [data/holdout.parquet]
  export:
    cmd: "true"
    outs: [models/model.onnx]
"""


class Works:
    """A checkout that leaves what a training run does: a model, a hold-out set, and figures."""

    def __init__(self, lab: Lab, remote: Path) -> None:
        self.lab, self.remote = lab, remote
        self.checkout = lab.clone
        self.write(".dvc/config", "[core]\n    analytics = false\n")
        self.write(".gitignore", ".visage/\n__pycache__/\n.dvc/tmp/\n")
        self.write("dvc.yaml", PIPELINE)
        self.write("src/face_attributes/__main__.py", COMPARE)

    def write(self, path: str, content: str) -> None:
        file = self.checkout.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def release(self, model: bytes, images: bytes = b"images") -> str:
        """Land a release on main, its files on the DVC remote; return its commit."""
        lock = "schema: '2.0'\nstages:\n"
        for stage, path, content in (
            ("prepare", "data/holdout.parquet", images),
            ("export", "models/model.onnx", model),
        ):
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            stored = self.remote / "files" / "md5" / digest[:2] / digest[2:]
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_bytes(content)
            out = f"    - path: {path}\n      hash: md5\n      md5: {digest}\n      size: {len(content)}\n"
            lock += f"  {stage}:\n    cmd: 'true'\n    outs:\n{out}"
        self.write("dvc.lock", lock)
        for path in ("metrics/evaluation.json", "metrics/export.json"):
            figures = json.loads(model_files("x")[path]) | {"model_sha256": sha256(model)}
            self.write(path, json.dumps(figures))
        return self.land("Release")

    def land(self, message: str) -> str:
        """Commit what lies in the checkout, past all checks, and push it to main."""
        self.checkout.git("add", "-A")
        self.checkout.git("commit", "-q", "-m", message, env=self.checkout.identity())
        self.checkout.git("push", "-q", "origin", "HEAD:main")
        return self.checkout.resolve("HEAD")


@pytest.fixture
def works(lab: Lab, dvc_remote: Path) -> Works:
    return Works(lab, dvc_remote)


@pytest.fixture
def said() -> list[str]:
    """What the comparer announced: once for each comparison that it made."""
    return []


@pytest.fixture
def comparer(lab: Lab, tmp_path: Path, said: list[str]) -> Comparer:
    main = lab.origin.resolve
    return Comparer(
        lab.clone, Origin(str(lab.origin.path)), tmp_path / "gates", lambda: main("main"), said.append
    )


def ask(
    comparer: Comparer,
    repository: Repository,
    model: str,
    incumbent: str,
    *,
    images: str | None = None,
    refresh: bool = False,
) -> Comparison:
    new, old = (Snapshot.load(repository, commit) for commit in (model, incumbent))
    judged_by = Snapshot.load(repository, images) if images else None
    return comparer(new, old, images=judged_by, refresh=refresh)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_both_models_answer_the_images_that_the_incumbent_was_judged_by(
    works: Works, comparer: Comparer, said: list[str]
) -> None:
    old, new = works.release(b"old", b"old images"), works.release(b"new", b"new images")
    for images, content in ((None, b"new images"), (old, b"old images"), (old, b"old images")):
        found = ask(comparer, works.checkout, new, old, images=images)
        assert found.holdout_sha256 == sha256(content)
    assert len(said) == 2
    assert works.lab.origin.resolve("main") == new


def test_models_are_not_compared_without_the_libraries_of_the_model_code(
    works: Works, comparer: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    monkeypatch.setattr("gitops.gates.comparer.installed", lambda library: library != "onnxruntime")
    with pytest.raises(ComparisonError, match="not installed beside gitops; run make setup-gates"):
        ask(comparer, works.checkout, new, old)


def test_photographs_are_not_fetched_to_the_runner_of_a_forge(
    works: Works, comparer: Comparer, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    old, new = (Snapshot.load(works.checkout, works.release(name)) for name in (b"old", b"new"))
    photographs = replace(new, contents={**new.contents, "params.yaml": b"data: {source: celeba}"})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(NotComparableError, match="photographs do not go to a runner that is not yours"):
        comparer(photographs, old)
    assert said == []
    monkeypatch.setenv("VISAGE_OWN_RUNNER", "true")
    comparer(photographs, old)
    assert len(said) == 1


def test_images_that_the_remote_lost_or_spoilt_fail_the_comparison(works: Works, comparer: Comparer) -> None:
    old, new = works.release(b"old", b"old images"), works.release(b"new", b"new images")
    digest = hashlib.md5(b"old images", usedforsecurity=False).hexdigest()
    stored = works.remote / "files" / "md5" / digest[:2] / digest[2:]
    stored.write_bytes(b"other images")
    with pytest.raises(ComparisonError, match="has another digest"):
        ask(comparer, works.checkout, new, old, images=old)
    stored.unlink()
    with pytest.raises(ComparisonError, match="has no such object"):
        ask(comparer, works.checkout, new, old, images=old)


def test_both_models_answer_the_images_of_the_commit(works: Works, comparer: Comparer) -> None:
    old, new = works.release(b"old", b"old images"), works.release(b"new", b"new images")
    found = ask(comparer, works.checkout, new, old)
    digests = (found.model_sha256, found.incumbent_sha256, found.holdout_sha256)
    assert digests == (sha256(b"new"), sha256(b"old"), sha256(b"new images"))


def test_a_known_comparison_needs_nobody_and_no_time(
    works: Works, comparer: Comparer, dvc_remote: Path, said: list[str]
) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    works.write("README.md", "the same models in another commit")
    again = works.land("News")
    first = ask(comparer, works.checkout, new, old)
    dvc_remote.rename(dvc_remote.with_name("gone"))
    main = works.checkout.resolve("HEAD")
    works.lab.origin.path.rename(works.lab.origin.path.with_name("gone.git"))
    comparer = replace(comparer, code=lambda: main)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert ask(comparer, works.checkout, new, old) == ask(comparer, works.checkout, again, old) == first
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2, "the quickest, since others may have the cores"
    assert said == [f"Comparing the models of {new[:12]} and {old[:12]} on the same images ..."]


def test_one_from_another_time_is_made_anew_where_that_is_asked_for(
    works: Works, comparer: Comparer, said: list[str]
) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    ask(comparer, works.checkout, new, old)
    assert ask(comparer, works.checkout, new, old, refresh=True) == ask(comparer, works.checkout, new, old)
    assert len(said) == 1, "its own is as new as can be"
    later = Comparer(works.checkout, comparer.origin, comparer.home, comparer.code, said.append)
    ask(later, works.checkout, new, old)
    assert len(said) == 1
    ask(later, works.checkout, new, old, refresh=True)
    assert len(said) == 2


def test_other_images_or_models_are_another_comparison(
    works: Works, comparer: Comparer, said: list[str]
) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    more = works.release(b"new", b"more images")
    for one, other in ((new, old), (more, old), (old, new), (new, old)):
        ask(comparer, works.checkout, one, other)
    assert len(said) == 3


def test_a_damaged_note_is_made_anew(works: Works, comparer: Comparer, said: list[str]) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    first = ask(comparer, works.checkout, new, old)
    (note,) = (comparer.home / "comparisons").iterdir()
    note.write_text("{")
    assert ask(comparer, works.checkout, new, old) == first
    assert len(said) == 2
    assert [file.name for file in (comparer.home / "comparisons").iterdir()] == [note.name]


def test_without_a_dvc_remote_nothing_can_be_compared(
    works: Works, comparer: Comparer, isolated_home: Path
) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    (isolated_home / "dvc" / "config").unlink()
    with pytest.raises(NotComparableError, match=f"no DVC remote is configured for {new[:12]}"):
        ask(comparer, works.checkout, new, old)


def test_the_checkout_s_own_configuration_may_name_the_remote(
    works: Works, comparer: Comparer, isolated_home: Path, tmp_path: Path
) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    (isolated_home / "dvc" / "config").rename(tmp_path / "config.local")
    origin = Origin(str(works.lab.origin.path), dvc_config=tmp_path / "config.local")
    other = Comparer(works.checkout, origin, comparer.home, comparer.code)
    found = ask(other, works.checkout, new, old)
    assert found.model_sha256 == sha256(b"new")


def test_a_repository_without_dvc(lab: Lab, comparer: Comparer) -> None:
    old, new = lab.train("a"), lab.train("b")
    with pytest.raises(NotComparableError, match="is not under DVC"):
        ask(comparer, lab.origin, new, old)


def test_a_remote_that_does_not_deliver(works: Works, comparer: Comparer, dvc_remote: Path) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    shutil.rmtree(dvc_remote / "files")
    with pytest.raises(ComparisonError, match=r"the DVC remote has no such object: ") as caught:
        ask(comparer, works.checkout, new, old)
    assert not isinstance(caught.value, NotComparableError)
    assert "\n" not in str(caught.value)
    assert not (comparer.home / "comparisons").exists()


def test_what_the_code_of_main_cannot_compare(works: Works, comparer: Comparer) -> None:
    old, new = works.release(b"old"), works.release(b"broken")
    with pytest.raises(ComparisonError, match="not a readable ONNX file"):
        ask(comparer, works.checkout, new, old)


def test_a_commit_that_records_another_model(works: Works, comparer: Comparer) -> None:
    old = works.release(b"old")
    works.release(b"new")
    path = works.checkout.path / "metrics/evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_sha256": "0" * 64}))
    with pytest.raises(ComparisonError, match="records 000000000000"):
        ask(comparer, works.checkout, works.land("Claim"), old)


def test_a_commit_without_a_hold_out_or_a_model(works: Works, comparer: Comparer) -> None:
    start, old = works.lab.tip, works.release(b"old")
    with pytest.raises(ComparisonError, match=r"metrics/evaluation\.json: missing"):
        ask(comparer, works.checkout, old, start)
    works.write("dvc.lock", "schema: '2.0'\n")
    with pytest.raises(ComparisonError, match=r"records no data/holdout\.parquet"):
        ask(comparer, works.checkout, works.land("Lost"), old)


def branch(works: Works, name: str, commit: str, main: str) -> None:
    """Push a commit as a branch, and leave main where it was."""
    works.checkout.git("push", "-q", "--force", "origin", f"{main}:main", f"{commit}:refs/heads/{name}")


def test_a_branch_does_not_compare_itself(works: Works, comparer: Comparer, tmp_path: Path) -> None:
    """It brings a `compare` of its own, which would find its model better, and leaves that for the others."""
    main = works.release(b"old")
    honest = works.release(b"new")
    branch(works, "honest", honest, main)
    mark = tmp_path / "ran"
    flattering = COMPARE.replace(
        "pathlib.Path(given", f"open({str(mark)!r}, 'w').close()\npathlib.Path(given"
    )
    works.write("src/face_attributes/__main__.py", flattering.replace("json.loads(", "dict(json.loads(", 1))
    works.write("src/json.py", f"open({str(mark)!r}, 'w').close()\n")
    works.write("dvc.py", f"open({str(mark)!r}, 'w').close()\n")
    branch(works, "flattering", works.land("Flatter"), main)
    for commit in ("flattering", "honest"):
        found = ask(comparer, works.checkout, works.lab.origin.resolve(commit), main)
        assert (found.model_sha256, found.incumbent_sha256) == (sha256(b"new"), sha256(b"old"))
    assert not mark.exists()


def test_a_comparison_of_other_code_is_another_one(works: Works, comparer: Comparer, said: list[str]) -> None:
    old, new = works.release(b"old"), works.release(b"new")
    ask(comparer, works.checkout, new, old)
    works.write("src/face_attributes/__main__.py", COMPARE + "# other code\n")
    works.land("Compare otherwise")
    ask(comparer, works.checkout, new, old)
    assert len(said) == 2


def test_a_branch_names_no_storage_and_takes_none_away(
    works: Works, comparer: Comparer, tmp_path: Path
) -> None:
    """Its configuration could show the keys to another server, execute a program, or end the comparison."""
    main, mark = works.release(b"old"), tmp_path / "ran"
    profile = f"[default]\ncredential_process = touch {mark}\n"
    for number, config in enumerate(
        (
            "[core]\n    remote = storage\n['remote \"storage\"']\n    url = s3://elsewhere\n"
            "    configpath = ../aws\n",
            None,
        )
    ):
        new = works.release(f"new {number}".encode())
        works.write("aws", profile)
        if config is None:
            (works.checkout.path / ".dvc/config").unlink()
        else:
            works.write(".dvc/config", config)
        branch(works, "other", works.land("Move the storage"), main)
        found = ask(comparer, works.checkout, works.lab.origin.resolve("other"), main)
        assert found.model_sha256 == sha256(f"new {number}".encode()), new
        works.checkout.git("reset", "-q", "--hard", main)
    assert not mark.exists()


def test_the_code_of_main_finds_out_a_worse_model(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: what `compare` writes is what the gates read, and what they then say."""
    package = works.checkout.path / "src" / "face_attributes"
    for file in (ROOT / "src" / "face_attributes").rglob("*.py"):
        target = package / file.relative_to(ROOT / "src" / "face_attributes")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    images = colours.holdout(tmp_path / "holdout.parquet")
    good, worse = colours.model([1, 0, 0, 1, 0, 0], -50), colours.model([1, 0, 0, 0, 0, 0], -50)
    works.release(good, images)
    main = works.checkout.resolve("HEAD")
    candidate = works.release(worse, images)
    works.checkout.git(
        "push", "-q", "--force", "origin", f"{main}:main", f"{candidate}:refs/heads/candidate/x"
    )
    monkeypatch.chdir(works.checkout.path)
    monkeypatch.setenv("COLUMNS", "160")

    result = CliRunner().invoke(app, ["check", "--head", "candidate/x"])
    assert result.exit_code == 1
    announced, *refused = result.stderr.splitlines()
    assert announced == f"Comparing the models of {candidate[:12]} and {main[:12]} on the same images ..."
    assert "no worse than the incumbent: 0.7500 (-0.2500," in refused[0]
    assert any("no attribute worse: Male -0.5000 (p 1.7e-18)" in line for line in refused)
    assert "The gates of dev" in result.stdout
    assert "1.0000" in result.stdout
    assert (works.checkout.path / ".visage/gates/comparisons").is_dir()
    assert works.checkout.git("status", "--porcelain") == ""

    again = CliRunner().invoke(app, ["check", "--head", "candidate/x"])
    assert (again.exit_code, again.stderr.splitlines()) == (1, refused)

    works.checkout.git("push", "-q", "--force", "origin", f"{candidate}:main")
    works.checkout.git("reset", "-q", "--hard", candidate)
    back = works.release(good, images)
    works.checkout.git(
        "push", "-q", "--force", "origin", f"{candidate}:main", f"{back}:refs/heads/candidate/y"
    )
    better = CliRunner().invoke(app, ["check", "--head", "candidate/y"])
    assert better.exit_code == 0, better.stderr
    assert "0.7500" in better.stdout
