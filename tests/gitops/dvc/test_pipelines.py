"""Pipelines of every kind are read as DVC reads them: its status and its digests are compared with ours."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitops.dvc.lockfile import Lock
from gitops.dvc.provenance import of_commit, pipeline
from gitops.errors import GateError, ProvenanceError
from gitops.git.repository import Repository
from gitops.paths import MODEL

# DVC itself: each pipeline is run once; then, after each edit, it reports its status and its digests.
PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
from dvc.repo import Repo

def git(*words):
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

def write(files):
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())

def reproduce():
    with Repo() as repo:
        repo.reproduce(all_pipelines=True)

def answer():
    with Repo() as repo:
        try:
            index, status = repo.index, list(repo.status())
        except Exception as error:
            return None, {}
        outs = {o.fs.relpath(o.fs_path, repo.root_dir): o.hash_info.value for o in index.outs}
        return status, outs

answers = {}
top = Path.cwd()
for name, (files, *edits) in json.load(sys.stdin).items():
    (top / name).mkdir()
    os.chdir(top / name)
    git("init", "--quiet", "--initial-branch=main", ".")
    write(files)
    Repo.init(".").close()
    git("add", "--all")
    git("commit", "--quiet", "-m", "Source")
    reproduce()
    steps = answers[name] = []
    for edit in ({}, *edits):
        again = edit.pop("(run)", None)
        write(edit)
        if again is not None:
            reproduce()
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "-m", "Edit")
        steps.append([git("rev-parse", "HEAD"), *answer()])
Path(top / "answers.json").write_text(json.dumps(answers))
"""
RUN = {"(run)": ""}


def loop(items: str) -> str:
    return (
        f"stages:\n  s:\n    foreach: {items}\n    do:\n"
        "      cmd: echo ${item} > models/model.onnx\n      outs: ['models/model.onnx']\n"
    )


def frozen(flag: str) -> str:
    return (
        f"stages:\n  s:\n    foreach: [a, b]\n    do:\n      frozen: {flag}\n"
        "      cmd: cat in.txt > ${item}.txt\n      deps: [in.txt]\n      outs: ['${item}.txt']\n"
        "  t:\n    cmd: cat a.txt > t.txt\n    deps: [a.txt]\n    outs: [t.txt]\n"
    )


def matrix(axis: str) -> str:
    return (
        f"stages:\n  s:\n    matrix:\n      x: {axis}\n      y: [{{k: a}}, {{k: b}}]\n"
        "    cmd: echo ${item.x} ${item.y.k} > ${key}.txt\n    outs: ['${key}.txt']\n"
    )


