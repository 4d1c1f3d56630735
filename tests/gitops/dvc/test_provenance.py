"""Whether a commit's lock belongs to it, on pipelines that DVC itself has run."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from gitops.dvc import parameters, provenance, provenance_process
from gitops.dvc.lockfile import Lock
from gitops.dvc.provenance import of_commit, parameter_faults
from gitops.errors import ProvenanceError
from gitops.git.repository import Repository
from tests.support.command import captured
from tests.support.lab import ROOT

PIPELINE = """\
vars:
  - names.yaml
  - shipped: models/model.onnx
stages:
  prepare:
    cmd: cat data/labelled/* code/prepare.py > data/prepared
    params: [prepare]
    deps:
      - data/labelled
      - code/prepare.py
    outs:
      - data/prepared
  count:
    foreach: ${counted}
    do:
      wdir: code
      cmd: wc -c < ../data/prepared > ../${item}.txt
      deps:
        - ../data/prepared
      outs:
        - ../${item}.txt:
            cache: false
  train:
    cmd: cat data/prepared code/net/*.py > ${shipped}
    params:
      - train.epochs
      - more.yaml:
    deps:
      - data/prepared
      - code/net
    outs:
      - ${shipped}
  evaluate:
    cmd: wc -c < ${shipped} > figures.json
    deps:
      - ${shipped}
    outs:
      - figures.json:
          cache: false
  old:
    cmd: echo old > old.txt
    deps:
      - code/prepare.py
    outs:
      - old.txt:
          cache: false
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "names.yaml": "counted: [one, two]\n",
    "params.yaml": "prepare:\n  shrink: 3\n  sample: 10\ntrain:\n  epochs: 2\n  other: 1\n",
    "more.yaml": "deep:\n  er: [1, 2]\n",
    "code/prepare.py": "p\n",
    "code/net/layers.py": "n\n",
    "code/net/sub/more.py": "m\n",
    "data/labelled/README.md": "words\n",
    "data/labelled/.gitignore": "/first\n",
    ".dvcignore": "/data/labelled/README.md\n/data/labelled/.gitignore\n__pycache__\n",
    ".gitignore": "/data/prepared\n/models\n__pycache__\n",
}

MD5 = "ab" * 16
EVIL = "['remote \"evil\"']\nurl = URL\n"


def write(folder: Path, files: Mapping[str, str | None]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_text(content)


def dvc(folder: Path, *commands: list[str]) -> None:
    program = "import sys, json; from dvc.cli import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    text = json.dumps(commands)
    subprocess.run([sys.executable, "-c", program, text], cwd=folder, env=variables, check=True, timeout=120)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose pipeline DVC has run, with a batch under DVC in a folder that a stage reads."""
    folder = tmp_path_factory.mktemp("provenance") / "made"
    folder.mkdir()
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main", "--template=", ".")
    write(folder, FILES | {"data/labelled/first": "batch\n", "models/.gitignore": "", ".dvc/config": ""})
    dvc(folder, ["add", "data/labelled/first"], ["repro"], ["freeze", "old"])
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "-m", "Made", env=repository.identity())
    return folder


class Work:
    """A clone without any data, in which each change is a commit of its own."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.repository = Repository.clone(str(source), folder, "--template=")

    def commit(self, files: Mapping[str, str | None]) -> str:
        write(self.repository.path, files)
        self.repository.git("add", "--all")
        self.repository.git("commit", "--quiet", "-m", "Change", env=self.repository.identity())
        return self.repository.resolve("HEAD")

    def read(self, name: str) -> str:
        return (self.repository.path / name).read_text()

    def edited(self, name: str, before: str, after: str, count: int = -1) -> dict[str, str | None]:
        assert before in self.read(name)
        return {name: self.read(name).replace(before, after, count)}

    def changes(self, files: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
        found = of_commit(self.repository, self.commit(files))
        return {stage.name: stage.changes for stage in found.stale}


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Work:
    return Work(made, tmp_path / "work")


def test_a_model_belongs_to_the_commit_that_it_was_made_from(work: Work) -> None:
    found = of_commit(work.repository, "HEAD")
    assert (found.stale, found.contradictions, found.belongs) == ((), (), True)
    assert not (work.repository.path / "data/prepared").exists()


def test_each_kind_of_input_is_held_against_the_lock(work: Work) -> None:
    assert work.changes(work.edited("params.yaml", "shrink: 3", "shrink: 4")) == {
        "prepare": ("params.yaml: prepare.shrink 3 -> 4",)
    }
    work.changes(work.edited("params.yaml", "shrink: 4", "shrink: 3"))
    assert work.changes(work.edited("more.yaml", "[1, 2]", "[1, 3]")) == {
        "train": ("more.yaml: deep.er [1, 2] -> [1, 3]",)
    }
    work.changes(work.edited("more.yaml", "[1, 3]", "[1, 2]"))
    assert work.changes({"code/prepare.py": "q\n"}) == {"prepare": ("code/prepare.py changed",)}
    work.changes({"code/prepare.py": "p\n"})
    assert work.changes({"code/net/sub/more.py": "q\n"}) == {"train": ("code/net changed",)}
    work.changes({"code/net/sub/more.py": "m\n"})
    assert work.changes({"figures.json": "1\n"}) == {"evaluate": ("its output figures.json was edited",)}
    assert work.changes({"figures.json": None}) == {"evaluate": ("its output figures.json is missing",)}


def test_a_parameter_that_no_stage_reads_and_words_that_dvc_ignores_change_nothing(work: Work) -> None:
    edited = work.edited("params.yaml", "other: 1", "other: 2")
    assert work.changes(edited | {"data/labelled/README.md": "other words\n", "notes.txt": "x"}) == {}
    (work.repository.path / ".gitignore").unlink()
    assert work.changes({"code/net/__pycache__/layers.pyc": "x"}) == {}


def test_a_batch_that_is_added_replaced_or_taken_away_changes_the_stage_that_reads_the_folder(
    work: Work,
) -> None:
    pointer = work.read("data/labelled/first.dvc")
    path = "data/labelled/first.dvc"
    changed = {"prepare": ("data/labelled changed",)}
    assert work.changes({"data/labelled/second.dvc": pointer.replace("first", "second")}) == changed
    assert work.changes({"data/labelled/second.dvc": None}) == {}
    digest = next(out["md5"] for out in yaml.safe_load(pointer)["outs"])
    assert work.changes({path: pointer.replace(digest, MD5)}) == changed
    assert work.changes({path: None}) == changed


def test_the_pipeline_is_resolved_as_dvc_resolves_it(work: Work) -> None:
    assert work.changes(work.edited("names.yaml", "[one, two]", "[one, three]")) == {
        "count@three": ("was never run",)
    }
    work.changes(work.edited("names.yaml", "[one, three]", "[one, two]"))
    assert work.changes(work.edited("dvc.yaml", "wc -c < ../data", "wc -l < ../data")) == {
        name: (
            f'its command was "wc -c < ../data/prepared > ../{item}.txt", '
            f'is "wc -l < ../data/prepared > ../{item}.txt"',
        )
        for name, item in (("count@one", "one"), ("count@two", "two"))
    }
    work.changes(work.edited("dvc.yaml", "wc -l < ../data", "wc -c < ../data"))
    # A variable that names another file gives two stages another input, output and command.
    assert set(work.changes(work.edited("dvc.yaml", "models/model.onnx", "models/other.onnx"))) == {
        "dvc.yaml",
        "train",
        "evaluate",
    }


def test_what_changes_under_a_frozen_stage_is_its_own_business(work: Work) -> None:
    assert "old" not in work.changes({"code/prepare.py": "q\n"})
    assert "old" in work.changes(work.edited("dvc.yaml", "echo old >", "echo new >"))


def test_to_freeze_a_stage_of_the_model_hides_nothing(work: Work) -> None:
    frozen = yaml.safe_load(work.read("dvc.yaml"))
    for name in ("prepare", "train", "evaluate"):
        frozen["stages"][name]["frozen"] = True
    assert work.changes({"dvc.yaml": yaml.safe_dump(frozen)}) == {}
    edits = work.edited("params.yaml", "epochs: 2", "epochs: 9") | {"figures.json": "99\n"}
    assert work.changes(edits | {"code/prepare.py": "q\n"}) == {
        "prepare": ("code/prepare.py changed", "dvc.yaml freezes it: dvc unfreeze prepare"),
        "train": ("params.yaml: train.epochs 2 -> 9", "dvc.yaml freezes it: dvc unfreeze train"),
        "evaluate": ("its output figures.json was edited", "dvc.yaml freezes it: dvc unfreeze evaluate"),
    }


@pytest.mark.parametrize(
    ("stage", "part", "kept", "name", "files"),
    [
        ("train", "deps", ["data/prepared"], "code/net", {"code/net/layers.py": "other\n"}),
        (
            "train",
            "params",
            [{"more.yaml": None}],
            "params.yaml: train.epochs",
            {"params.yaml": "prepare:\n  shrink: 3\n  sample: 10\n"},
        ),
        ("prepare", "params", ["prepare.shrink"], "params.yaml: prepare", {}),
        ("evaluate", "outs", [], "figures.json", {"figures.json": "99\n"}),
    ],
)
def test_what_dvc_yaml_drops_is_held_against_the_record(
    work: Work, stage: str, part: str, kept: list[object], name: str, files: Mapping[str, str | None]
) -> None:
    pipeline = yaml.safe_load(work.read("dvc.yaml"))
    pipeline["stages"][stage][part] = kept
    found = work.changes({"dvc.yaml": yaml.safe_dump(pipeline)} | dict(files))
    assert f"its record has {name}, which dvc.yaml does not give it any more" in found[stage]


def test_the_record_that_a_renamed_stage_leaves_behind_does_not_count(work: Work) -> None:
    path, made = "models/model.onnx", Lock.load(work.repository, "HEAD").recorded("models/model.onnx")
    lock = yaml.safe_load(work.read("dvc.lock"))
    former = {"cmd": "x", "outs": [{"path": path, "hash": "md5", "md5": MD5, "size": 3}]}
    lock["stages"] = {"former": former} | lock["stages"]
    commit = work.commit({"dvc.lock": yaml.safe_dump(lock, sort_keys=False)})
    assert of_commit(work.repository, commit).belongs
    lock = Lock.load(work.repository, commit)
    assert lock.recorded(path) == made
    assert lock.digest(path) == made.md5


def test_a_lock_that_contradicts_itself_is_named(work: Work) -> None:
    lock = yaml.safe_load(work.read("dvc.lock"))
    made = lock["stages"]["train"]["outs"][0]["md5"]
    head, tail = work.read("dvc.lock").split("  train:", 1)
    edited = head + "  train:" + tail.replace(made, MD5, 1)
    found = of_commit(work.repository, work.commit({"dvc.lock": edited}))
    (one,) = found.contradictions
    assert (one.path, one.maker, one.reader) == ("models/model.onnx", "train", "evaluate")
    assert {one.made, one.read} == {made, MD5}
    assert not found.belongs


def test_without_a_lock_there_is_no_model(work: Work) -> None:
    found = of_commit(work.repository, work.commit({"dvc.lock": None}))
    assert not found.trained
    assert {change for stage in found.stale for change in stage.changes} == {"was never run"}


def test_a_model_that_no_stage_makes_is_nobodys(work: Work) -> None:
    pipeline = yaml.safe_load(work.read("dvc.yaml"))
    del pipeline["stages"]["train"]
    found = work.changes({"dvc.yaml": yaml.safe_dump(pipeline)})
    assert found["dvc.yaml"] == ("no stage makes models/model.onnx",)


@pytest.mark.long
def test_dvc_itself_says_the_same_with_the_data_in_the_checkout(made: Path, tmp_path: Path) -> None:
    work = Work(made, tmp_path / "work")
    leave = shutil.ignore_patterns(".git")
    shutil.copytree(made, work.repository.path, dirs_exist_ok=True, symlinks=True, ignore=leave)
    code = "import json; from dvc.repo import Repo; print(json.dumps([*Repo().status()]))"
    status = [sys.executable, "-c", code]
    edits = [
        work.edited("params.yaml", "epochs: 2", "epochs: 3"),
        {"code/net/layers.py": "k\n"},
        {"data/labelled/third": "x\n"},
    ]
    for files in edits:
        write(work.repository.path, files)
        if "data/labelled/third" in files:
            dvc(work.repository.path, ["add", "data/labelled/third"])
        done = captured(status, cwd=work.repository.path, check=True)
        said = {name for name in json.loads(done.stdout) if not name.endswith(".dvc")}
        assert said == set(work.changes({}))


@pytest.mark.parametrize(
    ("files", "file", "says"),
    [
        ({"dvc.yaml": "stages: ["}, "dvc.yaml", ""),
        ({"dvc.yaml": "stages:\n  a: {cmd: x, depz: []}\n"}, "dvc.yaml", "depz"),
        ({"dvc.yaml": "stages:\n  a: {cmd: '${nothing}'}\n"}, "dvc.yaml", "nothing"),
        ({"dvc.lock": "<<<<<<< HEAD\n"}, "dvc.lock", ""),
        ({"dvc.lock": "stages: 7\nschema: '2.0'\n"}, "dvc.lock", ""),
        ({"params.yaml": "a: [\n"}, "params.yaml", ""),
        ({"dvc.yaml": "stages:\n  a: {cmd: x, deps: [/etc/passwd]}\n"}, "dvc.yaml", "not in the repository"),
        ({"dvc.yaml": "stages:\n  a: {cmd: x, deps: [../x]}\n"}, "dvc.yaml", "not in the repository"),
        ({"dvc.yaml": "stages:\n  a: {cmd: x, params: [/etc/os.yaml: ]}\n"}, "dvc.yaml", ""),
        ({"dvc.yaml": "vars: [/etc/hostname.yaml]\nstages:\n  a: {cmd: x}\n"}, "dvc.yaml", "hostname"),
        (
            {"dvc.yaml": "stages:\n  a: {cmd: x, outs: [b]}\n  c: {cmd: y, outs: [b]}\n"},
            "dvc.yaml",
            "b",
        ),
        (
            {"data/raw.dvc": "outs: [{path: raw}]\ndeps: [{path: a, repo: {url: 'http://127.0.0.1:9/x'}}]\n"},
            "data/raw.dvc",
            "imports a from another repository, which no environment does; take the file itself: dvc add",
        ),
    ],
)
def test_what_dvc_cannot_read_is_told_in_a_line(
    work: Work, files: Mapping[str, str | None], file: str, says: str
) -> None:
    # Every stage has a record, so that none is passed over.
    lock = "schema: '2.0'\nstages:\n  a: {cmd: x}\n  c: {cmd: y}\n"
    with pytest.raises(ProvenanceError) as caught:
        of_commit(work.repository, work.commit({"dvc.lock": lock} | dict(files)))
    assert caught.value.finding.subject == file
    assert says in caught.value.finding.problem
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        {"dvc.yaml": "stages:\n  a: {cmd: x, deps: [URL/x]}\n"},
        {"dvc.yaml": "stages:\n  a: {cmd: x, params: [URL/x.yaml: ]}\n"},
        {
            "dvc.yaml": "stages:\n  a: {cmd: x, deps: [remote://evil/x]}\n",
            ".dvc/config": "['remote \"evil\"']\nurl = URL\n",
        },
        {"x.dvc": f"deps: [{{path: x, repo: {{url: URL/r.git}}}}]\nouts: [{{path: y, md5: {MD5}}}]\n"},
        {"x.dvc": f"deps: [{{path: URL/x, checksum: abc}}]\nouts: [{{path: y, md5: {MD5}}}]\n"},
        {"schemas/params.schema.json": '{"$ref": "URL/x.json"}'},
        {".dvc/config": f"[core]\nremote = evil\n{EVIL}"},
    ],
)
def test_nobody_is_contacted_for_what_a_commit_says(work: Work, files: Mapping[str, str | None]) -> None:
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        lock = f"schema: '2.0'\nstages:\n  a: {{cmd: x, deps: [{{path: x, md5: {MD5}}}]}}\n"
        named = {path: (content or "").replace("URL", url) for path, content in files.items()}
        commit = work.commit({"dvc.lock": lock, "extra": "x"} | named)
        with suppress(ProvenanceError):
            of_commit(work.repository, commit)
        parameter_faults(work.repository, commit, commit)
        with suppress(TimeoutError):
            server.accept()
            came.set()
    assert not came.is_set()


def test_no_code_of_a_commit_is_run_and_nothing_is_written(work: Work, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    code = f"from pathlib import Path\nPath({str(proof)!r}).touch()\nvalue = 1\n"
    stages = (
        f"stages:\n  a:\n    cmd: touch {proof}\n    params: [values.py: [value]]\n    always_changed: true\n"
    )
    lock = "schema: '2.0'\nstages:\n  a: {cmd: x}\n"
    before = work.repository.git("status", "--porcelain", "--ignored")
    found = work.changes({"dvc.yaml": stages, "values.py": code, "dvc.lock": lock})
    assert "dvc.yaml makes it run each time" in found["a"]
    assert not proof.exists()
    assert work.repository.git("status", "--porcelain", "--ignored") == before


def test_a_bomb_takes_neither_all_memory_nor_all_time(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    bomb = "\n".join(lines) + "\n"
    work.commit({"params.yaml": bomb, "dvc.yaml": "stages:\n  a:\n    cmd: x\n    params: [a11]\n"})
    lock = {"dvc.lock": "schema: '2.0'\nstages:\n  a: {cmd: x, params: {params.yaml: {a11: 1}}}\n"}
    commit = work.commit(lock | {"schemas/params.schema.json": "{}"})
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "SECONDS", 1)
        with suppress(ProvenanceError):
            of_commit(work.repository, commit)
        parameter_faults(work.repository, commit, commit)
    # The next commit is read as if nothing had been.
    assert of_commit(work.repository, "HEAD~2").belongs


def test_links_lead_to_files_of_the_commit_and_nowhere_else(work: Work) -> None:
    folder = work.repository.path
    (folder / "code/prepare.py").rename(folder / "code/real.py")
    (folder / "code/prepare.py").symlink_to("real.py")
    assert work.changes({}) == {}
    for target in ("/etc/passwd", "../../../../../etc/passwd", "prepare.py"):
        (folder / "code/prepare.py").unlink()
        (folder / "code/prepare.py").symlink_to(target)
        assert work.changes({}) == {"prepare": ("code/prepare.py is missing",)}


def test_a_bare_repository_will_do(work: Work, tmp_path: Path) -> None:
    bare = Repository.clone(str(work.repository.path), tmp_path / "bare", "--bare", "--template=")
    assert of_commit(bare, "main").belongs


def test_the_machines_own_settings_and_secrets_are_no_part_of_it(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "dvc-config"
    config.mkdir()
    (config / "config").write_text("[core]\nremote = none\n[cache]\ndir = /nonexistent/cache\n")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(config))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")  # pragma: allowlist secret
    provenance._reader.stop()
    assert of_commit(work.repository, work.commit({"notes": "x"})).belongs
    process = provenance._reader._start()
    environment = Path(f"/proc/{process.pid}/environ").read_text()
    assert "hunter2" not in environment
    assert str(config) not in environment


def test_a_process_that_forks_off_asks_a_reader_of_its_own(work: Work) -> None:
    assert of_commit(work.repository, work.commit({"notes": "x"})).belongs
    ours = provenance._reader._start()
    commit = work.commit({"notes": "y"})
    fork = multiprocessing.get_context("fork").Process(target=of_commit, args=(work.repository, commit))
    fork.start()
    fork.join(provenance_process.IDLE / 2)
    assert fork.exitcode == 0
    assert of_commit(work.repository, work.commit({"notes": "z"})).belongs
    assert provenance._reader._start() is ours


def test_how_values_are_put_into_commands_is_the_commits_own_setting(work: Work) -> None:
    dvc_yaml = work.read("dvc.yaml") + "  options:\n    cmd: run ${flags}\n"
    files = {"dvc.yaml": dvc_yaml, "params.yaml": work.read("params.yaml") + "flags: {a: true}\n"}
    lock = work.read("dvc.lock") + "  options:\n    cmd: run --a\n"
    assert "options" not in {
        name for name, found in work.changes(files | {"dvc.lock": lock}).items() if "command" in found[0]
    }
    config = "[parsing]\n    bool = boolean_optional\n"
    files = {"params.yaml": work.read("params.yaml").replace("a: true", "a: false")}
    assert 'is "run --no-a"' in work.changes(files | {".dvc/config": config})["options"][0]
    with pytest.raises(ProvenanceError, match=r"\.dvc/config"):
        of_commit(work.repository, work.commit({".dvc/config": "[[["}))


def test_what_a_commit_names_is_told_in_lines_that_can_be_printed(work: Work) -> None:
    pipeline = yaml.safe_load(work.read("dvc.yaml"))
    pipeline["stages"]["train"]["deps"].append("a\n::error::\x9b2J")
    files = work.edited("params.yaml", "epochs: 2", 'epochs: "\\x9b2J"')
    found = work.changes(files | {"dvc.yaml": yaml.safe_dump(pipeline)})
    assert "a::error:: 2J is new to it" in found["train"]
    assert all(change.isprintable() for changes in found.values() for change in changes)


def test_a_partial_clone_is_told_what_it_lacks(work: Work, tmp_path: Path) -> None:
    origin = work.repository
    origin.git("config", "uploadpack.allowFilter", "true")
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    url = f"file://{origin.path}"
    part = Repository.clone(url, tmp_path / "part", "--filter=blob:none", "--no-checkout", "--template=")
    # Nothing is fetched while a commit is read
    part.git("remote", "set-url", "origin", "file:///nowhere")
    with pytest.raises(ProvenanceError, match=r"partial clone: git fetch --refetch --no-filter origin"):
        of_commit(part, "HEAD")
    part.git("remote", "set-url", "origin", url)
    part.git("fetch", "--quiet", "--refetch", "--no-filter", "origin")
    assert of_commit(part, "HEAD").belongs


@pytest.mark.parametrize(
    "value", ["2026-13-45", "0x_", "-_", "!!int x", "!!bool x", "9" * 5000, "[" * 3000 + "]" * 3000]
)
def test_a_value_that_cannot_be_read_is_a_fault_of_its_file(work: Work, value: str) -> None:
    schema = (ROOT / parameters.SCHEMA).read_text()
    files = {"params.yaml": f"profile: {value}\n", parameters.SCHEMA: schema}
    commit = work.commit(files)
    (fault,) = parameter_faults(work.repository, commit, commit)
    assert fault.subject == "params.yaml"
    assert "too much memory" not in fault.problem


@pytest.mark.parametrize("option", ["cache: false", "push: false", "remote: other"])
def test_a_model_that_no_release_could_fetch_is_refused(work: Work, option: str) -> None:
    shipped = "outs:\n    - ${shipped}"
    edited = work.edited("dvc.yaml", shipped, f"{shipped}: {{{option}}}")
    with pytest.raises(
        ProvenanceError, match=rf"^dvc\.yaml: models/model\.onnx has {option}, .*; remove"
    ) as caught:
        of_commit(work.repository, work.commit(edited))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("'2.0'", "'1.0'", "schema"),
        ("'2.0'", "2.0", "schema"),
        ("schema: '2.0'\n", "", "schema"),
        ("stages:\n", "more: 1\nstages:\n", "more"),
        ("    cmd: cat data", "    note: x\n    cmd: cat data", "note"),
        ("  train:\n", "  evaluate:\n", "evaluate"),
    ],
)
def test_a_lock_that_dvc_would_not_read_is_refused(work: Work, before: str, after: str, problem: str) -> None:
    edited = work.edited("dvc.lock", before, after, 1)
    with pytest.raises(ProvenanceError, match=rf"^dvc\.lock: .*{problem}"):
        of_commit(work.repository, work.commit(edited))
