"""Releases that may not begin to run: what the bundle finds, what it keeps running, and what git shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gitops import disk
from gitops.airflow import admission
from gitops.airflow.bundle import ReleaseBundle
from gitops.diff import dags
from gitops.release import checks
from gitops.release.checks import Check
from gitops.release.verdicts import Verdict
from tests.support.bundles import UNCHECKED, Make, version
from tests.support.figures import model_files, model_md5
from tests.support.lab import DAG, Lab

# The scoring of a release, in a few lines: it fails where the model says so.
SCORE = """\
import os, sys
from pathlib import Path

command, images, *options = sys.argv[1:]
if command == "online":
    options = sys.argv[2:]
    given = dict(zip(options[::2], options[1::2]))
    assert os.pread(int(given["--memory"]), 9, 0) and Path(given["--scores"]).is_dir()
    assert not sys.stdin.read()
    if "silent" in Path(given["--model"]).read_text():
        raise SystemExit("the detector is missing")
    raise SystemExit
given = dict(zip(options[::2], options[1::2]))
assert command == "score" and len(list(Path(images).glob("*.jpg"))) == 3, sys.argv
assert "VISAGE_VERIFIER_KEY" not in os.environ and len(given["--release"]) == 40
if "broken" in Path(given["--model"]).read_text():
    raise SystemExit("every batch fails")
Path(given["--out"]).write_text("scores")
"""


def broken_dag(lab: Lab) -> str:
    return lab.land({"dags/odd.py": DAG + b"import no_such_library\n"})


def sign_as(lab: Lab, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.key(environment)
    monkeypatch.setenv("VISAGE_VERIFIER_KEY", str(lab.keys / environment))


def rejection(lab: Lab, environment: str, commit: str) -> Verdict:
    (tag,) = lab.origin.tags(f"rejected/{environment}/{commit[:12]}")
    return Verdict.read(tag)


def trained(lab: Lab, remote: Path, name: str) -> str:
    """Land a model on main, and put it on the DVC remote."""
    md5 = model_md5(name)
    place = remote / "files" / "md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(name)
    code: dict[str, bytes | None] = {
        "src/face_attributes/__main__.py": SCORE.encode(),
        "src/face_attributes/monitoring/online.py": b"",
    }
    return lab.land({**code, **model_files(name)})


def test_a_release_whose_dag_does_not_import_is_rejected_and_the_old_one_stays(
    lab: Lab, make: Make, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "dev", monkeypatch)
    good = version(make("dev"))
    bad = broken_dag(lab)
    bundle = make("dev", examine=admission.examine)
    assert version(bundle) == good
    reason = "DAG files: dags/odd.py: ModuleNotFoundError: No module named 'no_such_library' (all load)"
    assert bundle.serving.refused == f"{bad[:12]}: refused before it ran: {reason}"
    verdict = rejection(lab, "dev", bad)
    assert (verdict.reason, [check.result for check in verdict.checks]) == (reason, ["failed"])
    for _ in range(2):
        bundle.refresh()
        assert version(bundle) == good, "the rejection is known now, and nothing else changes"
    assert "dev rejected" in bundle.serving.refused
    assert len([line for line in lines if "refused" in line]) == 2


@pytest.mark.long
def test_a_file_that_was_broken_before_is_not_the_fault_of_the_release(
    lab: Lab, make: Make, tmp_path: Path
) -> None:
    before = broken_dag(lab)
    after = lab.land({"params.yaml": b"changed: 1\n"})
    found = admission.examine(lab.origin, after, before, tmp_path)
    assert (found.objection, found.trouble) == ("", None)
    assert checks.text(found.checks) == ["passed: DAG files: 1 DAGs, 1 files as broken as before (all load)"]


@pytest.mark.long
def test_a_release_that_cannot_score_is_rejected(
    lab: Lab, make: Make, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "dev", monkeypatch)
    good = trained(lab, dvc_remote, "good")
    bundle = make("dev", examine=admission.examine)
    assert version(bundle) == good
    bad = trained(lab, dvc_remote, "broken")
    bundle.refresh()
    assert version(bundle) == good
    verdict = rejection(lab, "dev", bad)
    assert "sample of images: models/model.onnx: cannot score 3 images: every batch fails" in verdict.reason
    assert [check.result for check in verdict.checks] == ["passed", "failed"]
    assert verdict.claimed_accuracy == 0.9
    assert sorted(path.name for path in bundle.base_dir.iterdir() if path.name.startswith(".")) == []


@pytest.mark.long
def test_a_release_whose_online_process_does_not_start_is_rejected(
    lab: Lab, tmp_path: Path, dvc_remote: Path
) -> None:
    before, after = trained(lab, dvc_remote, "good"), trained(lab, dvc_remote, "silent")
    found = admission.examine(lab.origin, after, before, tmp_path)
    assert "cannot start the process of the online service: the detector is missing" in found.objection


@pytest.mark.long
def test_where_the_release_before_fails_too_there_is_no_verdict(
    lab: Lab, tmp_path: Path, dvc_remote: Path
) -> None:
    before, after = trained(lab, dvc_remote, "broken"), trained(lab, dvc_remote, "broken again")
    found = admission.examine(lab.origin, after, before, tmp_path)
    assert found.objection == ""
    assert f"the release before, {before[:12]}, fails too" in str(found.trouble)


@pytest.mark.long
def test_without_the_dvc_remote_there_is_no_verdict_and_the_bundle_tries_again(
    lab: Lab, make: Make, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "dev", monkeypatch)
    monkeypatch.setattr("gitops.airflow.bundle._AGAIN", 0)
    good = version(make("dev"))
    better = trained(lab, dvc_remote, "better")
    dvc_remote.rename(dvc_remote.with_name("gone"))
    bundle = make("dev", examine=admission.examine)
    assert version(bundle) == good
    assert f"{better[:12]}: cannot be examined now: the DVC remote" in bundle.serving.refused
    assert lab.origin.tags("rejected") == []
    dvc_remote.with_name("gone").rename(dvc_remote)
    bundle.refresh()
    assert (version(bundle), bundle.serving.refused) == (better, None)


def test_a_release_that_was_verified_here_needs_no_examination(lab: Lab, make: Make) -> None:
    def fail(*_: object) -> admission.Admission:
        raise AssertionError("to go back must work while the DVC remote is down")

    first, second = lab.train("a"), lab.train("b")
    lab.verify("staging", first)
    lab.declare("staging", f"commit: {second}\n")
    assert version(make()) == second
    lab.declare("staging", f"commit: {first}\n")
    assert version(make(examine=fail)) == first


def test_a_release_is_examined_again_where_its_rejection_is_deleted(
    lab: Lab, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as(lab, "dev", monkeypatch)
    good = version(make("dev"))
    failed = Check(name="DAG files", value="no library", limit="all load", result="failed")
    found = [admission.Admission((failed,)), admission.Admission()]
    bad = lab.train("a", verified=False)
    bundle = make("dev", examine=lambda *_: found.pop(0))
    for _ in range(3):
        bundle.refresh()
        assert version(bundle) == good
    assert len(found) == 1, "it is examined once"
    lab.origin.git("tag", "--delete", f"rejected/dev/{bad[:12]}")
    bundle.refresh()
    assert version(bundle) == bad


FULL = """\
import sys
from pathlib import Path

