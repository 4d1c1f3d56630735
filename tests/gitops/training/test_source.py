"""Which code a training runs: the decision, and a training in prod whose main has moved on."""

import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops import tasks
from gitops.airflow import task_context
from gitops.dvc.provenance import pipeline
from gitops.errors import RuleError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, fetch
from gitops.release.environments import Environments
from gitops.training import source as training_source
from gitops.training.candidate import judge, propose
from tests.support.figures import model_files
from tests.support.lab import ROOT, Lab
from visage_dags import labelled

RELEASE = "a" * 40
BATCH = "data/labelled/prod-2026-01-07.parquet.dvc"

elsewhere = st.one_of(st.sampled_from(["staging", "prod", "", "Dev", "dev ", "qa"]), st.text()).filter(
    lambda name: name != "dev"
)


@given(elsewhere, st.one_of(st.text(min_size=1), st.sampled_from(["main", "b" * 40, RELEASE[:12]])))
def test_outside_dev_nothing_but_the_release_is_trained(environment: str, requested: str) -> None:
    assert training_source.source(environment, "", RELEASE) == RELEASE
    assert training_source.source(environment, RELEASE, RELEASE) == RELEASE
    if requested != RELEASE:
        with pytest.raises(RuleError, match=RELEASE[:12]):
            training_source.source(environment, requested, RELEASE)


def test_dev_trains_what_it_is_asked_for_and_else_main() -> None:
    assert training_source.source("dev", "", RELEASE) == "main"
    assert training_source.source("dev", "narrower", RELEASE) == "narrower"


def test_the_environments_of_this_repository_train_other_code_in_dev_alone() -> None:
    environments = Environments.from_folder(ROOT)
    assert [name for name in environments if environments.trains(name)] == ["dev"]
    for name in environments:
        if name != "dev":
            with pytest.raises(RuleError, match="or train main in dev"):
                training_source.source(name, "main", RELEASE, environments=environments)


def test_where_a_training_may_take_any_code_is_declared_and_follows_from_nothing_else() -> None:
    """Neither from the name of an environment, nor from its place in the order."""
    files = {
        "dev": b"title: Development\ncolor: teal\n",
        "lab": b"title: Laboratory\ncolor: sky\nafter: [dev]\ntraining: true\n",
    }
    environments = Environments.from_files(files)
    assert training_source.source("lab", "narrower", RELEASE, environments=environments) == "narrower"
    assert training_source.source("dev", "", RELEASE, environments=environments) == RELEASE
    with pytest.raises(RuleError):
        training_source.source("dev", "narrower", RELEASE, environments=environments)
    # A tree from before the key
    earlier = Environments.from_files(files | {"lab": b"title: Laboratory\ncolor: sky\nafter: [dev]\n"})
    assert [name for name in earlier if earlier.trains(name)] == ["dev"]


@pytest.mark.parametrize("path", [".dvc/config", ".dvc/config.local", ".DVC/config", ".dvc/tmp/site-cache/x"])
def test_a_branch_that_is_trained_does_not_name_the_storage(lab: Lab, path: str) -> None:
    """Git ignores `.dvc/config.local`, but somebody can add it all the same, and DVC reads it last."""
    main = training_source.storage(lab.origin, lab.tip)
    training_source.admit_storage(RELEASE, training_source.storage(lab.origin, lab.commit({"x": b"x"})), main)
    other = lab.commit({path: b"[core]\n    remote = other\n"})
    with pytest.raises(RuleError, match=rf"{re.escape(path)} of [0-9a-f]+: differs from that of main; merge"):
        training_source.admit_storage(RELEASE, training_source.storage(lab.origin, other), main)


def test_all_that_the_stages_leave_in_git_are_results(tmp_path: Path) -> None:
    """A file that a stage leaves in git, and that is none, would stop every training outside dev."""
    repository = Repository.clone(str(ROOT), tmp_path / "clone", "--no-checkout")
    kept = [
        out.path for stage in pipeline(repository, "HEAD").values() for out in stage.outs if not out.cached
    ]
    assert len(kept) > 5
    assert [path for path in kept if not training_source.is_result(path)] == []


@pytest.mark.parametrize(
    "path",
    [
        "src/face_attributes/cli.py",
        "dvc.yaml",
        "data/dvc.yaml",
        "data/numpy.py",
        "plots/sitecustomize.py",
        "search/a.so",
        ".dvc/config",
        "metrics",
        "data/../dags/a.csv",
    ],
)
def test_code_and_configuration_are_no_results(path: str) -> None:
    assert not training_source.is_result(path)


def test_parameters_are_no_code() -> None:
    """A training may change them, so no command of a stage may be made of them."""
    commands = re.findall(r"cmd: (.+)", (ROOT / "dvc.yaml").read_text())
    assert len(commands) > 5
    assert not any("${" in command for command in commands)


def admit(release: str, repository: Repository, commit: str) -> None:
    """Do as the DAGs' `place.origin` does, which needs an Airflow."""
    fetch(repository, Origin(repository.remote_url("origin")), release)
    training_source.admit("prod", release, commit, training_source.changed(repository, release, commit))


