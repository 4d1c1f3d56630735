"""The records of `dvc.lock` by their paths in the repository."""

import pytest

from gitops.dvc.lockfile import Lock, outs
from gitops.errors import GateError, ModelError
from gitops.paths import MODEL

MD5, OTHER = "a" * 32, "b" * 32
RECORDS = """\
schema: '2.0'
stages:
  export:
    cmd: make it
    outs:
    - {path: PATH, hash: md5, md5: MD5, size: 7}
  elsewhere:
    cmd: make another
    outs:
    - {path: models/model.onnx, hash: md5, md5: OTHER, size: 8}
"""
PIPELINE = """\
stages:
  export:
    wdir: WDIR
    cmd: make it
  elsewhere:
    wdir: trial
    cmd: make another
"""


def lock(path: str, folder: str, pipeline: str = PIPELINE) -> Lock:
    content = RECORDS.replace("PATH", path).replace("MD5", MD5).replace("OTHER", OTHER)
    return Lock("0" * 40, content.encode(), pipeline.replace("WDIR", folder).encode())


@pytest.mark.parametrize(
    ("path", "folder"),
    [(MODEL, "."), ("model.onnx", "models"), ("../models/model.onnx", "src"), ("model.onnx", "./models/")],
)
def test_a_record_is_of_the_file_that_its_stage_makes_in_its_own_folder(path: str, folder: str) -> None:
    found = lock(path, folder)
    assert found.recorded(MODEL).md5 == MD5
    assert found.digest("trial/models/model.onnx") == OTHER
    assert [path for path, _ in outs(found.content, found.pipeline)] == [MODEL, "trial/models/model.onnx"]


@pytest.mark.parametrize(
    "stage",
    [
        "foreach: [a]\n    do: {wdir: models, cmd: x}",
        "matrix: {kind: [a]}\n    wdir: models\n    cmd: x",
    ],
)
def test_the_stages_of_a_loop_have_its_folder(stage: str) -> None:
    records = f"stages: {{export@a: {{cmd: x, outs: [{{path: model.onnx, md5: {MD5}}}]}}}}"
    found = Lock("0" * 40, records.encode(), f"stages:\n  export:\n    {stage}\n".encode())
    assert found.digest(MODEL) == MD5


def test_a_folder_that_is_a_template_is_named_where_a_record_may_be_in_it() -> None:
    found = lock("model.onnx", "${folder}")
    with pytest.raises(ModelError, match=r"dvc\.yaml.*: the wdir of export is a template.*; write"):
        found.recorded(MODEL)
    with pytest.raises(GateError, match="the wdir of export is a template"):
        found.digest(MODEL)
    assert found.digest("data/holdout.parquet") is None
    with pytest.raises(GateError, match="the wdir of export is a template"):
        lock("../models/model.onnx", "${folder}").digest(MODEL)


@pytest.mark.parametrize(
    ("names", "definition", "digest"),
    [
        (("export", "export@b"), "{foreach: [b], do: {cmd: x}}", OTHER),
        (("export", "export@b"), "{matrix: {kind: [b]}, cmd: x}", OTHER),
        (("export@a", "export"), "{cmd: x}", OTHER),
        (("export@a", "export@b"), "{foreach: [b], do: {cmd: x}}", None),
    ],
)
def test_a_record_from_before_a_loop_changed_is_never_taken_for_the_present_one(
    names: tuple[str, str], definition: str, digest: str | None
) -> None:
    records = ", ".join(
        f"{name}: {{cmd: x, outs: [{{path: ./{MODEL}, md5: {md5}}}]}}"
        for name, md5 in zip(names, (MD5, OTHER), strict=True)
    )
    pipeline = f"stages: {{export: {definition}}}"
    found = Lock("0" * 40, f"stages: {{{records}}}".encode(), pipeline.encode())
    if digest:
        assert found.digest(MODEL) == digest
    else:
        with pytest.raises(
            GateError, match=rf"^dvc\.lock.*: export@a and export@b both record {MODEL}, .*; del"
        ):
            found.digest(MODEL)
    same = Lock("0" * 40, found.content.replace(OTHER.encode(), MD5.encode()), found.pipeline)
    assert same.digest(MODEL) == MD5


def test_a_pipeline_that_cannot_be_read_is_named_and_not_the_lock() -> None:
    with pytest.raises(ModelError, match=r"^dvc\.yaml:2 in 0{12}: "):
        lock(MODEL, ".", "stages: [").recorded(MODEL)


def test_the_data_of_a_stage_are_its_inputs_and_outputs_without_code() -> None:
    records = f"""\
stages:
  prepare:
    cmd: x
    deps:
    - {{path: src/code, md5: {OTHER}.dir}}
    - {{path: raw, md5: {MD5}.dir}}
    outs: [{{path: arrays, md5: {OTHER}}}]
  train@a:
    cmd: x
    deps:
    - {{path: ../data/labelled, md5: {MD5}.dir}}
    - {{path: ../arrays, md5: {OTHER}}}
    - {{path: ../params.csv, md5: {OTHER}}}
    outs: [{{path: model.onnx, md5: {MD5}}}, {{path: unknown}}]
"""
    pipeline = b"stages: {prepare: {cmd: x}, train: {matrix: {kind: [a]}, wdir: models, cmd: x}}"
    found = Lock("0" * 40, records.encode(), pipeline)
    assert found.data_of("train") == (
        {"data/labelled": f"{MD5}.dir", "arrays": OTHER},
        {MODEL: MD5, "models/unknown": ""},
    )
    assert found.data_of("prepare") == ({}, {"arrays": OTHER})
    with pytest.raises(GateError, match="not written by DVC"):
        Lock("0" * 40, b"stages: [", pipeline).data_of("train")