from gitops.airflow import admission
from gitops.git.repository import Repository

found = admission.examine(Repository(sys.argv[1]), sys.argv[2], None, Path(sys.argv[3]))
assert found.objection == "", found
print(found.trouble)
"""


def test_an_interpreter_that_does_not_start_is_no_fault_of_the_first_release(
    lab: Lab, tmp_path: Path, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = trained(lab, dvc_remote, "good")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no library >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    found = admission.examine(lab.origin, release, None, tmp_path)
    assert found.objection == ""
    assert found.trouble == "dags/: cannot be loaded: no library, even without a file in it"


def test_a_first_release_is_not_blamed_for_a_machine_that_is_too_slow(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dags, "_TIMEOUT", 0.05)
    found = admission.examine(lab.origin, lab.tip, None, tmp_path)
    assert found.objection == ""
    assert "dags/: not loaded within 0.05 s" in str(found.trouble)
    assert str(found.trouble).endswith("tried twice, and there is no release before to compare with")
    assert [record.message for record in caplog.records if record.message.endswith("trying it again")]


KILLED = DAG + b"import os\nos.kill(os.getpid(), 9)\n"


@pytest.mark.long
def test_what_the_system_kills_is_compared_with_the_release_before(lab: Lab, tmp_path: Path) -> None:
    good = lab.tip
    bad = lab.land({"dags/odd.py": KILLED})
    first = admission.examine(lab.origin, bad, None, tmp_path)
    assert first.objection == ""
    assert "dags/: the system killed the process that loads them; tried twice" in str(first.trouble)
    # The release before loads here at the same time, so it is the release.
    later = admission.examine(lab.origin, bad, good, tmp_path)
    assert (later.trouble, "the system killed the process" in later.objection) == (None, True)


def test_a_full_disk_is_no_verdict(lab: Lab, tmp_path: Path) -> None:
    """On a real disk of 4 MiB, in namespaces of this test's own."""
    small = tmp_path / "small"
    small.mkdir()
    bad = broken_dag(lab)
    script = 'mount -t tmpfs -o size=4m tmpfs "$3" && exec "$0" -c "$1" "$2" "$4" "$3"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(
        [*command, sys.executable, FULL, str(lab.origin.path), str(small), bad],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"disk: {small}: 4 MiB free, {disk.LEAST // 1024**2} MiB needed\n", done.stderr


def test_what_was_served_before_is_not_examined(lab: Lab, storage: Path) -> None:
    """A restart of the dag-processor, and a merge that changes no release."""
    bundle = ReleaseBundle(name="release", environment="dev", refresh_interval=10, **UNCHECKED)
    bundle.initialize()
    lab.land({"README.md": b"news\n"})
    again = ReleaseBundle(name="release", environment="dev", refresh_interval=10)
    again.initialize()
    assert version(again) == lab.tip
    assert json.loads((storage / "release" / "release.json").read_text())["refused"] is None