class Prod:
    """A lab whose prod runs a release, and a training there."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.home, self.cache = lab, folder / "spaces", folder / "cache"
        lab.train("first", 0.9)
        lab.release("staging")
        self.release = lab.release("prod")
        self.origin = Origin(str(lab.origin.path), admit=partial(admit, self.release))

    def results(self, files: dict[str, bytes]) -> str:
        """Leave the results of a run as its steps do."""
        base = training_source.source("prod", "", self.release)
        appended = self.lab.commit({BATCH: b"outs: []\n"}, on=base, message="Append")
        return self.lab.branch("run/x", files, on=appended)

    def propose(self, result: str, run: str = "weekly") -> str | None:
        return propose(self.origin, self.release, result, run_id=run, home=self.home)


@pytest.fixture
def prod(lab: Lab, tmp_path: Path) -> Prod:
    return Prod(lab, tmp_path)


def test_a_candidate_of_prod_is_based_on_its_release_and_merges_into_a_main_that_moved_on(prod: Prod) -> None:
    lab = prod.lab
    lab.land({"README.md": b"Visage goes on\n", "docs/more.md": b"More\n"})
    assert lab.tip != prod.release
    result = prod.results(model_files("learnt", 0.95))
    rows = judge(prod.origin, result, prod.release, "prod", home=prod.home, cache=prod.cache)
    assert [row.gate for row in rows if not row.ok] == []
    branch = prod.propose(result)
    assert branch
    assert lab.origin.resolve(f"{branch}^") == prod.release

    merged = lab.merge(branch)
    files = model_files("learnt", 0.95) | {"README.md": b"Visage goes on\n", BATCH: b"outs: []\n"}
    assert {path: lab.origin.read(merged, path) for path in files} == files
    lab.verify("dev", merged)
    lab.release("staging")
    assert lab.release("prod") == merged
    # The next run there has nothing new to learn
    assert prod.propose(result, "next") is None


def test_a_training_of_prod_reads_the_batches_of_a_main_that_moved_on(
    prod: Prod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs no code of main, so that main may have other code."""
    prod.lab.land({"src/face_attributes/__init__.py": b"1\n", BATCH: b"outs: []\n"})
    monkeypatch.setattr(task_context, "origin", lambda: prod.origin)
    monkeypatch.setattr(task_context, "workspaces", lambda: prod.home)
    main = tasks.branch_commit(branch="main")
    assert labelled.present([prod.release, main], ["prod-2026-01-07", "other"]) == {"prod-2026-01-07"}
    with pytest.raises(RuleError, match="and prod runs the code of its release alone"):
        tasks.inspect(commit=main, storage=True)


def test_a_result_with_other_code_is_neither_judged_nor_proposed(prod: Prod) -> None:
    files = model_files("learnt", 0.95) | {"src/face_attributes/__init__.py": b"import evil\n"}
    result = prod.results(files)
    with pytest.raises(RuleError, match=r"another src/face_attributes/__init__\.py than the release"):
        judge(prod.origin, result, prod.release, "prod", home=prod.home, cache=prod.cache)
    with pytest.raises(RuleError, match=r"another src/face_attributes/__init__\.py than the release"):
        prod.propose(result)


@pytest.mark.parametrize(
    "pointer",
    [
        "outs: [{path: ../../src/face_attributes/train.py, md5: MD5}]",
        "outs: [{path: ../../torch.py, md5: MD5}]",
        "wdir: ../..\nouts: [{path: evil, md5: MD5}]",
        "deps: [{path: https://example.com/evil}]\nouts: [{path: evil, md5: MD5}]",
        "outs: [{path: evil, md5: MD5.dir}]",
        "outs: [{path: evil, md5: MD5}, {path: other, md5: MD5}]",
        "outs: [{path: /tmp/evil, md5: MD5}]",
        "outs: !!seq []",
        "#" * 20_000,
    ],
)
def test_a_batch_that_brings_more_than_itself_is_not_trained(prod: Prod, pointer: str) -> None:
    """DVC writes what a `.dvc` file names wherever it says, over code too."""
    files = {"data/labelled/evil.dvc": pointer.replace("MD5", "ab" * 16).encode()}
    with pytest.raises(RuleError, match=r"data/labelled/evil\.dvc does not stand for one file beside it"):
        prod.propose(prod.results(files))


def test_a_name_of_odd_bytes_and_a_link_are_no_results(prod: Prod) -> None:
    lab = prod.lab
    blob = lab.origin.git("hash-object", "-w", "--stdin", input=b"outs: [{path: ../x, md5: a}]")
    for name, mode in ((b"data/\xff.dvc", b"100644"), (b"metrics/evaluation.json", b"120000")):
        index = {"GIT_INDEX_FILE": str(prod.home.parent / "index")}
        lab.origin.git("read-tree", prod.release, env=index)
        row = mode + b" " + blob.encode() + b"\t" + name + b"\0"
        lab.origin.git("update-index", "-z", "--index-info", input=row, env=index)
        odd = lab.origin.commit_tree(lab.origin.git("write-tree", env=index), [prod.release], "Odd")
        lab.origin.git("update-ref", "refs/heads/run/odd", odd)
        with pytest.raises(RuleError, match="and prod runs the code of its release alone"):
            prod.propose(odd)
