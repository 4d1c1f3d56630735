"""A branch does not choose where DVC takes data from, by files that nobody has to approve."""

import pytest

from gitops.promotion.merge import check
from tests.support.lab import Lab

BATCH = "data/labelled/monday.parquet.dvc"
OUTS = "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 3\n  hash: md5\n  path: monday.parquet\n"


def said(lab: Lab, files: dict[str, bytes | None]) -> list[str]:
    commit = lab.branch("branch", files)
    findings = check(lab.clone, lab.state(), commit).findings
    return [str(finding) for finding in findings if finding.rule == "dvc-files"]


@pytest.mark.parametrize(
    "path", [".dvc/config.local", ".dvc/cache/files/md5/ab/cd", ".dvc/tmp/lock", ".DVC/config", ".dvc/Config"]
)
def test_files_of_the_dvc_of_one_machine_are_refused(lab: Lab, path: str) -> None:
    assert said(lab, {path: b"x"}) == [
        f"{path}: belongs to the DVC of one machine; take it out: git rm --cached {path}"
    ]
    # Whoever has them on main can take them out
    lab.land({path: b"x"})
    assert said(lab, {path: None}) == []


def test_the_files_of_dvc_that_git_keeps_pass(lab: Lab) -> None:
    files = {".dvc/.gitignore": b"/tmp\n", ".dvc/config": b"", ".dvc/plots/roc.json": b"{}"}
    assert said(lab, {**files, BATCH: OUTS.encode(), "data/labelled/README.md": b"x"}) == []


@pytest.mark.parametrize(
    "pointer",
    [
        OUTS + "  remote: evil\n",
        OUTS.replace("monday", "../../dags/monday"),
        OUTS.replace("cdef\n", "cdef.dir\n", 1),
        OUTS + "deps:\n- path: http://127.0.0.1:9/x\n",
        OUTS + "deps:\n- path: a\n  repo: {url: 'http://127.0.0.1:9/x.git', rev_lock: '0'}\n",
        OUTS * 2,
        "[",
    ],
)
def test_a_batch_stands_for_the_file_beside_it_alone(lab: Lab, pointer: str) -> None:
    assert said(lab, {BATCH: pointer.encode()}) == [
        f"{BATCH}: does not stand for the one file beside it; append the batch again: see docs/data.md"
    ]
