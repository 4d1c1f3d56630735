"""Why a job failed, from its log."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from gitops.errors import GitopsError
from gitops.promotion.jobs import Job, annotations, dump, load, reasons

HOOKS = """\
2026-11-28T10:00:00.1234567Z ruff check...............................................................Passed
2026-11-28T10:00:01.1234567Z no secrets...............................................................Failed
2026-11-28T10:00:01.1234567Z - hook id: detect-secrets
2026-11-28T10:00:01.1234567Z - exit code: 1
2026-11-28T10:00:01.1234567Z ERROR: Potential secrets about to be committed to git repo!
2026-11-28T10:00:01.1234567Z Secret Type: Hex High Entropy String
2026-11-28T10:00:01.1234567Z Location:    metrics/evaluation.json:4
2026-11-28T10:00:01.1234567Z Location:    metrics/export.json:3
2026-11-28T10:00:02.1234567Z \x1b[41mtabs\x1b[m.....................................(no files to check)Skipped
2026-11-28T10:00:02.1234567Z schemas..................................................................Failed
2026-11-28T10:00:02.1234567Z - files were modified by this hook
2026-11-28T10:00:02.1234567Z make: *** [Makefile:120: lint] Error 1
2026-11-28T10:00:02.1234567Z ##[error]Process completed with exit code 2.
"""
TESTS = """\
=========================== short test summary info ============================
FAILED tests/test_a.py::test_b[1] - AssertionError: assert 1 == 2
ERROR tests/test_c.py
===== 1 failed, 1 error in 3.21s =====
make: *** [Makefile:90: test] Error 1
##[error]Process completed with exit code 2.
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (HOOKS, ("no secrets: metrics/evaluation.json:4", "schemas")),
        (TESTS, ("tests/test_a.py::test_b[1]: AssertionError: assert 1 == 2", "tests/test_c.py")),
        ("a\nrefused: environments/prod/release.yaml: held\n", ("environments/prod/release.yaml: held",)),
        ("a\nCannot promote to prod: prod is held\n  Lift it\nNext: x\n", ("prod is held",)),
        ("make: *** [Makefile:12: test] Error 1\n", ("*** [Makefile:12: test] Error 1",)),
        ("first\nkilled by the runner\n\n##[error]The runner lost power\n", ("killed by the runner",)),
        ("", ()),
    ],
)
def test_the_reason_is_the_hook_with_its_place_the_test_or_the_last_line(
    log: str, expected: tuple[str, ...]
) -> None:
    assert reasons(log) == expected


def test_many_reasons_and_long_ones_are_cut() -> None:
    found = reasons("".join(f"FAILED tests/test_{n}.py - {'x' * 9000}\n" for n in range(9)))
    assert len(found) == 6
    assert found[-1] == "and 4 more"
    assert max(map(len, found)) <= 200


def test_jobs_are_read_as_they_were_written(tmp_path: Path) -> None:
    jobs = {"lint": Job(result="failure", seconds=3, url="https://forge.example/1", reasons=("a: b.py:1",))}
    (tmp_path / "jobs.json").write_text(dump(jobs))
    assert load(tmp_path / "jobs.json") == jobs


@pytest.mark.parametrize("content", [None, "[]", '{"lint": "success"}'])
def test_another_file_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "jobs.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(GitopsError, match=r"jobs\.json: "):
        load(file)


def test_each_fault_is_shown_at_its_line_with_the_hook_and_the_next_action() -> None:
    log = re.sub(r"^\S+Z ", "", HOOKS + TESTS.replace("1 == 2", "1 == 2, 100%"), flags=re.MULTILINE)
    assert annotations(log.replace("make: *** [Makefile:120: lint] Error 1\n", ""), "make lint") == (
        "::error file=metrics/evaluation.json,line=4,title=no secrets::"
        "Location: metrics/evaluation.json:4; make lint",
        "::error file=metrics/export.json,line=3,title=no secrets::"
        "Location: metrics/export.json:3; make lint",
        "::error title=schemas::schemas; make lint",
        "::error file=tests/test_a.py,title=tests/test_a.py%3A%3Atest_b[1]::"
        "AssertionError: assert 1 == 2, 100%25; make lint",
        "::error file=tests/test_c.py,title=tests/test_c.py::tests/test_c.py; make lint",
    )
    assert len(annotations("".join(f"FAILED tests/test_{n}.py - x\n" for n in range(99)), "x")) == 10


def test_the_command_prints_the_output_the_faults_and_ends_as_the_check_does(tmp_path: Path) -> None:
    check = tmp_path / "check"
    check.write_text('echo "FAILED $PWD/tests/test_a.py::test_b - boom"; echo over >&2; exit 3')
    done = CliRunner().invoke(app, ["annotate", "--", "sh", str(check)])
    assert done.exit_code == 3
    first, second, fault = done.output.splitlines()
    assert (first.startswith("FAILED /"), second) == (True, "over")
    assert fault.startswith("::error file=tests/test_a.py,title=tests/test_a.py%3A%3Atest_b::boom; run in a")
    assert CliRunner().invoke(app, ["annotate", "--", "true"]).output == ""
    assert "no-such-program: No such file" in CliRunner().invoke(app, ["annotate", "no-such-program"]).output