IN = {"in.txt": "1\n"}
IGNORED = {"models/.gitignore": "/model.onnx\n"}
PLAIN = "stages:\n  s:\n    cmd: echo plain > models/model.onnx\n    outs: [models/model.onnx]\n"
PIPELINES: dict[str, list[dict[str, str]]] = {
    "variables of several files and of the stage": [
        {
            "dvc.yaml": "vars:\n  - a.yaml\n  - b.json:size,name\n  - extra: {deep: [one, two]}\n"
            "  - extra: {more: 7}\nstages:\n  s:\n    vars: [{local: L}]\n"
            "    cmd: echo ${kind} ${size} ${name} ${extra.deep[1]} ${extra.more} ${local} ${p} > out.txt\n"
            "    outs: [{out.txt: {cache: false}}]\n",
            "a.yaml": "kind: k\n",
            "b.json": '{"size": 3, "name": "n", "unused": 1}',
            "params.yaml": "p: 1\n",
        },
        {"a.yaml": "kind: kk\n"},
        {"a.yaml": "kind: k\n", "b.json": '{"size": 3, "name": "n", "unused": 2}'},
        {"b.json": '{"size": 4, "name": "n"}'},
        {"a.yaml": "kind: k\np: 5\n"},
        {"a.yaml": "kind: k\nextra: {deep: [x, y]}\n"},
    ],
    "foreach over a mapping": [
        {
            "dvc.yaml": loop("{uk: {n: 3}, us: {n: 4}}")
            .replace("${item}", "${item.n}")
            .replace("model.", "${key}.")
        }
        | {"models/.gitignore": "/*.onnx\n"},
        {
            "dvc.yaml": loop("{uk: {n: 3}, us: {n: 9}}")
            .replace("${item}", "${item.n}")
            .replace("model.", "${key}.")
        },
    ],
    "foreach over mappings in a list": [
        {
            "dvc.yaml": "stages:\n  s:\n    foreach: ${models}\n    do:\n"
            "      cmd: cat in.txt > m-${item.n}.txt\n      deps: [in.txt]\n"
            "      outs: ['m-${item.n}.txt']\n",
            "params.yaml": "models:\n- {n: a}\n- {n: b}\n",
        }
        | IN,
        {"in.txt": "2\n"},
        {"in.txt": "1\n", "params.yaml": "models:\n- {n: a}\n- {n: b}\n- {n: c}\n"},
    ],
    "matrix with two axes": [{"dvc.yaml": matrix("[1, 2]")}, {"dvc.yaml": matrix("[1, 3]")}],
    "frozen stages of a loop": [
        {"dvc.yaml": frozen("false")} | IN,
        {"dvc.yaml": frozen("true")},
        {"in.txt": "2\n"},
    ],
    "always changed, and without inputs": [
        {
            "dvc.yaml": "stages:\n  s: {always_changed: true, cmd: echo x > x.txt, outs: [x.txt]}\n"
            "  n: {cmd: echo y > y.txt, outs: [y.txt]}\n"
        }
    ],
    "words about stages and outputs": [
        {
            "dvc.yaml": "stages:\n  s:\n    desc: words\n    meta: {owner: x, list: [1, {a: b}]}\n"
            "    cmd: echo x > x.txt\n    outs:\n"
            "    - x.txt: {desc: d, type: t, labels: [l], meta: {k: v}}\n"
        },
        {
            "dvc.yaml": "stages:\n  s:\n    desc: other\n    meta: [none]\n    cmd: echo x > x.txt\n"
            "    outs:\n    - x.txt: {desc: e, labels: [m]}\n"
        },
    ],
    "parameters of whole files, of parts and of Python": [
        {
            "dvc.yaml": "stages:\n  s:\n    cmd: echo x > x.txt\n    outs: [x.txt]\n    params:\n"
            "    - all.toml:\n    - some.json: [a.b, c]\n    - conf.py: [A, T.b]\n    - p\n",
            "all.toml": "[t]\nv = 1\n",
            "some.json": '{"a": {"b": 1, "z": 2}, "c": [1, 2]}',
            "conf.py": "A = 1\nclass T:\n    b = 'x'\n    c = 1\n",
            "params.yaml": "p: 1e-3\n",
        },
        {"all.toml": "[t]\nv = 1\nw = 2\n"},
        {"all.toml": "[t]\nv = 1\n", "some.json": '{"a": {"b": 1, "z": 3}, "c": [1, 2]}'},
        {"some.json": '{"a": {"b": 1}, "c": [2, 1]}'},
        {"some.json": '{"a": {"b": 1}, "c": [1, 2]}', "params.yaml": "p: 0.001\n"},
        {"conf.py": "A = 1\nclass T:\n    b = 'x'\n    c = 2\n"},
        {"conf.py": "A = 1\nclass T:\n    b = 'y'\n"},
    ],
    "outputs of every kind": [
        {
            "dvc.yaml": "stages:\n  s:\n    cmd: mkdir -p dir && echo a > dir/a && echo b > git.txt && "
            "echo c > keep.txt && echo d > no.txt && echo '{}' > m.json && echo 'x,y' > p.csv\n    outs:\n"
            "    - dir: {persist: true}\n    - git.txt: {cache: false}\n    - keep.txt: {persist: true}\n"
            "    - no.txt: {push: false}\n    metrics: [m.json: {cache: false}]\n"
            "    plots: [p.csv: {x: x, y: y, cache: false}]\n"
        },
        {"git.txt": "z\n"},
        {"git.txt": "b\n", "m.json": '{"a": 1}\n'},
        {"m.json": "{}\n", "p.csv": "x\n"},
    ],
    "a stage of a sub-folder": [
        {
            "dvc.yaml": "stages:\n  s:\n    cmd: cat sub/out.txt > top.txt\n    deps: [sub/out.txt]\n"
            "    outs: [top.txt]\n",
            "sub/dvc.yaml": "vars: [v.yaml]\nstages:\n  s:\n    cmd: cat in.txt > ${o}\n    params: [q]\n"
            "    deps: [in.txt, ../base.txt]\n    outs: ['${o}']\n",
            "sub/v.yaml": "o: out.txt\n",
            "sub/in.txt": "i\n",
            "base.txt": "b\n",
            "sub/params.yaml": "q: 1\n",
            "params.yaml": "q: 9\n",
        },
        {"sub/in.txt": "j\n"},
        {"sub/in.txt": "i\n", "base.txt": "c\n"},
        {"base.txt": "b\n", "sub/params.yaml": "q: 2\n"},
        {"sub/params.yaml": "q: 1\n", "params.yaml": "q: 10\n"},
    ],
    "sections beside the stages": [
        {
            "dvc.yaml": "params: [more.yaml]\nmetrics: [m.json]\nplots:\n- m.csv: {x: a}\n"
            "artifacts:\n  net: {path: x.txt, type: model, desc: d, labels: [a]}\n"
            "datasets:\n- {name: local, type: url, url: 'https://example.org/x'}\n"
            "stages:\n  s: {cmd: echo x > x.txt, outs: [x.txt]}\n",
            "m.json": "{}\n",
            "m.csv": "a\n1\n",
            "more.yaml": "z: 1\n",
        },
        {"more.yaml": "z: 2\n"},
        {"m.json": '{"a": 1}\n'},
    ],
    "anchors and merged mappings": [
        {
            "dvc.yaml": "stages:\n  a: &base\n    wdir: sub\n    cmd: cat ../in.txt > a.txt\n"
            "    deps: &d [../in.txt]\n    outs: [a.txt]\n  b:\n    <<: *base\n    cmd: cat x > b.txt\n"
            "    deps: [x]\n    outs: [b.txt]\n"
            "  c: {wdir: sub, cmd: cat ../in.txt > c.txt, deps: *d, outs: [c.txt]}\n",
            "sub/x": "m\n",
        }
        | IN,
        {"in.txt": "2\n"},
        {"in.txt": "1\n", "sub/x": "n\n"},
    ],
    "commands in a list, with options of a mapping": [
        {
            "dvc.yaml": "stages:\n  s:\n    cmd:\n    - echo \\${HOME} ${opts} > a.txt\n    - >-\n"
            "      echo b\n      >> a.txt\n    outs: [a.txt]\n",
            "params.yaml": "opts: {lr: 0.1, deep: {x: true, y: [1, 2]}, none: null}\n",
        },
        {"params.yaml": "opts: {lr: 0.1, deep: {x: false, y: [1, 2]}, none: null}\n"},
    ],
    "paths that are not in their shortest form": [
        {
            "dvc.yaml": "stages:\n  s:\n    cmd: mkdir -p o && cat d/sub/* > models/model.onnx\n"
            "    deps: [d/]\n    outs: [./models/../models/model.onnx, o/]\n",
            "d/sub/x": "1\n",
            "d/.hidden": "1\n",
        }
        | IGNORED,
        {"d/.hidden": "2\n"},
        {"d/.hidden": "1\n", "d/sub/y": "\n"},
    ],
    "names with spaces and umlauts": [
        {
            "dvc.yaml": "stages:\n  größe:\n    cmd: cat 'ä b.txt' > 'ö ü.txt'\n    deps: ['ä b.txt']\n"
            "    outs: ['ö ü.txt']\n",
            "ä b.txt": "1\n",
        },
        {"ä b.txt": "2\n"},
    ],
    "a stage that became a loop": [{"dvc.yaml": PLAIN} | IGNORED, {"dvc.yaml": loop("[b]")} | RUN],
    "a loop that became a stage": [{"dvc.yaml": loop("[b]")} | IGNORED, {"dvc.yaml": PLAIN} | RUN],
    # Those of which only DVC can give the digests of outputs
    "a loop with another item": [{"dvc.yaml": loop("[a]")} | IGNORED, {"dvc.yaml": loop("[b]")} | RUN],
    "a folder that is a template": [
        {
            "dvc.yaml": "vars: [{folder: work/deep}]\nstages:\n  s:\n    wdir: ${folder}\n    params: [q]\n"
            "    cmd: cat in.txt > ../../models/model.onnx\n    deps: [in.txt]\n"
            "    outs: [../../models/model.onnx]\n",
            "work/deep/in.txt": "i\n",
            "work/deep/params.yaml": "q: 1\n",
        }
        | IGNORED,
    ],
}
ONE_LINE = {
    "a loop with another item": "s@a and s@b both record models/model.onnx, with different digests; delete",
    "a folder that is a template": "the wdir of s is a template",
}


@dataclass(frozen=True)
class Answer:
    """The stages of a commit that DVC would run (None: it refuses the commit), and its digests of outputs."""

    repository: Repository
    commit: str
    status: list[str] | None
    digests: dict[str, str]


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Answer]]:
    top = tmp_path_factory.mktemp("pipelines")
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=top,
        env=variables,
        input=json.dumps(PIPELINES),
        text=True,
        check=True,
        timeout=300,
    )
    found = json.loads((top / "answers.json").read_text())
    return {name: [Answer(Repository(top / name), *step) for step in found[name]] for name in found}


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in PIPELINES if name not in ONE_LINE])
def test_a_pipeline_is_read_as_dvc_reads_it(answers: dict[str, list[Answer]], name: str) -> None:
    assert len(answers[name]) == len(PIPELINES[name])
    for answer in answers[name]:
        if answer.status is None:
            with pytest.raises(ProvenanceError):
                of_commit(answer.repository, answer.commit)
            continue
        stale = [stage.name for stage in of_commit(answer.repository, answer.commit).stale]
        assert sorted(stale) == sorted(answer.status)
        steps = pipeline(answer.repository, answer.commit).values()
        assert {out.path: out.md5 for step in steps for out in step.outs} == answer.digests
        lock = Lock.load(answer.repository, answer.commit)
        # Of the stages of a sub-folder the lock is another file.
        own = {path: digest for path, digest in answer.digests.items() if not path.startswith("sub/out")}
        recorded = [step.recorded for step in steps]
        if all(recorded):
            assert {path: lock.digest(path) for path in own} == own


@pytest.mark.long
@pytest.mark.parametrize("name", ONE_LINE)
def test_a_record_that_only_dvc_can_tell_is_refused_on_one_line(
    answers: dict[str, list[Answer]], name: str
) -> None:
    answer = answers[name][-1]
    assert (answer.status, set(answer.digests)) == ([], {MODEL})
    for error, ask in ((ProvenanceError, of_commit), (GateError, lambda *one: Lock.load(*one).digest(MODEL))):
        with pytest.raises(error, match=ONE_LINE[name]) as caught:
            ask(answer.repository, answer.commit)
        assert "\n" not in str(caught.value)
